"""Compiled implementation of the function in layers/relu.py."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, flat_like
from cnn.kernels.jit.engine.compilation import bytes_, floats, kernel

(COUNT, X, Y, BLOCKED, PARTS) = range(5)


@kernel
def forward(a, part, slot):
    """A part of the numbers."""
    x, y, blocked = floats(a[X]), floats(a[Y]), bytes_(a[BLOCKED])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        low = x[i] <= 0
        y[i] = types.float32(0) if low else x[i]  # NaN stays
        blocked[i] = low


def relu(x: Array) -> tuple[Array, Array]:
    """Any shape -> the same, and where nothing passes."""
    made = flat_like(x, np.float32, np.bool_)
    if made is None:
        return NotImplemented
    x, y, blocked = made
    parts = thread_pool.parts_of_numbers(x.size)
    arguments = {COUNT: x.size, X: x, Y: y, BLOCKED: blocked, PARTS: parts}
    thread_pool.run(forward, arguments, parts, x.size * 0.4)
    return y, blocked
