"""Compiled implementations of the functions in containers/branches.py: a sum, without and with ReLU."""

from numba import types

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, is_contiguous, same_layout
from cnn.kernels.jit.engine.compilation import Kernel, floats, kernel
from cnn.kernels.jit.engine.product import relu_grad as added_relu_grad
from cnn.kernels.memory import empty_like, recording

__all__ = ["added", "added_relu", "added_relu_grad"]

(COUNT, FIRST, SECOND, Y, PARTS) = range(5)
MIN_ELEMENTS = 32 * 1024  # for fewer, NumPy is faster than the call of a kernel


@kernel
def add(a, part, slot):
    """Add a part of the elements."""
    x, z, y = floats(a[FIRST]), floats(a[SECOND]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        y[i] = x[i] + z[i]


@kernel
def add_relu(a, part, slot):
    """Add a part of the elements, and apply ReLU."""
    x, z, y = floats(a[FIRST]), floats(a[SECOND]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        total = x[i] + z[i]
        y[i] = types.float32(0) if total <= 0 else total  # NaN stays


def added(x: Array, y: Array) -> Array:
    """Two arrays of the same shape -> the same"""
    return _run(add, x, y) if x.size >= MIN_ELEMENTS or recording.get() is not None else x + y


def added_relu(x: Array, y: Array) -> Array:
    """Two arrays of the same shape -> the same"""
    return _run(add_relu, x, y)


def _run(kernel: Kernel, x: Array, y: Array) -> Array:
    if x.shape != y.shape or not is_contiguous(x) or (x.strides != y.strides and not same_layout(x, y)):
        return NotImplemented
    out, parts = empty_like(x), thread_pool.elementwise_parts(x.size)
    arguments = {COUNT: x.size, FIRST: x, SECOND: y, Y: out, PARTS: parts}
    thread_pool.run(kernel, arguments, parts, x.size * 0.4)
    return out
