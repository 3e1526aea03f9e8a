"""Arrays as kernels read them: in one piece, channels last."""

from typing import Any

import numpy as np

from cnn.kernels.memory import address, empty_like

__all__ = ["Array", "address", "channels_first", "channels_last", "flat_like", "in_one_piece", "same_order"]

Array = np.ndarray[Any, np.dtype[Any]]


def channels_last(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C), in one piece"""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), the same memory"""
    return x.transpose(0, 3, 1, 2)


def in_one_piece(x: Array) -> bool:
    """Tell whether an array is contiguous, channels first or channels last."""
    return x.flags.c_contiguous or (x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous)


def flat_like(x: Array, *dtypes: Any) -> tuple[Array, ...] | None:
    """Return an array and new ones of the same layout, which kernels read number by number; None if it is in pieces."""
    return (x, *(empty_like(x, dtype) for dtype in dtypes)) if in_one_piece(x) else None


def same_order(x: Array, y: Array) -> bool:
    """Tell whether the numbers of two arrays of one shape lie in memory in the same order."""
    steps = [[s // a.itemsize for s, n in zip(a.strides, a.shape, strict=True) if n > 1] for a in (x, y)]
    return steps[0] == steps[1] and in_one_piece(y)
