"""Tools for a user's own scripts."""

from cnn.utils.utils import train_val

__all__ = ["train_val"]
