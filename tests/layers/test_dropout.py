import numpy as np
import pytest

import cnn
from cnn import Sequential
from cnn.layers import Dropout

ONES = np.ones((200, 500), np.float32)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_zeroes_a_fraction_p_and_keeps_the_mean(p):
    y = Dropout(p, rng=0)(ONES)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-6)
    five_sigma = 5 * np.sqrt(p * (1 - p) / ONES.size)
    assert abs((y == 0).mean() - p) < five_sigma
    assert abs(y.mean() - 1) < five_sigma / (1 - p)


def test_backward_uses_the_mask_of_forward():
    layer = Dropout(0.3, rng=0)
    y = layer(ONES)
    np.testing.assert_array_equal(layer.backward(ONES), y)


def test_each_forward_draws_a_new_mask_and_elements_are_independent():
    layer = Dropout(0.5, rng=0)
    first, second = layer(ONES) == 0, layer(ONES) == 0
    assert 0.24 < (first & second).mean() < 0.26
    assert 0.24 < (first[:, 1:] & first[:, :-1]).mean() < 0.26
    assert 0.24 < (first[1:] & first[:-1]).mean() < 0.26


def test_evaluation_changes_nothing_and_draws_nothing():
    layer = Dropout(0.5, rng=0).eval()
    np.testing.assert_array_equal(layer(ONES), ONES)
    np.testing.assert_array_equal(layer.backward(2 * ONES), 2 * ONES)
    np.testing.assert_array_equal(layer.train()(ONES), Dropout(0.5, rng=0)(ONES))


def test_eval_between_forward_and_backward_does_not_change_the_mask():
    layer = Dropout(0.5, rng=0)
    y = layer(ONES)
    np.testing.assert_array_equal(layer.eval().backward(ONES), y)


def test_p_of_0_and_1():
    """p=0 keeps everything; p=1 zeroes everything, without dividing by zero."""
    none, all_ = Dropout(0), Dropout(1)
    np.testing.assert_array_equal(none(ONES), ONES)
    np.testing.assert_array_equal(none.backward(ONES), ONES)
    np.testing.assert_array_equal(all_(ONES), 0 * ONES)
    np.testing.assert_array_equal(all_.backward(ONES), 0 * ONES)


def test_the_mask_does_not_depend_on_memory_layout_or_dtype():
    x = np.ones((3, 4, 5, 6), np.float32)
    y = Dropout(0.5, rng=0)(x)
    channels_last = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    z = Dropout(0.5, rng=0)(channels_last)
    np.testing.assert_array_equal(z, y)
    assert z.strides == channels_last.strides
    np.testing.assert_array_equal(Dropout(0.5, rng=0)(x.astype(np.float64)), y)


def test_manual_seed_repeats_the_masks_and_two_layers_differ():
    def masks():
        cnn.manual_seed(3)
        model = Sequential([Dropout(0.5), Dropout(0.5)])
        return [layer(ONES) for layer in model]

    (a, b), (c, d) = masks(), masks()
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)
    assert (a != b).any()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_is_a_probability(p):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        Dropout(p)


def test_a_numpy_p_does_not_promote():
    layer = Dropout(np.float64(0.5), rng=0)
    assert layer(ONES).dtype == np.float32
    assert repr(layer) == "Dropout()"
