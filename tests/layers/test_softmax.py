import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Softmax


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_sums_to_one(dim):
    y = Softmax(dim)(np.random.default_rng(0).normal(size=(3, 4, 5)))
    np.testing.assert_allclose(y.sum(axis=dim), 1)
    assert (y > 0).all()


def test_large_scores_do_not_overflow():
    """Warnings are errors in these tests, so an overflow would be one."""
    y = Softmax()(np.array([[1e4, 0, -1e4], [1e4, 1e4, 0]], np.float32))
    np.testing.assert_array_equal(y, [[1, 0, 0], [0.5, 0.5, 0]])


def test_the_same_gradient_for_all_outputs_gives_zero():
    """The outputs sum to one, so they cannot all increase together."""
    layer = Softmax()
    y = layer(np.random.default_rng(0).normal(size=(3, 4)))
    np.testing.assert_allclose(layer.backward(np.ones_like(y)), 0, atol=1e-15)


@pytest.mark.parametrize("dim", [2, -3, 5])
def test_an_axis_that_does_not_exist_is_an_error(dim):
    with pytest.raises(ShapeError, match=f"dim={dim} needs at least"):
        Softmax(dim)(np.ones((2, 2)))


@pytest.mark.parametrize("dim", [True, 1.0, None, "1"])
def test_dim_is_an_integer(dim):
    with pytest.raises(ValueError, match="dim must be the number of an axis"):
        Softmax(dim)
