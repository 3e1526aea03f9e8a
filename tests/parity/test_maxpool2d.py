import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import Sequential
from cnn.layers import AdaptiveMaxPool2d, BatchNorm2d, Conv2d, MaxPool2d, ReLU
from tests.containers import steps
from tests.kernels.backends import needs_numba, using
from tests.parity.oracle import DTYPES, Tally, compare_layers, tensor


def one_or_two(low, high):
    number = st.integers(low, high)
    return number | st.tuples(number, number)


configurations = st.fixed_dictionaries(
    {
        "kernel_size": one_or_two(1, 4),
        "stride": st.none() | one_or_two(1, 4),
        "padding": st.just(0) | one_or_two(0, 2),
        "dilation": st.just(1) | one_or_two(1, 3),
        "ceil_mode": st.booleans(),
    }
)


def values(kind, shape, rng):
    """Draw images: ordinary ones, ones with ties, and negative ones, for which zero padding would win."""
    if kind == "ties":
        return rng.integers(-2, 3, shape).astype(float)
    x = rng.normal(size=shape)
    return -1 - np.abs(x) if kind == "negative" else x


def test_random_configurations():
    """At least 200 different ones, outputs and gradients; what PyTorch rejects, we reject too."""
    tally = Tally()

    @settings(max_examples=900)
    @given(
        configurations,
        st.sampled_from(["ordinary", "ties", "negative"]),
        st.integers(0, 2),
        st.integers(1, 9),
        st.integers(1, 9),
    )
    def run(arguments, kind, n, height, width):
        key = (*arguments.items(), kind, n, height, width)
        shape = (n, 2, height, width)
        x = values(kind, shape, np.random.default_rng(abs(hash(shape))))
        theirs = torch.nn.MaxPool2d(**arguments)
        try:
            y = theirs(torch.tensor(x))
        except RuntimeError:
            tally.rejected.add(key)
            with pytest.raises(ValueError, match=r"window spans|half of kernel_size"):
                MaxPool2d(**arguments)(x)
            return
        if torch.isinf(y).any():  # a dilated window without any pixel: PyTorch's gradient is wrong
            np.testing.assert_array_equal(MaxPool2d(**arguments)(x), y.numpy())
            return
        for dtype in DTYPES:
            compare_layers(tally, MaxPool2d(**arguments), theirs, x.astype(dtype))
        tally.seen.add(key)

    run()
    tally.report(at_least=200)
    assert tally.rejected


@settings(max_examples=100)
@given(configurations, st.integers(0, 1000))
def test_nan_wins(arguments, seed):
    """In the output and, if a window contains one NaN, in which pixel gets the gradient."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, 9, 9))
    x[rng.random(x.shape) < 0.05] = np.nan
    theirs_x = tensor(x, needs_grad=True)
    try:
        theirs_y = torch.nn.MaxPool2d(**arguments)(theirs_x)
    except RuntimeError:
        return
    ours = MaxPool2d(**arguments)
    y = ours(x)
    np.testing.assert_array_equal(y, theirs_y.detach().numpy())
    grad = rng.integers(1, 5, y.shape).astype(float)
    theirs_y.backward(tensor(grad))
    np.testing.assert_array_equal(ours.backward(grad), theirs_x.grad.numpy())


BACKENDS = ["reference", "array", pytest.param("jit", marks=needs_numba)]


def black_images(shape, dtype):
    """Draw images of minus infinity with few other pixels: none in the upper left quarter, where windows see nothing."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random(shape) < 0.1, rng.normal(size=shape), -np.inf)
    x[:, :, : shape[2] // 2, : shape[3] // 2] = -np.inf
    x[0] = -np.inf
    return x.astype(dtype)


def agree_exactly(ours, theirs, x):
    """Compare outputs, and where the gradients go, which are integers."""
    theirs_x = tensor(x, needs_grad=True)
    theirs_y, y = theirs(theirs_x), ours(x)
    np.testing.assert_array_equal(y, theirs_y.detach().numpy())
    grad = np.random.default_rng(1).integers(1, 9, y.shape).astype(x.dtype)
    theirs_y.backward(tensor(grad))
    found = ours.backward(grad)
    np.testing.assert_array_equal(found, theirs_x.grad.numpy())
    assert found.sum() == grad.sum()  # nothing is lost in the padding


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": (4, 3), "stride": (1, 3), "padding": (2, 1), "ceil_mode": True},
        {"kernel_size": 5, "stride": 1, "padding": 2},
        {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2},
        {"kernel_size": (3, 2), "stride": 2, "padding": (1, 1), "dilation": (1, 3)},
        {"kernel_size": 17, "stride": 2, "padding": 8},  # too many pixels to number them in a byte
    ],
    ids=repr,
)
def test_windows_of_minus_infinity(arguments, dtype, backend):
    """The first pixel that is not padding gets the gradient, as in PyTorch; it was lost in the padding."""
    with using(backend):
        agree_exactly(MaxPool2d(**arguments), torch.nn.MaxPool2d(**arguments), black_images((3, 5, 9, 12), dtype))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, (3, 5), (9, 12)])
