"""Tools for tests: choose a backend and a number of threads, and compare with the plain functions in float64."""

import contextlib
import copy

import numpy as np
import pytest

import cnn
from cnn import kernels
from cnn.kernels import backend, parallel
from tests.conformance import draw

needs_numba = pytest.mark.skipif(not backend.has_numba(), reason="Numba is not installed")


@contextlib.contextmanager
def using(name, threads=2):
    """Use a backend and a number of threads in a with statement, and restore the former ones afterwards."""
    before, threads_before = kernels.active(), parallel.num_threads
    kernels.use(name)
    cnn.set_num_threads(threads)
    try:
        yield
    finally:
        kernels.use(before)
        parallel.num_threads = threads_before
        parallel._reset_pool()


def forward_and_backward(layer, x, grad=None):
    """Return output and all gradients of a layer; the default of ``grad`` is random."""
    layer.zero_grad()
    y = layer(x)
    x_grad = layer.backward(draw(y.shape, np.float64, 1).astype(y.dtype) if grad is None else grad)
    return [y, x_grad, *(p.grad for p in layer.parameters())]


def in_float64(layer, x):
    """Return the output and all gradients of the plain functions in float64."""
    with using("reference", 1):
        return forward_and_backward(copy.deepcopy(layer).to(np.float64), x.astype(np.float64))


def as_bytes(arrays):
    """Return arrays as bytes, to compare them bit for bit."""
    return [None if a is None else a.tobytes() for a in arrays]
