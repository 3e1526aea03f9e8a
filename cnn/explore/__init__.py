"""Look inside a trained net: what each layer makes of a sample, forward and backward, and why it answers as it does."""

from cnn.explore.trace import Trace, trace
from cnn.explore.walk import Node

__all__ = ["Node", "Trace", "trace"]
