import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Linear


def test_by_hand():
    layer = Linear(2, 1)
    layer.weight.data, layer.bias.data = [[2, 3]], [1]
    np.testing.assert_array_equal(layer(np.array([[10, 100], [1, 0]], np.float32)), [[321], [3]])
    np.testing.assert_array_equal(layer.backward(np.array([[1], [2]], np.float32)), [[2, 3], [4, 6]])
    np.testing.assert_array_equal(layer.weight.grad, [[12, 100]])
    np.testing.assert_array_equal(layer.bias.grad, [3])


@pytest.mark.parametrize("between", [(), (3,), (2, 4)])
def test_adjoint_identity(between):
    """<x wT, g> = <x, input_grad(g)> = <w, weight_grad(x, g)>, exactly on integers, with any axes between."""
    rng = np.random.default_rng(0)
    layer = Linear(5, 4, bias=False).to(np.float64)
    layer.weight.data = rng.integers(-9, 10, (4, 5))
    x, g = rng.integers(-9, 10, (6, *between, 5)).astype(float), rng.integers(-9, 10, (6, *between, 4)).astype(float)
    forward = np.sum(layer(x) * g)
    assert forward == np.sum(x * layer.backward(g)) == np.sum(layer.weight.data * layer.weight.grad)


def test_the_gradient_of_the_data_is_not_computed():
    layer = Linear(2, 3)
    layer.needs_input_grad = False
    assert layer.backward(layer(np.ones((4, 2), np.float32))) is None
    assert layer.weight.grad is not None


def test_initial_weights():
    layer = Linear(100, 200, rng=0)
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert 0.09 < np.abs(p.data).max() <= 0.1
        assert abs(p.data.std() - 0.1 / np.sqrt(3)) < 0.005
    np.testing.assert_array_equal(Linear(100, 200, rng=0).weight.data, layer.weight.data)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 7), r"expected \(N, 3\), got \(4, 7\): set in_features=7"),
        ((3,), r"a single sample needs a batch axis: x\[None\]"),
        ((2, 3, 4, 4), r"put Flatten\(\) before it and set in_features=48"),
        ((), "expected"),
    ],
)
def test_a_wrong_input_names_the_fix(shape, message):
    with pytest.raises(ShapeError, match=message):
        Linear(3, 2)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (2.5, 1), ("3", 1), (True, 1)])
def test_sizes_are_integers_of_at_least_one(sizes):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        Linear(*sizes)


def test_multiply_adds():
    assert Linear(5, 4).multiply_adds((1, 4)) == 20
