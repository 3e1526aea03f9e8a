"""Saliency maps against loops and finite differences, and against those of random weights."""

import copy

import numpy as np
import pytest

from cnn import Sequential, zoo
from cnn.errors import InputError, ShapeError
from cnn.explore.random_weights import randomized
from cnn.explore.saliency import grad_cam, gradient, gradient_times_input, occlusion
from cnn.layers import Conv2d, Flatten, Linear, LogSoftmax, ReLU, Softmax
from cnn.module import evaluating, forward_hook
from cnn.zoo.trained import load
from tests.explore.nets import NETS, Scale, branches, graph, logits, made, own_layers, row

MAPS = [gradient, gradient_times_input, occlusion, grad_cam]


def scores(model, x):
    """The logits: what goes into the last Softmax, found by watching the layers."""
    outputs = []
    with evaluating(), forward_hook(lambda layer, y: None if layer.children() else outputs.append((layer, y))):
        model(x)
    is_softmax = isinstance(outputs[-1][0], (Softmax, LogSoftmax))
    return outputs[-2 if is_softmax else -1][1][0]


@pytest.mark.parametrize("net", NETS)
def test_gradients_are_central_differences(net):
    model, x = made(net, "float64")
    expected = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[index] += step
            values.append(scores(model, moved)[3])
        expected[index] = (values[0] - values[1]) / 2e-5
    found = gradient(model, x, 3)
    assert (found.dtype, found.shape) == (np.float32, x.shape[1:])
    np.testing.assert_allclose(found, expected[0], atol=1e-6 * np.abs(expected).max())
    times = gradient_times_input(model, x, 3)
    np.testing.assert_allclose(times, (expected * x)[0], atol=1e-6 * np.abs(expected * x).max())
    assert (times.dtype, times.shape) == (np.float32, x.shape[1:])


def test_gradient_times_input_sums_to_the_score_of_a_net_without_biases():
    layers = [Conv2d(1, 3, 3, bias=False, rng=0), ReLU(), Flatten(), Linear(48, 4, bias=False, rng=1), Softmax()]
    model, x = Sequential(layers), np.random.default_rng(0).normal(size=(1, 1, 6, 6))
    assert gradient_times_input(model, x, 2).sum() == pytest.approx(scores(model, x.astype(np.float32))[2], rel=1e-5)


@pytest.mark.parametrize(("patch", "stride", "value"), [(3, 2, None), (2, 2, 0.7), (8, 1, -1.0), (None, None, None)])
def test_occlusion_is_the_mean_fall_over_patches(patch, stride, value):
    model, x = made(row, "float64")
    found = occlusion(model, x, 1, patch, stride, value)
    patch, stride = patch or 1, stride or 1  # a seventh of 8 pixels
    total, count = np.zeros((9, 8)), np.zeros((9, 8))
    for i in range(9):
        for j in range(8):
            inside = i + patch <= 9 and j + patch <= 8
            if not inside or not ((i % stride == 0 or i + patch == 9) and (j % stride == 0 or j + patch == 8)):
                continue
            covered = x.copy()
            covered[:, :, i : i + patch, j : j + patch] = x.mean() if value is None else value
            fall = scores(model, x)[1] - scores(model, covered)[1]
            total[i : i + patch, j : j + patch] += fall
            count[i : i + patch, j : j + patch] += 1
    assert count.min() > 0
    assert (found.dtype, found.shape) == (np.float32, (9, 8))
    np.testing.assert_allclose(found, total / count, atol=1e-6 * np.abs(total / count).max())


@pytest.mark.parametrize(
    ("net", "name", "k"),
    [(row, "6", 2), (row, "3", 4), (branches, "0.1.body.0", 4), (graph, "0.conv", 4), (own_layers, "1", 4)],
)
def test_grad_cam_is_the_weighted_sum_of_the_channels(net, name, k):
    model, x = made(net, "float64")
    found = grad_cam(model, x, k, name)
    layer = dict(model.named_modules())[name]
    maps = model.activations(x)[name][0]
    expected = np.zeros(maps.shape[1:])
    for c in range(len(maps)):
        values = []
        for step in (1e-5, -1e-5):  # the whole channel moves, so this is the sum over its pixels
            shift = np.zeros((len(maps), 1, 1))
            shift[c] = step
            moved = copy.deepcopy(model)
            inner = dict(moved.named_modules())[name]
            inner.__dict__["forward"] = lambda x, forward=inner.forward, shift=shift: forward(x) + shift
            values.append(scores(moved, x)[k])
        slope = (values[0] - values[1]) / 2e-5 / maps[c].size
        for index in np.ndindex(expected.shape):
            expected[index] += slope * maps[(c, *index)]
    expected = np.where(expected > 0, expected, 0)
    assert layer is not None
    assert (found.dtype, found.shape) == (np.float32, maps.shape[1:])
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
    assert found.max() > 0


