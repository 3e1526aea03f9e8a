"""Memory layouts: kernels read contiguous arrays, and images channels last."""

from typing import Any

import numpy as np

from cnn.kernels.memory import address

__all__ = ["Array", "address", "channels_first", "channels_last", "is_contiguous", "same_layout"]

Array = np.ndarray[Any, np.dtype[Any]]


def channels_last(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C), contiguous"""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a view"""
    return x.transpose(0, 3, 1, 2)


def is_contiguous(x: Array) -> bool:
    """Tell whether an array is contiguous, channels first or channels last."""
    return x.flags.c_contiguous or (x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous)


def same_layout(x: Array, y: Array) -> bool:
    """Tell whether two arrays are contiguous, with the same shape and their elements in the same order in memory."""
    if x.shape != y.shape:
        return False
    steps = [[s // a.itemsize for s, n in zip(a.strides, a.shape, strict=True) if n > 1] for a in (x, y)]
    return steps[0] == steps[1] and is_contiguous(y)
