"""Twin of a function in containers/branches.py; and what containers/fusion/add.py calls: a sum and ReLU in one pass."""

import numpy as np
from numba import types

from cnn.kernels.choice import FLOAT32
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, address, in_one_piece, same_order
from cnn.kernels.jit.engine.compilation import Kernel, floats, kernel
from cnn.kernels.memory import empty_like

(COUNT, FIRST, SECOND, Y, PARTS) = range(5)
SMALL = 32 * 1024  # numbers: below, NumPy has added them before a kernel is called


@kernel
def add(a, part, slot):
    """A part of the numbers."""
    x, z, y = floats(a[FIRST]), floats(a[SECOND]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        y[i] = x[i] + z[i]


@kernel
def add_relu(a, part, slot):
    """A part of the numbers."""
    x, z, y = floats(a[FIRST]), floats(a[SECOND]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        total = x[i] + z[i]
        y[i] = types.float32(0) if total <= 0 else total  # NaN stays


@kernel
def pass_on(a, part, slot):
    """A part of the gradient; the second row is the output of ReLU."""
    grad, y, x_grad = floats(a[FIRST]), floats(a[SECOND]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        x_grad[i] = types.float32(0) if y[i] <= 0 else grad[i]


def added(x: Array, y: Array) -> Array:
    """Two arrays of any one shape -> the same"""
    return _run(add, x, y) if x.size >= SMALL else x + y


def added_relu(x: Array, y: Array) -> Array:
    """Two arrays of any one shape -> the same"""
    return _run(add_relu, x, y)


def passed_on(grad: Array, y: Array) -> Array:
    """The gradient of ReLU's output and the output, of any one shape -> the same"""
    return _run(pass_on, grad, y)


def _run(what: Kernel, x: Array, y: Array) -> Array:
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        return NotImplemented
    if x.dtype != FLOAT32 or y.dtype != FLOAT32 or x.shape != y.shape or not in_one_piece(x):
        return NotImplemented
    if x.strides != y.strides and not same_order(x, y):
        return NotImplemented
    made, parts = empty_like(x), thread_pool.parts_of_numbers(x.size)
    row = np.array([x.size, address(x), address(y), address(made), parts], np.int64)
    thread_pool.run(what, row, parts, x.size * 0.4)
    return made
