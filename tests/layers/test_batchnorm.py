import threading

import numpy as np
import pytest

from cnn import Sequential, no_grad
from cnn.errors import ShapeError
from cnn.layers import BatchNorm1d, BatchNorm2d, Flatten, Linear
from cnn.module import evaluating
from cnn.utils.gradcheck import difference


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(2, 3, size=shape).astype(np.float32)


def test_by_hand():
    """Mean 2, variance 1 of the batch; the running variance has n - 1 in the denominator."""
    layer = BatchNorm1d(1, eps=3.0, momentum=0.5)
    layer.weight.data, layer.bias.data = [10], [1]
    np.testing.assert_array_equal(layer(np.array([[1], [3]], np.float32)), [[-4], [6]])
    np.testing.assert_array_equal(layer.running_mean.data, [1])
    np.testing.assert_array_equal(layer.running_var.data, [1.5])
    assert layer.num_batches_tracked.data == 1
    layer.eval().running_var.data = [1]
    np.testing.assert_array_equal(layer(np.array([[1], [3]], np.float32)), [[1], [11]])


@pytest.mark.parametrize("layout", [np.ascontiguousarray, lambda x: np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)])
@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1e4, 1), (-1e4, 1e-1), (1e6, 10)])
def test_no_precision_is_lost_far_from_zero(mean, spread, layout):
    """As accurate in float32 as in float64: a float32 sum of many pixels of one sign, or E[x²] - E[x]², would not be."""
    x = layout(np.random.default_rng(0).normal(mean, spread, size=(16, 2, 64, 64)).astype(np.float32))
    exact, layer = x.astype(np.float64), BatchNorm2d(2, momentum=1.0)
    var = exact.var(axis=(0, 2, 3), keepdims=True)
    z = (exact - exact.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(var + 1e-5)
    assert np.abs(layer(x) - z).max() <= 2e-6
    assert difference(layer.running_mean.data, exact.mean(axis=(0, 2, 3))) <= 1e-7
    assert difference(layer.running_var.data, exact.var(axis=(0, 2, 3), ddof=1)) <= 1e-6


def test_evaluation_does_not_update_the_statistics_but_no_grad_does():
    layer, x = BatchNorm2d(3), draw((2, 3, 4, 4))
    fresh = layer.state_dict()
    layer.eval()(x)
    layer.train()
    with evaluating():
        layer(x)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, fresh[name])
    with no_grad():
        layer(x)
    assert layer.num_batches_tracked.data == 1
    assert (layer.running_mean.data != 0).all()


def test_one_thread_may_evaluate_while_another_trains():
    layer, x, seen = BatchNorm1d(2), draw((5, 2)), []
    layer(x)
    expected = BatchNorm1d(2)
    expected.load_state_dict(layer.state_dict())
    expected = expected.eval()(x)

    def evaluate():
        with evaluating():
            seen.append(layer(x))

    thread = threading.Thread(target=evaluate)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(seen[0], expected)
    assert layer.num_batches_tracked.data == 1
    assert layer.training


@pytest.mark.parametrize("arguments", [{}, {"affine": False}])
def test_returned_arrays_do_not_follow_the_statistics(arguments):
    """They are updated in place; no output, gradient or state may share their memory."""
    layer, x = BatchNorm2d(3, momentum=1.0, **arguments), draw((2, 3, 4, 4))
    layer(x)
    state = layer.state_dict()
    y = layer.eval()(x)
    held = y.copy(), {name: array.copy() for name, array in state.items()}
    layer.train()(x + 5)
    np.testing.assert_array_equal(y, held[0])
    for name, array in state.items():
        np.testing.assert_array_equal(array, held[1][name])
    assert not any(np.shares_memory(y, buffer.data) for _, buffer in layer.named_tensors())


def test_an_update_between_forward_and_backward_does_not_change_the_gradient():
    layer, x = BatchNorm1d(2), draw((5, 2))
    layer(x)
    layer.eval()(x)
    expected = layer.backward(np.ones_like(x))
    layer(x)
    layer.running_var.data = layer.running_var.data * 7
    np.testing.assert_array_equal(layer.train().backward(np.ones_like(x)), expected)


def test_the_average_over_all_batches():
    layer = BatchNorm1d(2, momentum=None)
    batches = [draw((6, 2), seed) for seed in range(3)]
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean.data, np.mean([b.mean(axis=0) for b in batches], axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        layer.running_var.data, np.mean([b.var(axis=0, ddof=1) for b in batches], axis=0), rtol=1e-5
    )


