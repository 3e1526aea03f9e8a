import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import GroupNorm, LayerNorm


def draw(shape):
    return np.random.default_rng(0).normal(2, 3, size=shape).astype(np.float32)


def test_one_group_is_layer_norm_and_one_channel_per_group_is_instance_norm():
    x = draw((3, 4, 5, 2))
    np.testing.assert_array_equal(GroupNorm(1, 4)(x), LayerNorm((4, 5, 2))(x))
    np.testing.assert_array_equal(GroupNorm(4, 4)(x), LayerNorm((5, 2))(x))


def test_groups_and_samples_are_independent():
    layer, x = GroupNorm(2, 4), draw((2, 4, 3, 3))
    before = layer(x)
    x[0, 2:] *= 5
    x[1] = np.nan
    np.testing.assert_array_equal(layer(x)[0, :2], before[0, :2])


def test_no_precision_is_lost_far_from_zero():
    x = draw((2, 2, 40, 40)) + np.float32(1e4)
    exact = x.astype(np.float64)
    z = (exact - exact.mean(axis=(2, 3), keepdims=True)) / np.sqrt(exact.var(axis=(2, 3), keepdims=True) + 1e-5)
    assert np.abs(GroupNorm(2, 2)(x) - z).max() <= 1e-6


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 5, 5), r"expected \(N, 4, ...\), got \(2, 3, 5, 5\): set num_channels=3"),
        ((2, 5, 5, 4), "channels come last here"),
        ((4,), r"a single sample needs a batch axis: x\[None\]"),
    ],
)
def test_a_wrong_input_names_the_fix(shape, message):
    with pytest.raises(ShapeError, match=message):
        GroupNorm(2, 4)(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "num_groups must be an integer of at least 1"),
        ((1, True), "num_channels"),
        ((3, 4), "num_channels=4 is not divisible by num_groups=3"),
        ((2, 4, 0.0), "eps must be a number above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupNorm(*arguments)
