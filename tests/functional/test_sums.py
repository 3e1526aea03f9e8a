import numpy as np
import pytest

from cnn import Sequential
from cnn.functional.sums import FEW, sum_of_many
from cnn.layers import Linear
from tests.kernels.backends import needs_numba, using


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 100_000])
def test_errors_do_not_grow(count, axis, order):
    """All numbers are positive, so that errors of the same sign can add up."""
    x = np.random.default_rng(0).random((3, count) if axis else (count, 3)).astype(np.float32)
    x = np.asarray(x, order=order)
    exact = x.sum(axis=axis, dtype=np.float64)
    for keepdims in (False, True):
        found = sum_of_many(x, axis, keepdims)
        assert found.dtype == np.float32
        assert found.shape == x.sum(axis=axis, keepdims=keepdims).shape
        np.testing.assert_allclose(found.ravel(), exact, rtol=1e-6)


def test_few_numbers_keep_their_bits_and_float64_its_precision():
    x = np.random.default_rng(0).random((FEW, 5)).astype(np.float32)
    np.testing.assert_array_equal(sum_of_many(x, 0), x.sum(axis=0))
    y = np.random.default_rng(0).random((1000, 5))
    np.testing.assert_allclose(sum_of_many(y, 0), y.sum(axis=0), rtol=1e-15)


@pytest.mark.parametrize("backend", ["reference", "array", pytest.param("jit", marks=needs_numba)])
@pytest.mark.parametrize("shape", [(100_000, 8), (100, 1000, 8)])
@pytest.mark.parametrize("in_sequential", [False, True])
def test_the_bias_of_linear(in_sequential, shape, backend):
    """Its gradient is a sum over all samples; alone, and in a Sequential, where it runs as a fused step."""
    layer, rng = Linear(8, 4, rng=0), np.random.default_rng(0)
    x, grad = rng.random(shape).astype(np.float32), rng.random((*shape[:-1], 4)).astype(np.float32)
    with using(backend):
        model = Sequential([layer]) if in_sequential else layer
        model(x)
        model.backward(grad)
    exact = grad.reshape(-1, 4).sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(layer.bias.grad, exact, rtol=1e-6)
