"""Compiled implementation of the function in layers/relu.py."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, is_contiguous
from cnn.kernels.jit.engine.compilation import bytes_, floats, kernel
from cnn.kernels.memory import empty_like

(COUNT, X, Y, BLOCKED, PARTS) = range(5)


@kernel
def forward(a, part, slot):
    """Compute a part of the elements."""
    x, y, blocked = floats(a[X]), floats(a[Y]), bytes_(a[BLOCKED])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        low = x[i] <= 0
        y[i] = types.float32(0) if low else x[i]  # NaN stays
        blocked[i] = low


def relu(x: Array) -> tuple[Array, Array]:
    """Any shape -> the same, and the mask of elements whose gradient is blocked."""
    if not is_contiguous(x):
        return NotImplemented
    y, blocked = empty_like(x, np.float32), empty_like(x, np.bool_)
    parts = thread_pool.elementwise_parts(x.size)
    arguments = {COUNT: x.size, X: x, Y: y, BLOCKED: blocked, PARTS: parts}
    thread_pool.run(forward, arguments, parts, x.size * 0.4)
    return y, blocked
