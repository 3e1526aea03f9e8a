import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Dropout2d

ONES = np.ones((100, 200, 2, 3), np.float32)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_zeroes_whole_channels_and_keeps_the_mean(p):
    y = Dropout2d(p, rng=0)(ONES)
    channels = y[:, :, 0, 0]
    np.testing.assert_array_equal(y, np.broadcast_to(channels[:, :, None, None], y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-6)
    assert abs((channels == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / channels.size)


def test_each_forward_draws_a_new_mask_and_channels_are_independent():
    layer = Dropout2d(0.5, rng=0)
    first, second = (layer(ONES)[:, :, 0, 0] == 0 for _ in range(2))
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert 0.22 < (one & other).mean() < 0.28


def test_backward_uses_the_mask_of_forward():
    layer = Dropout2d(0.3, rng=0)
    y = layer(ONES)
    np.testing.assert_array_equal(layer.eval().backward(ONES), y)


def test_evaluation_changes_nothing_and_draws_nothing():
    layer = Dropout2d(0.5, rng=0).eval()
    np.testing.assert_array_equal(layer(ONES), ONES)
    np.testing.assert_array_equal(layer.backward(2 * ONES), 2 * ONES)
    np.testing.assert_array_equal(layer.train()(ONES), Dropout2d(0.5, rng=0)(ONES))


def test_p_of_0_and_1():
    for p, expected in ((0, ONES), (1, 0 * ONES)):
        layer = Dropout2d(p)
        np.testing.assert_array_equal(layer(ONES), expected)
        np.testing.assert_array_equal(layer.backward(ONES), expected)


def test_memory_layout_is_kept():
    x = ONES.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    y = Dropout2d(0.5, rng=0)(x)
    assert y.strides == x.strides
    np.testing.assert_array_equal(y, Dropout2d(0.5, rng=0)(ONES))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), True])
def test_p_is_a_probability(p):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        Dropout2d(p)


def test_rows_are_an_error():
    with pytest.raises(ShapeError, match=r"expected \(N, C, H, W\)"):
        Dropout2d()(np.ones((2, 3), np.float32))
