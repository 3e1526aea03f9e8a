"""Optimizers, one a file."""

from cnn.optim.adam import Adam
from cnn.optim.optimizer import Optimizer

__all__ = ["Adam", "Optimizer"]
