"""Array kernel for a function in functional/elementwise.py."""

import numpy as np

from cnn.kernels.array.chunks import flat_views, in_chunks
from cnn.kernels.array.parallel_for import Array
from cnn.kernels.memory import empty_like


def gate(grad: Array, blocked: Array) -> Array:
    """Keep all bits of an element or set them all to 0."""
    y = empty_like(grad, grad.dtype)
    arrays = flat_views(grad, blocked, y)
    if arrays is None:
        return NotImplemented
    bits = np.dtype(f"i{grad.itemsize}")

    def mask_bits(grad: Array, blocked: Array, y: Array, keep: Array) -> None:
        np.subtract(blocked, 1, out=keep, dtype=np.int8)
        np.bitwise_and(grad.view(bits), keep, out=y.view(bits))

    in_chunks(mask_bits, arrays, [np.int8], nanoseconds=0.7)
    return y
