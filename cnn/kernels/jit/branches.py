"""Compiled implementations of the functions in containers/branches.py: a sum, alone and with ReLU in one pass."""

from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, in_one_piece, same_order
from cnn.kernels.jit.engine.compilation import Kernel, floats, kernel
from cnn.kernels.jit.engine.product import relu_grad as added_relu_grad
from cnn.kernels.memory import empty_like

__all__ = ["added", "added_relu", "added_relu_grad"]

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


def added(x: Array, y: Array) -> Array:
    """Two arrays of the same shape -> the same"""
    return _run(add, x, y) if x.size >= SMALL else x + y


def added_relu(x: Array, y: Array) -> Array:
    """Two arrays of the same shape -> the same"""
    return _run(add_relu, x, y)


def _run(kernel: Kernel, x: Array, y: Array) -> Array:
    if x.shape != y.shape or not in_one_piece(x) or (x.strides != y.strides and not same_order(x, y)):
        return NotImplemented
    made, parts = empty_like(x), thread_pool.parts_of_numbers(x.size)
    arguments = {COUNT: x.size, FIRST: x, SECOND: y, Y: made, PARTS: parts}
    thread_pool.run(kernel, arguments, parts, x.size * 0.4)
    return made
