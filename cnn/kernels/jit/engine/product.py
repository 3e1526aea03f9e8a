"""A matrix product with bias and ReLU, for Linear layers: c = a b + bias."""

import functools
from typing import Any

import numpy as np
from numba import types

from cnn.kernels import parallel
from cnn.kernels.dispatch import one_blas_thread
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, same_layout
from cnn.kernels.jit.engine.compilation import floats, floats_from, indices, kernel
from cnn.kernels.jit.engine.tile import BIAS, WIDTH, ZERO, multiply, multiply_across
from cnn.kernels.memory import empty, empty_like

(M, N, K, A, A_ROW, A_STEP, B, B_ROW, B_STEP, C, BIAS_VECTOR, RELU, SCRATCH, START, PARTS) = range(15)


@kernel
def product_kernel(a, part, slot):
    """Compute some panels of 16 columns: each panel of b is packed, then multiplied with all rows of a."""
    m, n, k = a[M], a[N], a[K]
    panels = (n + WIDTH - 1) // WIDTH
    panel = floats_from(floats(a[SCRATCH]), slot * (k + 1) * WIDTH)
    bias = floats_from(panel, k * WIDTH)
    for q in range(part * panels // a[PARTS], (part + 1) * panels // a[PARTS]):
        columns = min(WIDTH, n - q * WIDTH)
        b = floats_from(floats(a[B]), q * WIDTH * a[B_STEP])
        for p in range(k):
            line, start = floats_from(panel, p * WIDTH), floats_from(b, p * a[B_ROW])
            for column in range(columns):
                line[column] = start[column * a[B_STEP]]
            for column in range(columns, WIDTH):
                line[column] = 0
        if a[BIAS_VECTOR]:
            for column in range(columns):
                bias[column] = floats(a[BIAS_VECTOR])[q * WIDTH + column]
        start_with, y = BIAS if a[BIAS_VECTOR] else ZERO, floats_from(floats(a[C]), q * WIDTH)
        x, start = floats(a[A]), indices(a[START])
        if a[A_STEP] == 1:
            multiply(m, x, a[A_ROW], start, 1, k, panel, 0, y, n, 0, start_with, bias, columns, a[RELU])
        else:
            step = a[A_STEP]
            multiply_across(m, x, step, start, 1, k, panel, WIDTH, 0, 0, y, n, 0, start_with, bias, columns, a[RELU])


@functools.partial(kernel, in_order=False)
def few_rows(a, part, slot):
    """Compute some columns of a product with few rows, where the terms of both matrices are contiguous."""
    m, n, k = a[M], a[N], a[K]
    for j in range(part * n // a[PARTS], (part + 1) * n // a[PARTS]):
        b = floats_from(floats(a[B]), j * a[B_STEP])
        for i in range(m):
            x, total = floats_from(floats(a[A]), i * a[A_ROW]), types.float32(0)
            for p in range(k):
                total += x[p] * b[p]
            if a[BIAS_VECTOR]:
                total += floats(a[BIAS_VECTOR])[j]
            floats(a[C])[i * n + j] = types.float32(0) if a[RELU] and total <= 0 else total


_start = np.zeros(1, np.int64)
FEW_ROWS = 4  # for up to this many rows, packing the other matrix takes longer than reading it once


def product(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """(M, K), (K, N) -> (M, N); the caller has checked that these shapes and the length of the bias belong together."""
    (m, k), n = a.shape, b.shape[1]
    if k == 0:
        return NotImplemented
    if m <= FEW_ROWS and a.strides[1] == b.strides[0] == 4 and a.flags.aligned and b.flags.aligned:
        return _product_of_few_rows(a, b, bias, relu)
    if m <= FEW_ROWS:
        with one_blas_thread():
            c = a @ b
        if bias is not None:
            c += bias
        return np.maximum(c, 0, out=c) if relu else c
    c, panels = empty((m, n)), -(-n // WIDTH)
    parts = min(panels, 1 if m * n * k < 100_000 else 4 * parallel.num_threads)
    if not (a.flags.aligned and b.flags.aligned):  # as in packed records, whose strides are not multiples of 4 bytes
        a, b = a.copy(), b.copy()
    if 4 not in a.strides:
        a = np.ascontiguousarray(a)
    arguments: dict[int, Any] = {M: m, N: n, K: k, A: a, B: b, C: c, RELU: relu, START: _start, PARTS: parts}
    arguments |= {A_ROW: a.strides[0] // 4, A_STEP: a.strides[1] // 4, B_ROW: b.strides[0] // 4}
    arguments |= {B_STEP: b.strides[1] // 4, BIAS_VECTOR: _bias_argument(bias), SCRATCH: 0}
    thread_pool.run(product_kernel, arguments, parts, m * n * k / 30, scratch=(SCRATCH, (k + 1) * WIDTH))
    return c


def _product_of_few_rows(a: Array, b: Array, bias: Array | None, relu: bool) -> Array:
    (m, k), n = a.shape, b.shape[1]
    c = empty((m, n))
    nanoseconds = n * k * 0.1  # limited by memory bandwidth
    parts = min(n, 4 * parallel.num_threads) if nanoseconds > thread_pool.MIN_PARALLEL_NS else 1
    arguments: dict[int, Any] = {M: m, N: n, K: k, A: a, B: b, C: c, RELU: relu, START: 0, SCRATCH: 0, PARTS: parts}
    arguments |= {
        A_ROW: a.strides[0] // 4,
        A_STEP: 1,
        B_ROW: 1,
        B_STEP: b.strides[1] // 4,
        BIAS_VECTOR: _bias_argument(bias),
    }
    thread_pool.run(few_rows, arguments, parts, nanoseconds)
    return c


def _bias_argument(bias: Array | None) -> Any:
    return 0 if bias is None else np.ascontiguousarray(bias, np.float32)


# The gradient of this ReLU

(COUNT, GRAD, OUTPUT, X_GRAD, GRAD_PARTS) = range(5)


@kernel
def relu_backward(a, part, slot):
    """Compute a part of the gradient, from the output of ReLU."""
    grad, y, x_grad = floats(a[GRAD]), floats(a[OUTPUT]), floats(a[X_GRAD])
    for i in range(part * a[COUNT] // a[GRAD_PARTS], (part + 1) * a[COUNT] // a[GRAD_PARTS]):
        x_grad[i] = types.float32(0) if y[i] <= 0 else grad[i]


def relu_grad(grad: Array, y: Array) -> Array:
    """The gradient of ReLU's output and the output, of the same shape -> the gradient of its input"""
    if grad.shape != y.shape:
        return NotImplemented
    if not (grad.flags.c_contiguous and y.flags.c_contiguous) and not same_layout(grad, y):
        return NotImplemented
    x_grad, parts = empty_like(grad), thread_pool.elementwise_parts(grad.size)
    arguments = {COUNT: grad.size, GRAD: grad, OUTPUT: y, X_GRAD: x_grad, GRAD_PARTS: parts}
    thread_pool.run(relu_backward, arguments, parts, grad.size * 0.4)
    return x_grad
