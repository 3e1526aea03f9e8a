"""Compiled implementation of a function in functional/elementwise.py."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, is_contiguous, same_layout
from cnn.kernels.jit.engine.compilation import bytes_, floats, kernel
from cnn.kernels.memory import empty_like

(COUNT, GRAD, BLOCKED, Y, PARTS) = range(5)


@kernel
def backward(a, part, slot):
    """Compute a part of the elements."""
    grad, blocked, y = floats(a[GRAD]), bytes_(a[BLOCKED]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        y[i] = types.float32(0) if blocked[i] else grad[i]


def gate(grad: Array, blocked: Array) -> Array:
    """Any shape -> the same, 0 where ``blocked``."""
    if not is_contiguous(grad) or not same_layout(grad, blocked):
        return NotImplemented
    y = empty_like(grad, np.float32)
    parts = thread_pool.elementwise_parts(grad.size)
    arguments = {COUNT: grad.size, GRAD: grad, BLOCKED: blocked, Y: y, PARTS: parts}
    thread_pool.run(backward, arguments, parts, grad.size * 0.4)
    return y
