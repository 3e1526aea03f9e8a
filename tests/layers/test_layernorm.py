import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import LayerNorm


def test_samples_are_independent():
    layer, x = LayerNorm(4), np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    before = layer(x)
    x[1:] *= 9
    np.testing.assert_array_equal(layer(x)[0], before[0])


def test_no_precision_is_lost_far_from_zero():
    x = np.random.default_rng(0).normal(1e4, 1, size=(2, 3000)).astype(np.float32)
    exact = x.astype(np.float64)
    z = (exact - exact.mean(axis=1, keepdims=True)) / np.sqrt(exact.var(axis=1, keepdims=True) + 1e-5)
    assert np.abs(LayerNorm(3000)(x) - z).max() <= 1e-6


def test_nan_stays_in_its_sample():
    y = LayerNorm(3)(np.array([[1, np.nan, 2], [1, 2, 3]], np.float32))
    np.testing.assert_array_equal(np.isnan(y), [[True] * 3, [False] * 3])


def test_training_and_evaluation_are_the_same():
    layer, x = LayerNorm((2, 3)), np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), layer.eval()(x))


def test_parameters():
    assert list(LayerNorm(3).state_dict()) == ["weight", "bias"]
    assert list(LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert not LayerNorm(3, elementwise_affine=False).state_dict()
    assert LayerNorm(np.int64(3)).normalized_shape == (3,)


@pytest.mark.parametrize(
    ("normalized_shape", "shape", "message"),
    [
        (3, (2, 4), r"expected \(N, ..., 3\), got \(2, 4\): set normalized_shape=\(4,\)"),
        ((2, 3), (5, 3, 2), r"expected \(N, ..., 2, 3\), got \(5, 3, 2\): set normalized_shape=\(3, 2\)"),
        ((2, 3), (2, 3), r"a single sample needs a batch axis: x\[None\]"),
    ],
)
def test_a_wrong_input_names_the_fix(normalized_shape, shape, message):
    with pytest.raises(ShapeError, match=message):
        LayerNorm(normalized_shape)(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalized_shape": 0}, "normalized_shape must be an integer of at least 1"),
        ({"normalized_shape": (2, 1.5)}, "normalized_shape"),
        ({"normalized_shape": ()}, "at least one axis"),
        ({"normalized_shape": 3, "eps": -1}, "eps must be a number above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LayerNorm(**arguments)
