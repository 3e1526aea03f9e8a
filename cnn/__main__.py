"""`python -m cnn` runs the command `cnn`."""

from cnn.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