def test_grad_cam_takes_the_last_convolution_of_more_than_one_pixel():
    model, x = made(row)
    np.testing.assert_array_equal(grad_cam(model, x, 0), grad_cam(model, x, 0, "6"))
    model, x = made(branches)
    np.testing.assert_array_equal(grad_cam(model, x, 0), grad_cam(model, x, 0, "3.1.0"))


def test_the_class_is_by_default_that_of_the_largest_score():
    model, x = made(branches)
    k = int(model.predict(x)[0])
    for saliency in MAPS:
        np.testing.assert_array_equal(saliency(model, x), saliency(model, x, k))
        assert (saliency(model, x) != saliency(model, x, (k + 1) % 5)).any()


def test_maps_of_random_weights_differ():
    model = load("fashion")
    x = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    other = randomized(model, 0)
    for saliency in MAPS:
        trained, random = saliency(model, x, 3).ravel(), saliency(other, x, 3).ravel()
        assert np.isfinite(random).all()
        assert np.abs(random).max() > 0
        assert np.abs(np.corrcoef(trained, random)[0, 1]) < 0.5


def test_random_weights_are_those_of_a_new_net():
    model, x = made(own_layers)
    before = {name: values.copy() for name, values in model.state_dict().items()}
    other, again, third = randomized(model, 7), randomized(model, 7), randomized(model, 8)
    np.testing.assert_equal(model.state_dict(), before)
    np.testing.assert_equal(other.state_dict(), again.state_dict())
    for name, values in other.state_dict().items():
        if values.size > 1:
            assert (values != before[name]).any(), name
            assert (values != third.state_dict()[name]).any(), name
    assert np.abs(other.state_dict()["0.weight"]).max() <= 1 / np.sqrt(27)
    assert not other.training
    assert other.predict_proba(x).shape == (1, 5)

    model, _ = made(row)
    assert (randomized(model, 0).layers[1].running_var.data == 1).all()
    assert randomized(Sequential([Scale()]), 0).layers[0].weight.data == 1.5  # one number has no spread


def test_what_is_refused():
    model, x = made(row)
    for saliency in MAPS:
        with pytest.raises(InputError, match="k must be a class id, 0 to 4, got 5"):
            saliency(model, x, 5)
        with pytest.raises(ValueError, match=r"k must be an integer of at least 0, got 1\.5"):
            saliency(model, x, 1.5)
        with pytest.raises(ShapeError, match=r"a map is of one sample, got 2: pass x\[:1\]"):
            saliency(model, x.repeat(2, axis=0), 0)
    for settings, problem in (
        ({"patch": 9}, "patch=9 is larger than the image of 9 x 8"),
        ({"patch": 2, "stride": 3}, "stride=3 would leave pixels between the patches"),
    ):
        with pytest.raises(ValueError, match=problem):
            occlusion(model, x, 0, **settings)
    with pytest.raises(InputError, match=r"such as \['0', .*got '10'"):
        grad_cam(model, x, 0, "10")
    model, x = made(logits)
    with pytest.raises(InputError, match="Grad-CAM needs a Conv2d"):
        grad_cam(model, x, 0)
    with pytest.raises(ShapeError, match=r"expected \(N, C, H, W\)"):
        occlusion(zoo.mlp(), np.ones((1, 2)), 0)
    model = zoo.unet((1, 8, 8), classes=2, width=4, depth=1)
    with pytest.raises(InputError, match="comes after the score"):
        grad_cam(model, np.ones((1, 1, 8, 8)), 0, list(dict(model.named_modules()))[-1])


@pytest.mark.parametrize(("side", "overlaps"), [(128, True), (129, False)])
def test_patches_of_large_images_do_not_overlap(side, overlaps):
    model = Sequential([Flatten(), Linear(side * side, 2, rng=0), Softmax()])
    x = np.random.default_rng(0).normal(size=(1, 1, side, side)).astype(np.float32)
    patch = side // 7
    expected = occlusion(model, x, 0, patch, patch // 2 if overlaps else patch)
    np.testing.assert_array_equal(occlusion(model, x, 0), expected)
