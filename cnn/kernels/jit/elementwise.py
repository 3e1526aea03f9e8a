"""Compiled implementation of a function in functional/elementwise.py."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, flat_like, same_order
from cnn.kernels.jit.engine.compilation import bytes_, floats, kernel

(COUNT, GRAD, BLOCKED, Y, PARTS) = range(5)


@kernel
def backward(a, part, slot):
    """A part of the numbers."""
    grad, blocked, y = floats(a[GRAD]), bytes_(a[BLOCKED]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        y[i] = types.float32(0) if blocked[i] else grad[i]


def gate(grad: Array, blocked: Array) -> Array:
    """Any shape -> the same, 0 where ``blocked``."""
    made = flat_like(grad, np.float32)
    if made is None or not same_order(grad, blocked):
        return NotImplemented
    grad, y = made
    parts = thread_pool.parts_of_numbers(grad.size)
    arguments = {COUNT: grad.size, GRAD: grad, BLOCKED: blocked, Y: y, PARTS: parts}
    thread_pool.run(backward, arguments, parts, grad.size * 0.4)
    return y
