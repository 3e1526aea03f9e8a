"""`python -m cnn` runs the command `cnn`."""
# PYTHON_ARGCOMPLETE_OK

from cnn.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
