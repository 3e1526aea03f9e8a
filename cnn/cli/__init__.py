"""The command line: main.py finds the command, each command has a file named after it, the other files are shared."""
