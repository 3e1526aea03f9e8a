"""A matrix product with what a Linear layer adds: c = a b + bias, and ReLU."""

import functools

import numpy as np
from numba import types

from cnn.kernels import one_blas_thread, parallel
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.compilation import floats, floats_from, indices, kernel
from cnn.kernels.jit.engine.tile import BIAS, WIDTH, ZERO, multiply, multiply_across
from cnn.kernels.memory import borrow_scratch, empty, return_scratch

(M, N, K, A, A_ROW, A_STEP, B, B_ROW, B_STEP, C, BIAS_VECTOR, RELU, SCRATCH, START, PARTS) = range(15)


@kernel
def product_kernel(a, part, slot):
    """Some panels of 16 columns, one by one, for threads to share: each is copied together, then met by all rows."""
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
    """Some columns of a product of a few rows, where the terms of both lie side by side."""
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
FEW = 4  # rows: for so few, to copy the other matrix together takes longer than to read it once


def product(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """(M, K), (K, N) -> (M, N)"""
    (m, k), n = a.shape, b.shape[1]
    if k == 0:
        return NotImplemented
    if m <= FEW and a.strides[1] == b.strides[0] == 4 and a.flags.aligned and b.flags.aligned:
        return _product_of_few(a, b, bias, relu)
    if m <= FEW:
        with one_blas_thread():
            c = a @ b
        if bias is not None:
            c += bias
        return np.maximum(c, 0, out=c) if relu else c
    c = empty((m, n))
    panels = -(-n // WIDTH)
    parts = min(panels, 1 if m * n * k < 100_000 else 4 * parallel.get_num_threads())
    rooms = parallel.get_num_threads()
    scratch = borrow_scratch(rooms * (k + 1) * WIDTH)
    a, b = (x if x.flags.aligned else x.copy() for x in (a, b))  # a field of packed records has steps of bytes
    a = a if 4 in a.strides else np.ascontiguousarray(a)
    steps = [stride // 4 for stride in (*a.strides, *b.strides)]
    bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
    row = [m, n, k, address(a), steps[0], steps[1], address(b), steps[2], steps[3], address(c)]
    row += [0 if bias is None else address(bias), relu, address(scratch), address(_start), parts]
    thread_pool.run(product_kernel, np.array(row, np.int64), parts, m * n * k / 30, rooms)
    return_scratch(scratch)
    return c


def _product_of_few(a: Array, b: Array, bias: Array | None, relu: bool) -> Array:
    (m, k), n = a.shape, b.shape[1]
    c = empty((m, n))
    nanoseconds = n * k * 0.1  # memory is read as fast as it can be
    parts = min(n, 4 * parallel.get_num_threads()) if nanoseconds > thread_pool.LEAST_WORK else 1
    bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
    row = [m, n, k, address(a), a.strides[0] // 4, 1, address(b), 1, b.strides[1] // 4, address(c)]
    row += [0 if bias is None else address(bias), relu, 0, 0, parts]
    thread_pool.run(few_rows, np.array(row, np.int64), parts, nanoseconds)
    return c
