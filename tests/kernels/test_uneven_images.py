"""An image with a pixel much larger than the others, or with infinity or NaN: no rounding error, and no NaN, reaches what
does not see the pixel, although the Winograd algorithm computes a tile of outputs from sums of all its pixels.

Wherever the pixel is not seen, the error is at most 3e-5 of the sum of |x w|.
"""

import copy
import functools

import numpy as np
import pytest

import cnn
from cnn import Sequential
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, ReLU
from tests.conformance import draw
from tests.kernels.backends import as_bytes, forward_and_backward, needs_numba, using

BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]
SHAPES = [(32, 16, 14, 64), (64, 20, 8, 48)]  # C, N, H = W, K
VALUES = [1e4, -1e6, np.inf, np.nan, -np.nan]  # the last with a sign bit, as processors make it
LIMIT = 3e-5
IMAGE = 1

pytestmark = pytest.mark.kernels


def winograd_serves(layer, x, name):
    """Tell whether the backend uses the Winograd algorithm for this layer and batch."""
    if name == "reference":
        return True  # it has none; nothing to check
    if name == "jit":
        shapes = backend.load("cnn.kernels.jit.engine.shapes")
        return shapes.algorithm(x.shape, layer.weight.shape, layer.geometry(), layer.groups) == "winograd"
    winograd = backend.load("cnn.kernels.array.winograd")
    return winograd.plan(x.shape, layer.geometry(), layer.out_channels, x.dtype) > 0


def convolution(c, k):
    """Return a layer without bias, with normal weights."""
    layer = Conv2d(c, k, 3, padding=1, bias=False, rng=0)
    layer.weight.data = draw(layer.weight.shape, seed=1)
    return layer


def outputs_near(shape, place):
    """Return where the outputs are that see a pixel: a mask (N, 1, H, W)."""
    mask = np.zeros((shape[0], 1, *shape[2:]), bool)
    rows, columns = (slice(max(0, i - 1), i + 2) for i in place)
    mask[IMAGE, 0, rows, columns] = True
    return mask


def in_float64(layer, x, grad):
    """Return output, input gradient and weight gradient of the plain functions, and the sums of |x w| of each."""
    exact, absolute = (copy.deepcopy(layer).to(np.float64) for _ in range(2))
    absolute.weight.data = abs(absolute.weight.data)
    x, grad = x.astype(np.float64), grad.astype(np.float64)
    with using("reference", 1):
        return forward_and_backward(exact, x, grad), forward_and_backward(absolute, abs(x), abs(grad))


@functools.cache
def case(c, n, size, k, place, whole, of_grad):
    """Return a layer, images, gradients, and what `in_float64` returns if a pixel, or a gradient, is 0."""
    layer, x, grad = convolution(c, k), draw((n, c, size, size)), draw((n, k, size, size), seed=2)
    changed = grad if of_grad else x
    changed[(IMAGE, slice(None) if whole else 3, *place)] = 0
    return layer, x, grad, *in_float64(layer, x, grad)


def spoiled(x, value, place, whole):
    """Return a copy with the value in a pixel of one image, in one channel or in all."""
    x = x.copy()
    x[(IMAGE, slice(None) if whole else 3, *place)] = value
    return x


def worst(found, exact, sums, places):
    """Return the largest error in some places, relative to the sum of |x w| there."""
    places = np.broadcast_to(places, found.shape)
    return (abs(found - exact)[places] / sums[places]).max()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("place", [(3, 4), (0, 7)])
def test_a_pixel(shape, place, whole, value, name):
    """Where four tiles meet, and at the rim: the outputs that do not see it."""
    layer, x, _, (exact, *_), (sums, *_) = case(*shape, place, whole, False)
    assert winograd_serves(layer, x, name)
    with using(name), np.errstate(invalid="ignore"):
        y = layer(spoiled(x, value, place, whole))
    assert worst(y, exact, sums, ~outputs_near(x.shape, place)) <= LIMIT
    assert np.isfinite(y).all() == np.isfinite(value)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("place", [(3, 4), (0, 7)])
