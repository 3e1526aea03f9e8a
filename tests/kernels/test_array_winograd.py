"""The Winograd algorithm in plain NumPy: exact where nothing is rounded, accurate elsewhere, and used where it is faster.

Largest error relative to the largest result, against float64, on normal data, of output, input gradient and weight
gradient, as `pytest tests/kernels/test_array_winograd.py -rP` prints them:

    channels    64                       256
    Winograd    4.2e-7 3.4e-7 5.4e-7     6.8e-7 7.7e-7 3.3e-7
    direct      3.8e-7 4.7e-7 4.2e-7     7.4e-7 5.7e-7 4.6e-7
"""

import types

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cnn
from cnn import Sequential
from cnn.kernels import dispatch
from cnn.kernels.array import parallel_for, winograd
from cnn.layers import Conv2d, MaxPool2d, ReLU
from cnn.utils.gradcheck import difference
from tests.conformance import draw
from tests.containers import steps
from tests.kernels.backends import forward_and_backward, in_float64, using

pytestmark = pytest.mark.kernels
drawn = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
NEAR = 3e-6
ran: set[str] = set()


@pytest.fixture(autouse=True)
def tuned():
    """Use the kernels under test."""
    with using("array", 2):
        yield


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of a few images, of any channels, and threads even for little work; what runs is recorded."""
    ran.clear()
    for name in ("forward", "weight_grad", "Corners", "Gradients"):
        monkeypatch.setattr(winograd, name, recorded(name, getattr(winograd, name)))
    monkeypatch.setattr(winograd, "TILE_BYTES", 60_000)
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 0)
    monkeypatch.setattr(winograd, "MIN_WINDOWS", 1)
    monkeypatch.setattr(parallel_for, "MIN_NANOSECONDS", 0)


def recorded(name, function):
    """Return the same function, but recording that it ran."""

    def run(*arguments):
        ran.add(name)
        return function(*arguments)

    return run


def images_per_tile(layer, x):
    """Return how many images make a tile with the Winograd algorithm; 0 if another is used."""
    return winograd.plan(x.shape, layer.geometry(), layer.out_channels, x.dtype, layer.groups)


def integers(rng, shape, last):
    """Return small integers, with channels last in memory or first."""
    n, c, h, w = shape
    x = rng.integers(-3, 4, (n, h, w, c) if last else shape).astype(np.float32)
    return x.transpose(0, 3, 1, 2) if last else x


@st.composite
def convolutions(draw):
    """Draw a 3 x 3 convolution with padding 1 and weights of small integers, images, and a generator."""
    c, k = draw(st.integers(2, 7)), draw(st.integers(1, 7))  # one to one would be depthwise
    shape = draw(st.integers(2, 9)), c, 2 * draw(st.integers(1, 5)), 2 * draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    conv = Conv2d(c, k, 3, padding=1, bias=draw(st.booleans()), rng=0)
    for parameter in conv.parameters():
        parameter.data = rng.integers(-2, 3, parameter.shape).astype(np.float32)
    return conv, integers(rng, shape, draw(st.booleans())), rng


@pytest.mark.parametrize("pooled", [False, True])
@drawn
@given(convolutions(), st.booleans(), st.integers(1, 3))
def test_small_integers_are_exact(small_tiles, pooled, case, needs_input_grad, count):
    """Also for equal values, of which the pool takes the first; alone, and fused with ReLU and a pool."""
    conv, x, rng = case
    assert images_per_tile(conv, x)
    ran.clear()
    results, grad = [], None
    for name in ("array", "reference"):
        with using(name, count):
            model = Sequential([conv, ReLU(), MaxPool2d(2)] if pooled else [conv], fuse=name == "array")
            model.needs_input_grad = needs_input_grad
            y = model(x)
            if name == "array":
                assert steps.names(model) == ["ConvReLUPoolStep"] * pooled
            grad = integers(rng, y.shape, True) if grad is None else grad
            model.zero_grad()
            results.append([y, model.backward(grad), *(p.grad for p in model.parameters())])
    assert ran == {"Corners", "Gradients", *([] if pooled else ["forward", "weight_grad"])}
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("c", "k", "n", "size"), [(32, 64, 16, 14), (64, 64, 20, 8), (128, 128, 8, 16), (256, 256, 8, 8)]
)
@pytest.mark.parametrize("algorithm", ["winograd", "direct"])
def test_errors(c, k, n, size, algorithm, monkeypatch):
    """Outputs, the gradient of the input, and that of the weights."""
    layer, x = Conv2d(c, k, 3, padding=1, rng=0), draw((n, c, size, size))
    layer.weight.data = draw(layer.weight.shape, seed=1)
    assert images_per_tile(layer, x)
    if algorithm == "direct":
        monkeypatch.setattr(winograd, "MIN_CHANNELS", 1000)
        assert not images_per_tile(layer, x)
    errors = [difference(a, b) for a, b in zip(forward_and_backward(layer, x), in_float64(layer, x), strict=True)]
    print(f"{algorithm}, {c} -> {k} channels: y {errors[0]:.1e}, x_grad {errors[1]:.1e}, w_grad {errors[2]:.1e}")
    assert max(errors) <= NEAR


def test_values_far_from_zero():
    """The sums are larger, and the errors grow in proportion."""
    layer, x = Conv2d(32, 64, 3, padding=1, rng=0), draw((16, 32, 14, 14)) + 1000
    assert images_per_tile(layer, x)
    for a, b in zip(forward_and_backward(layer, x), in_float64(layer, x), strict=True):
        assert difference(a, b) <= NEAR


@pytest.mark.parametrize(
    ("layer", "shape", "dtype", "used"),
    [
        (Conv2d(32, 64, 3, padding=1), (64, 32, 14, 14), np.float32, True),
        (Conv2d(64, 32, 3, padding=1), (64, 64, 14, 14), np.float32, True),
        (Conv2d(40, 40, 3, padding="same"), (64, 40, 8, 12), np.float32, True),
        (Conv2d(32, 64, 3, padding=1), (64, 32, 14, 14), np.float64, False),
        (
            Conv2d(32, 32, 3, padding=1),
            (64, 32, 14, 14),
            np.float32,
            False,
        ),  # the maps take as long as the products save
        (Conv2d(32, 64, 3, padding=1), (1, 32, 10, 10), np.float32, False),
        (Conv2d(32, 64, 3, padding=1), (64, 32, 13, 14), np.float32, False),
        (Conv2d(32, 64, 3), (64, 32, 14, 14), np.float32, False),
        (Conv2d(32, 64, 3, padding=1, stride=2), (64, 32, 14, 14), np.float32, False),
        (Conv2d(32, 64, 3, padding=1, dilation=2), (64, 32, 14, 14), np.float32, False),
        (Conv2d(64, 128, 3, padding=1, groups=2), (64, 64, 14, 14), np.float32, False),
        (Conv2d(32, 64, 5, padding=2), (64, 32, 14, 14), np.float32, False),
        (Conv2d(64, 64, 3, padding=1), (4, 64, 64, 64), np.float32, False),  # a tile does not hold the image
        (Conv2d(512, 512, 3, padding=1), (64, 512, 4, 4), np.float32, False),  # the weights are large
    ],
    ids=repr,
)
def test_the_choice_by_shape(layer, shape, dtype, used):
    assert bool(winograd.plan(shape, layer.geometry(), layer.out_channels, dtype, layer.groups)) == used


@pytest.mark.parametrize("pooled", [False, True])
def test_the_same_bits_with_the_same_number_of_threads(small_tiles, pooled):
    x = np.random.default_rng(0).standard_normal((9, 6, 12, 12)).astype(np.float32)
    model = Sequential([Conv2d(6, 5, 3, padding=1, rng=0), *([ReLU(), MaxPool2d(2)] if pooled else [])])
    for count in (1, 2, 4):
        cnn.set_num_threads(count)
        first, again = forward_and_backward(model, x), forward_and_backward(model, x)
        for a, b in zip(first, again, strict=True):
            assert a.tobytes() == b.tobytes()
    assert {"Corners", "Gradients"} <= ran


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("pooled", [False, True])
def test_infinity_and_nan_stay_local(small_tiles, value, pooled):
    """They reach the outputs that see them, and no others: their image goes the direct way."""
    x = draw((3, 6, 8, 8))
    model = Sequential([Conv2d(6, 5, 3, padding=1, bias=False, rng=0), *([ReLU(), MaxPool2d(2)] if pooled else [])])
    y = model(x)
    grad = np.ones_like(y)
    grad[2, 1, 2, 2 if pooled else 5] = value
    reached = np.zeros(x.shape, bool)
    if pooled:
        reached[2, :, 3:7, 3:7] = True  # the window of 4 x 4 pixels
    else:
        reached[2, :, 0:4, 4:8] = True
    with np.errstate(invalid="ignore"):
        x_grad = model.backward(grad)
        x[1, 3, 4, 4] = value
        y = model(x)
    assert (~np.isfinite(x_grad) <= reached).all()
    assert not np.isfinite(x_grad).all()
    reached = np.zeros(y.shape, bool)
    if pooled:
        reached[1, :, 1:3, 1:3] = True
    else:
        reached[1, :, 2:6, 2:6] = True
    assert (~np.isfinite(y) <= reached).all()
    assert not np.isfinite(y).all()
    assert {"Corners", "Gradients"} <= ran


def test_no_pixel_changes_an_output_that_does_not_see_it(small_tiles):
    """The values at the points that such an output is computed from contain the pixel only times a zero of the maps."""
    conv, x = Conv2d(6, 5, 3, padding=1, rng=0), draw((3, 6, 8, 8))
    y = conv(x)
    x[1, :, 3, 4] = 50  # more would be uneven, and go the direct way
    changed = conv(x) != y
    assert "forward" in ran
    assert changed[1, :, 2:5, 3:6].all()
    changed[1, :, 2:5, 3:6] = False
    assert not changed.any()


def test_products_outside_of_threads_hold_blas_to_one_thread(monkeypatch):
    """Also for a layer alone, without a Sequential that limits BLAS."""
    seen = []

    def matmul(*arguments, **settings):
        seen.append(len(dispatch._inside))
        return np.matmul(*arguments, **settings)

    numpy = types.SimpleNamespace(**{**vars(np), "matmul": matmul})
    monkeypatch.setattr(winograd, "np", numpy)
    conv, x = Conv2d(32, 64, 3, padding=1, rng=0), draw((16, 32, 14, 14))
    conv.backward(conv(x))
    assert len(seen) > 10
    assert min(seen) >= 1


@pytest.mark.parametrize(("c", "side"), [(256, 8), (192, 4), (64, 14)])
def test_no_number_of_images_is_skipped(c, side):
    """If a batch has enough windows, so has every larger one."""
    geometry = Conv2d(1, 1, 3, padding=1).geometry()
    used = [winograd.plan((n, c, side, side), geometry, c, np.float32) > 0 for n in range(1, 200)]
    assert used == sorted(used)
    assert used[-1]


@pytest.mark.parametrize("channels", [8, 64, 256, 1024])
def test_several_threads_share_a_weight_gradient(channels):
    """For every size."""
    assert len(parallel_for.group_tiles(parallel_for.tile_slices(64, 4), winograd.POINTS * channels**2)) >= 4
