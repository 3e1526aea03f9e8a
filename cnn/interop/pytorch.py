"""Weights in PyTorch's files."""

from cnn.core.weights import read_weights

__all__ = ["read_weights"]
