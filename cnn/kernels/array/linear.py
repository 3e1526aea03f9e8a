"""Array kernels for the functions in layers/linear.py: each thread computes some columns of the result."""

from collections.abc import Iterator

import numpy as np

from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for
from cnn.kernels.memory import empty
from cnn.kernels.parallel import get_num_threads

MULTIPLY_ADDS = 40  # of one thread in a nanosecond
MIN_NANOSECONDS = 100_000
MIN_COLUMNS = 16  # of a thread: a cache line, to which two threads must not write at the same time


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """(..., in) -> (..., out)"""
    return product(x, weight.T, bias)


def linear_input_grad(grad: Array, weight: Array) -> Array:
    """(..., out) -> (..., in)"""
    return product(grad, weight)


def linear_weight_grad(grad: Array, x: Array) -> Array:
    """-> (out, in)"""
    return product(grad.T, x) if grad.ndim == 2 else NotImplemented


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Return a b + bias; a small product is left to the plain function."""
    nanoseconds = a.size * b.shape[1] / MULTIPLY_ADDS
    if nanoseconds < MIN_NANOSECONDS or a.ndim != 2 or type(b) is not np.ndarray or a.dtype != b.dtype:
        return NotImplemented
    if a.shape[1] != len(b) or (bias is not None and bias.shape != b.shape[1:]):
        return NotImplemented
    y = empty((len(a), b.shape[1]), a.dtype)
    step = max(MIN_COLUMNS, -(-b.shape[1] // get_num_threads()))

    def work(starts: Iterator[int], _: Scratch) -> None:
        for start in starts:
            columns = slice(start, start + step)  # so each thread reads its own part of the weights
            np.matmul(a, b[:, columns], out=y[:, columns])
            if bias is not None:
                y[:, columns] += bias[columns]

    parallel_for(work, range(0, b.shape[1], step), nanoseconds)
    return y