def test_regions_of_minus_infinity(size, dtype, backend):
    """AdaptiveMaxPool2d has no padding."""
    with using(backend):
        agree_exactly(AdaptiveMaxPool2d(size), torch.nn.AdaptiveMaxPool2d(size), black_images((3, 5, 9, 12), dtype))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layers", ["conv", "conv, norm", "relu", "conv, relu"])
@pytest.mark.parametrize("fuse", [False, True])
def test_windows_of_minus_infinity_after_other_layers(layers, backend, fuse):
    """Also where the pool is fused with them. Under ReLU nothing passes, as in PyTorch, whose maxima are then 0."""
    ours, theirs = [], []
    for name in layers.split(", "):
        if name == "conv":  # of one pixel, times one: minus infinity stays
            conv = Conv2d(5, 5, 1, groups=5, bias=False, rng=0)
            conv.weight.data = np.ones((5, 1, 1, 1), np.float32)
            ours.append(conv)
        elif name == "norm":
            ours.append(BatchNorm2d(5).eval())
            theirs.append(torch.nn.BatchNorm2d(5).eval())
        else:
            ours.append(ReLU())
            theirs.append(torch.nn.ReLU())
    with using(backend), np.errstate(invalid="ignore"):  # the gradients of conv and norm are not finite
        model = Sequential([*ours, MaxPool2d(3, 2, 1)], fuse=fuse)
        x = black_images((3, 5, 9, 12), np.float32)
        theirs_x = tensor(x, needs_grad=True)
        theirs_y, y = torch.nn.Sequential(*theirs, torch.nn.MaxPool2d(3, 2, 1))(theirs_x), model(x)
        if fuse and backend == "jit" and "norm" not in layers and layers != "relu":
            assert steps.names(model) == ["ConvStep"]
        np.testing.assert_array_equal(y, theirs_y.detach().numpy())
        grad = np.random.default_rng(1).integers(1, 9, y.shape).astype(np.float32)
        theirs_y.backward(tensor(grad))
        np.testing.assert_allclose(model.backward(grad), theirs_x.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("arguments", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}], ids=repr)
def test_a_gradient_that_is_not_finite_stays_where_it_is(arguments, value, dtype, backend):
    """Infinity times 0 is NaN: pixels that were not chosen get 0, not a product."""
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(dtype)
    theirs_x, ours = tensor(x, needs_grad=True), MaxPool2d(**arguments)
    theirs_y = torch.nn.MaxPool2d(**arguments)(theirs_x)
    grad = np.ones(theirs_y.shape, dtype)
    grad[1, 2, 1, 1] = value
    theirs_y.backward(tensor(grad))
    with using(backend):
        ours(x)
        np.testing.assert_array_equal(ours.backward(grad), theirs_x.grad.numpy())