def test_state():
    """PyTorch's keys; the count is an int64 without axes, also after a change of dtype."""
    layer = BatchNorm2d(3).to(np.float64)
    layer(draw((2, 3, 2, 2)).astype(np.float64))
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert state["running_var"].dtype == np.float64
    assert state["num_batches_tracked"].shape == ()
    assert state["num_batches_tracked"].dtype == np.int64
    other = BatchNorm2d(3).to(np.float64).eval()
    other.load_state_dict(state)
    np.testing.assert_array_equal(other(np.ones((1, 3, 2, 2))), layer.eval()(np.ones((1, 3, 2, 2))))
    assert list(BatchNorm2d(3, track_running_stats=False).state_dict()) == ["weight", "bias"]
    assert not BatchNorm2d(3, affine=False, track_running_stats=False).state_dict()
    assert len(BatchNorm2d(3).parameters()) == 2


def test_a_file_keeps_the_statistics(tmp_path):
    model = Sequential([BatchNorm2d(2, momentum=None), Flatten(), Linear(8, 3)])
    x = draw((4, 2, 2, 2))
    model(x)
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.eval()(x), model.eval()(x))
    assert repr(again) == repr(model)


def test_a_channel_that_does_not_vary_gives_its_bias():
    layer, x = BatchNorm1d(1), np.full((4, 1), 7, np.float32)
    layer.bias.data = [2]
    np.testing.assert_array_equal(layer(x), np.full((4, 1), 2))
    assert np.isfinite(layer.backward(draw((4, 1)))).all()


def test_nan_stays_in_its_channel():
    layer, x = BatchNorm2d(2), draw((2, 2, 3, 3))
    x[0, 1, 2, 2] = np.nan
    y = layer(x)
    assert np.isfinite(y[:, 0]).all()
    assert np.isnan(y[:, 1]).all()
    assert np.isnan(layer.running_mean.data).tolist() == [False, True]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (BatchNorm1d(3), (1, 3)),
        (BatchNorm1d(3), (0, 3)),
        (BatchNorm1d(3), (1, 3, 1)),
        (BatchNorm2d(3), (1, 3, 1, 1)),
        (BatchNorm2d(3, track_running_stats=False).eval(), (1, 3, 1, 1)),
    ],
)
def test_too_few_for_a_variance(layer, shape):
    before = layer.state_dict()
    with pytest.raises(ShapeError, match=r"more than 1 value per channel.*got [01] in .*use larger batches"):
        layer(np.zeros(shape, np.float32))
    assert all((array == before[name]).all() for name, array in layer.state_dict().items())


def test_one_sample_is_enough_with_pixels_or_in_evaluation():
    assert BatchNorm2d(3)(draw((1, 3, 2, 1))).shape == (1, 3, 2, 1)
    assert BatchNorm2d(3).eval()(draw((1, 3, 1, 1))).shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (BatchNorm2d(3), (2, 4, 5, 5), r"expected \(N, 3, ...\), got \(2, 4, 5, 5\): set num_features=4"),
        (BatchNorm2d(3), (2, 5, 5, 3), "channels come last here"),
        (BatchNorm2d(3), (3, 5, 5), r"expected 4 axes, got 3, .*BatchNorm2d takes \(N, C, H, W\)"),
        (BatchNorm1d(3), (2, 3, 5, 5), r"expected 2 or 3 axes, got 4, .*BatchNorm1d takes \(N, C\) or \(N, C, L\)"),
        (BatchNorm2d(3), (2, 3), r"got 2, \(2, 3\): .*; use BatchNorm1d\(3\)$"),
        (BatchNorm2d(3), (3, 5, 5), r"use BatchNorm1d\(3\), or x\[None\] for a single image"),
        (BatchNorm1d(3), (2, 3, 5, 5), r"; use BatchNorm2d\(3\)"),
        (BatchNorm1d(3), (3,), "expected 2 or 3 axes, got 1"),
        (BatchNorm1d(3), (2, 4), r"expected \(N, 3\), got \(2, 4\): set num_features=4"),
    ],
)
def test_a_wrong_input_names_the_fix(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_features": 0}, "num_features must be an integer of at least 1"),
        ({"num_features": True}, "num_features"),
        ({"eps": 0}, "eps must be a number above 0, got 0"),
        ({"eps": float("nan")}, "eps"),
        ({"momentum": 1.5}, r"momentum must be a number from 0 to 1, .*, or None, got 1.5"),
        ({"momentum": "0.1"}, "momentum must be a number from 0 to 1, .*, or None, got '0.1'"),
        ({"affine": "no"}, "affine must be True or False, got 'no'"),
        ({"track_running_stats": 1}, "track_running_stats must be True or False, got 1"),
        ({"momentum": True}, "momentum"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm2d(**{"num_features": 3} | arguments)


def test_repr():
    assert repr(BatchNorm2d(3)) == "BatchNorm2d(num_features=3)"
    expected = "BatchNorm1d(num_features=3, momentum=None, affine=False, track_running_stats=False)"
    assert repr(BatchNorm1d(3, momentum=None, affine=False, track_running_stats=False)) == expected
