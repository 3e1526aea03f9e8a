"""Compiled implementations of tanh and its gradient in layers/sigmoid.py: NumPy, on one thread, takes twice as long."""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, is_contiguous, same_layout
from cnn.kernels.jit.engine.compilation import floats, kernel
from cnn.kernels.memory import empty_like

(COUNT, X, Y, GRAD, PARTS) = range(5)
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH = np.float32(0.693359375)  # few enough bits that n times it is exact
LN2_LOW = np.float32(-2.12194440e-4)  # the rest of ln 2
LIMIT = np.float32(9.1)  # from here on tanh is 1 in float32
EXPONENTIAL = tuple(np.float32(1 / n) for n in (1, 2, 6, 24, 120, 720, 5040))
E1, E2, E3, E4, E5, E6, E7 = EXPONENTIAL
ONE, TWO, HALF = (np.float32(n) for n in (1, 2, 0.5))


@intrinsic
def from_bits(context, bits):
    """Reinterpret 32 bits as a float."""
    return types.float32(types.int32), lambda context, builder, signature, values: builder.bitcast(
        values[0], ir.FloatType()
    )


@kernel
def forward(a, part, slot):
    """Compute a part of the elements: tanh |x| = -t / (2 + t), t = exp(-2 |x|) - 1.

    With -2 |x| = n ln 2 + r, t = 2^n (exp(r) - 1) + (2^n - 1). For small x n is 0, so there is no cancellation.
    """
    x, y = floats(a[X]), floats(a[Y])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        size = abs(x[i])
        size = LIMIT if size > LIMIT else size  # NaN stays
        power = -TWO * size
        n = np.int32(power * LOG2_E - HALF)
        r = (power - np.float32(n) * LN2_HIGH) - np.float32(n) * LN2_LOW
        series = r * (E1 + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7))))))
        scale = from_bits(np.int32((n + np.int32(127)) << np.int32(23)))
        t = scale * series + (scale - ONE)
        y[i] = math.copysign(t / (TWO + t), x[i])


@kernel
def backward(a, part, slot):
    """Compute a part of the elements."""
    y, grad, x = floats(a[Y]), floats(a[GRAD]), floats(a[X])
    for i in range(part * a[COUNT] // a[PARTS], (part + 1) * a[COUNT] // a[PARTS]):
        x[i] = grad[i] * (ONE - y[i] * y[i])


def tanh(x: Array) -> Array:
    """(...) -> (...)"""
    if not is_contiguous(x):
        return NotImplemented
    y = empty_like(x, np.float32)
    parts = thread_pool.elementwise_parts(x.size)
    thread_pool.run(forward, {COUNT: x.size, X: x, Y: y, GRAD: 0, PARTS: parts}, parts, x.size * 2.0)
    return y


def tanh_grad(grad: Array, y: Array) -> Array:
    """(...), (...) -> (...)"""
    if not is_contiguous(grad) or not same_layout(grad, y):
        return NotImplemented
    x = empty_like(grad, np.float32)
    parts = thread_pool.elementwise_parts(grad.size)
    thread_pool.run(backward, {COUNT: grad.size, X: x, Y: y, GRAD: grad, PARTS: parts}, parts, grad.size * 0.5)
    return x
