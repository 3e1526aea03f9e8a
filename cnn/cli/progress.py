"""How far a training is, on stderr: stdout is for results."""

import sys

from cnn.training.progress import Progress, stream_progress


def for_training(quiet: bool = False) -> Progress:
    """Return what suits stderr: a live line in a terminal, plain lines elsewhere, nothing if quiet."""
    return Progress() if quiet else stream_progress(sys.stderr)
