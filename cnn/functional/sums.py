"""Sums of many numbers, whose rounding errors do not grow with their number."""

import numpy as np

from cnn.module import Array

FEW = 128  # so many numbers may be added one after another in their own dtype


def sum_of_many(x: Array, axis: int, keepdims: bool = False) -> Array:
    """Sum along an axis; more than 128 numbers are added in float64, and the sum is rounded to the dtype of ``x``.

    NumPy adds contiguous numbers in pairs, but others one after another: in float32 the error grows with each.
    """
    if x.shape[axis] <= FEW:
        return x.sum(axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims, dtype=np.result_type(x.dtype, np.float64)).astype(x.dtype)
