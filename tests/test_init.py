import contextlib

import numpy as np
import pytest

import cnn
from cnn import init
from cnn.layers import BatchNorm2d, GroupNorm, LayerNorm, Linear, PReLU

SHAPE = (64, 32, 3, 3)  # fan_in 288, fan_out 576


def test_fans():
    assert init.fan_in_and_out((3, 5)) == (5, 3)
    assert init.fan_in_and_out(SHAPE) == (288, 576)
    with pytest.raises(ValueError, match="at least 2 axes"):
        init.fan_in_and_out((3,))


@pytest.mark.parametrize(
    ("draw", "std"),
    [
        (init.kaiming_uniform, np.sqrt(2 / 288)),
        (init.kaiming_normal, np.sqrt(2 / 288)),
        (init.xavier_uniform, np.sqrt(2 / (288 + 576))),
        (init.xavier_normal, np.sqrt(2 / (288 + 576))),
        (lambda *a, **k: init.kaiming_uniform(*a, a=np.sqrt(5), **k), np.sqrt(1 / 3 / 288)),
        (lambda *a, **k: init.kaiming_normal(*a, a=2, **k), np.sqrt(2 / 5 / 288)),
        (lambda *a, **k: init.xavier_uniform(*a, gain=3, **k), 3 * np.sqrt(2 / (288 + 576))),
        (lambda *a, **k: init.xavier_normal(*a, gain=3, **k), 3 * np.sqrt(2 / (288 + 576))),
        (lambda *a, **k: init.uniform(*a, -1, 1, **k), np.sqrt(1 / 3)),
        (lambda *a, **k: init.normal(*a, 0, 0.5, **k), 0.5),
    ],
    ids=range(10),
)
def test_mean_and_standard_deviation(draw, std):
    w = draw(SHAPE, rng=0)
    assert w.shape == SHAPE
    assert w.dtype == np.float32
    assert abs(w.mean()) < 5 * std / np.sqrt(w.size)
    assert abs(w.std() / std - 1) < 0.02
    np.testing.assert_array_equal(draw(SHAPE, rng=0), w)


@pytest.mark.parametrize(
    ("draw", "bound"), [(init.kaiming_uniform, np.sqrt(6 / 288)), (init.xavier_uniform, np.sqrt(6 / 864))]
)
def test_uniform_bounds(draw, bound):
    assert 0.99 * bound < np.abs(draw(SHAPE, rng=0)).max() <= bound


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4), (6, 2, 3, 1), (20, 2, 3, 1)])
def test_orthogonal(shape):
    w = init.orthogonal(shape, gain=2, rng=0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 2, 3, 3), (4, 2, 3, 5), (2, 4, 1, 1), (3, 3, 2, 4)])
def test_dirac_copies_the_first_channels(shape):
    w = init.dirac(shape)
    assert w.sum() == min(shape[:2])
    for channel in range(min(shape[:2])):
        assert w[channel, channel, shape[2] // 2, shape[3] // 2] == 1
    with pytest.raises(ValueError, match="convolution weights"):
        init.dirac((2, 2))


def test_zeros():
    assert not init.zeros((3, 4)).any()
    assert init.zeros((3,)).dtype == np.float32


def test_layers_with_constant_initial_weights_count_towards_the_limit_of_a_model_file():
    for make in (lambda: PReLU(11), lambda: BatchNorm2d(6), lambda: LayerNorm((3, 3)), lambda: GroupNorm(1, 9)):
        with init.limit_total_size(10), pytest.raises(ValueError, match="more than the"):
            make()
    with init.limit_total_size(24):
        BatchNorm2d(6)


def test_blank_weights_are_zero_and_random_numbers_go_on_as_before():
    def numbers(blank):
        cnn.manual_seed(4)
        with init.blank_weights() if blank else contextlib.nullcontext():
            layer = Linear(3, 2)
        return layer, Linear(3, 2).weight.data

    (blank, after), (drawn, expected) = numbers(True), numbers(False)
    assert not blank.weight.data.any()
    assert not blank.bias.data.any()
    assert drawn.weight.data.all()
    np.testing.assert_array_equal(after, expected)
