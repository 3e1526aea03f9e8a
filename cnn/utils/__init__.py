"""Utilities for the user's own scripts: gradient checks and `train_val`."""

from cnn.utils.gradcheck import gradcheck
from cnn.utils.numeric import numeric_backward
from cnn.utils.utils import train_val

__all__ = ["gradcheck", "numeric_backward", "train_val"]