def test_a_gradient(shape, place, whole, value, name):
    """The pixels that the output does not see, and the weights of other channels."""
    layer, x, grad, (_, exact, exact_weights), (_, sums, weight_sums) = case(*shape, place, whole, True)
    with using(name), np.errstate(invalid="ignore"):
        _, x_grad, w_grad = forward_and_backward(layer, x, spoiled(grad, value, place, whole))
    assert worst(x_grad, exact, sums, ~outputs_near(grad.shape, place)) <= LIMIT
    if not whole:
        others = np.arange(len(w_grad)) != 3
        assert worst(w_grad[others], exact_weights[others], weight_sums[others], True) <= LIMIT


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("value", [1e4, 1e6])
@pytest.mark.parametrize("of", ["pixel", "gradient"])
@pytest.mark.parametrize("place", [(0, 0), (0, 5), (5, 6)])
def test_the_gradient_of_the_weights(of, place, value, name):
    """A pixel in a corner is not seen by all weights of its channel; a pixel whose outputs have no gradient, by none."""
    c, n, size, k = SHAPES[0]
    layer, x, grad = convolution(c, k), draw((n, c, size, size)), draw((n, k, size, size), seed=2)
    near = outputs_near(x.shape, place)
    if of == "pixel":
        x[IMAGE, 3, *place] = value
        grad *= (place == (0, 0)) | ~near
    else:
        grad[IMAGE, 3, *place] = value
        x *= (place == (0, 0)) | ~near
    (*_, exact), (*_, sums) = in_float64(layer, x, grad)
    with using(name):
        *_, w_grad = forward_and_backward(layer, x, grad)
    assert worst(w_grad, exact, sums, True) <= LIMIT


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("pooled", [False, True])
def test_an_image_does_not_depend_on_its_batch(pooled, threads, name):
    """Neither its output nor its input gradient, whatever the others hold; the choice is made for each image."""
    layer = convolution(32, 64)
    model = Sequential([layer, ReLU(), MaxPool2d(2)]) if pooled else layer
    batch = draw((24, 32, 14, 14))
    for image, value in ((2, 1e4), (3, np.nan), (7, 1e6)):
        batch[image, 5, 3, 4] = value
    assert winograd_serves(layer, batch[:12], name)
    grad = draw(model(batch).shape, seed=2)
    grad[5, 1, 2, 2] = 1e5
    model.zero_grad()
    with using(name, threads), np.errstate(invalid="ignore"):
        y, x_grad, *_ = forward_and_backward(model, batch, grad)
        for others in (batch[np.r_[0:12]], batch[np.r_[8:12, 0:8]], batch[np.r_[0:4, 12:24, 4:8]]):
            first = next(i for i in range(len(others)) if np.array_equal(others[i], batch[0]))
            of_grad = np.concatenate(
                [
                    draw((first, *grad.shape[1:]), seed=3),
                    grad[:4],
                    draw((len(others) - first - 4, *grad.shape[1:]), seed=4),
                ]
            )
            some_y, some_grad, *_ = forward_and_backward(model, others, of_grad)
            assert as_bytes([some_y[first : first + 4]]) == as_bytes([y[:4]])
            assert as_bytes([some_grad[first : first + 4]]) == as_bytes([x_grad[:4]])


def rows_of(kind):
    """Return layers in a row that run as one, and the same ones for a run one by one."""
    after = {
        "conv": [],
        "relu": [ReLU()],
        "pool": [ReLU(), MaxPool2d(2)],
        "padded pool": [MaxPool2d(3, 2, 1)],
        "norm": [BatchNorm2d(64), ReLU()],
        "norm, pool": [BatchNorm2d(64), ReLU(), MaxPool2d(2)],
    }[kind]
    conv = convolution(32, 64)
    return Sequential([conv, *after]), Sequential(copy.deepcopy([conv, *after]), fuse=False)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kind", ["conv", "relu", "pool", "padded pool", "norm", "norm, pool"])
