"""Tools for a user's own scripts."""

from cnn.utils.gradcheck import gradcheck
from cnn.utils.utils import train_val

__all__ = ["gradcheck", "train_val"]
