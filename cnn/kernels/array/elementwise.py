"""Twin of a function in elementwise.py."""

import numpy as np

from cnn.kernels.array.flat import flat, in_pieces
from cnn.kernels.array.shared import Array
from cnn.kernels.memory import empty_like


def gate(grad: Array, blocked: Array) -> Array:
    """All bits of a number stay or all become 0."""
    y = empty_like(grad, grad.dtype)
    arrays = flat(grad, blocked, y)
    if arrays is None:
        return NotImplemented
    bits = np.dtype(f"i{grad.itemsize}")

    def piece(grad: Array, blocked: Array, y: Array, stays: Array) -> None:
        np.subtract(blocked, 1, out=stays, dtype=np.int8)
        np.bitwise_and(grad.view(bits), stays, out=y.view(bits))

    in_pieces(piece, arrays, [np.int8], nanoseconds=0.7)
    return y