@pytest.mark.parametrize("training", [True, False])
def test_fused_steps(kind, training, name):
    """Other images keep their bits, the uneven one is as exact as one by one, in training, evaluation and inference."""
    fused, single = rows_of(kind)
    x = draw((16, 32, 14, 14))
    with_value = x.copy()
    with_value[IMAGE, 3, 5, 6] = 1e4
    fused.train(training)
    single.train(training)
    results = []
    for model, backend_ in ((fused, name), (single, "reference")):
        with using(backend_):
            model.zero_grad()
            y = model(with_value)
            grad = draw(y.shape, seed=2)
            results.append([y, model.backward(grad), *(p.grad for p in model.parameters())])
            with cnn.no_grad():
                results[-1].append(model.eval()(with_value))
            model.train(training)
    for ours, theirs in zip(*results, strict=True):
        scale = abs(theirs) + np.percentile(abs(theirs), 90)  # of ordinary numbers, and not of the largest
        assert (abs(ours - theirs) / scale).max() <= 1e-3
    if "norm" not in kind:  # whose statistics are those of the batch
        with using(name):
            y, x_grad, *_ = forward_and_backward(fused, x, grad)
        for ours, ordinary in zip(results[0][:2], (y, x_grad), strict=True):
            keep = np.arange(len(x)) != IMAGE
            assert ours[keep].tobytes() == ordinary[keep].tobytes()


@needs_numba
@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_large_images(n):
    """Fewer images than threads: each thread takes a band of rows of an image."""
    layer, x = convolution(16, 32), draw((n, 16, 40, 40))
    with_value = x.copy()
    with_value[n - 1, 3, 5, 6] = 1e6
    with using("jit", 8):
        y, found = layer(x), layer(with_value)
        alone = layer(with_value[n - 1 :])
    near = np.zeros(y.shape, bool)
    near[n - 1, :, 4:7, 5:8] = True
    np.testing.assert_allclose(found[~near], y[~near], atol=3e-4)
    np.testing.assert_array_equal(found[: n - 1], y[: n - 1])
    np.testing.assert_array_equal(found[n - 1 :], alone)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("value", VALUES)
def test_transposed_convolutions(value, name):
    """They use the same kernels."""
    layer = ConvTranspose2d(32, 32, 3, padding=1, bias=False, rng=0)
    x = draw((32, 32, 14, 14))
    x[IMAGE, 3, 3, 4] = 0
    with using("reference"):
        exact = copy.deepcopy(layer).to(np.float64)(x.astype(np.float64))
    with using(name), np.errstate(invalid="ignore"):
        y = layer(spoiled(x, value, (3, 4), whole=False))
    far = np.broadcast_to(~outputs_near(x.shape, (3, 4)), y.shape)
    np.testing.assert_allclose(y[far], exact[far], atol=3e-5 * abs(exact).max())


@needs_numba
@pytest.mark.parametrize("kind", ["normal", "after ReLU", "black", "strokes", "offset", "uniform", "small", "zeros"])
def test_ordinary_images_are_even(kind):
    """They keep the fast way, and their bits: no image is marked."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 32, 14, 14)).astype(np.float32)
    if kind == "after ReLU":
        x = np.maximum(x - 1, 0)
    elif kind == "black":
        x *= rng.random((32, 1, 14, 14)) < 0.05
    elif kind == "strokes":
        x = np.where(rng.random((32, 1, 14, 14)) < 0.1, abs(x) + 1, np.float32(0.1))
    elif kind == "offset":
        x += 1000
    elif kind == "uniform":
        x = rng.random(x.shape, np.float32)
    elif kind == "small":
        x *= np.float32(1e-15)
    elif kind == "zeros":
        x[:5] = 0
    layer = convolution(32, 64)
    plans = backend.load("cnn.kernels.jit.conv2d")
    with using("jit"):
        plan = plans.plan_forward(x.shape, layer.weight.shape, layer.geometry(), 1, False, None, False, 2)
        panels = plans.pack_weight(layer.weight.data, plan.conv)
        at = backend.load("cnn.kernels.jit.engine.arguments")
        arrays = {at.WEIGHT: panels, at.BIAS_VECTOR: np.zeros(64, np.float32)}
        assert plans.run_forward(plan, x, arrays)[2] is None
        x[5, 0, 3, 3] = x[5].max() * 1000 + 1
        assert plans.run_forward(plan, x, arrays)[2].tolist() == [5]
    assert backend.load("cnn.kernels.array.winograd").uneven_images(x).tolist() == [5]
