import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import layers
from tests.parity.oracle import DTYPES, Tally, compare_layers, tensor

pixels = st.integers(1, 9)


def one_or_two(number):
    return number | st.tuples(number, number)


ERRORS = {
    "AvgPool2d": "window spans|half of kernel_size",
    "ChannelShuffle": "divisible by",
    "PixelShuffle": "divisible by",
    "ReflectionPad2d": "mirrors",
    "Unflatten": "does not fit",
    "Upsample": "pixels into 0",
}


def compare(tally, name, arguments, shape, ties=False):
    """Compare our layer with PyTorch's of the same name in both dtypes; what PyTorch rejects, ours must reject too."""
    rng = np.random.default_rng(abs(hash(shape)))
    x = rng.integers(-2, 3, shape).astype(float) if ties else rng.normal(size=shape)
    key = (name, *arguments.items(), shape)
    try:
        theirs = getattr(torch.nn, name)(**arguments)
        theirs(torch.tensor(x))
    except (RuntimeError, ValueError):
        tally.rejected.add(key)
        with pytest.raises(ValueError, match=ERRORS[name]):
            getattr(layers, name)(**arguments)(x)
        return
    for dtype in DTYPES:
        ours = getattr(layers, name)(**arguments)
        compare_layers(tally, ours, theirs, x.astype(dtype))
    tally.seen.add(key)


def test_avgpool2d():
    tally = Tally()
    configurations = st.fixed_dictionaries(
        {
            "kernel_size": one_or_two(st.integers(1, 4)),
            "stride": st.none() | one_or_two(st.integers(1, 5)),
            "padding": st.just(0) | one_or_two(st.integers(0, 2)),
            "ceil_mode": st.booleans(),
            "count_include_pad": st.booleans(),
        }
    )

    @settings(max_examples=600)
    @given(configurations, st.integers(0, 2), pixels, pixels)
    def run(arguments, n, height, width):
        compare(tally, "AvgPool2d", arguments, (n, 2, height, width))

    run()
    tally.report(at_least=200)
    assert tally.rejected


@pytest.mark.parametrize("name", ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d"])
def test_adaptive_pools(name):
    """Also to sizes larger than the input, and with ties, where the first of equal values gets the gradient."""
    tally = Tally()

    @settings(max_examples=200)
    @given(pixels | st.tuples(st.none() | pixels, st.none() | pixels), st.integers(0, 2), pixels, pixels, st.booleans())
    def run(output_size, n, height, width, ties):
        compare(tally, name, {"output_size": output_size}, (n, 2, height, width), ties)

    run()
    tally.report(at_least=100)


def test_nan_wins_in_adaptive_max_pool2d():
    """In the output and, as each region contains at most one NaN, in which pixel gets the gradient."""
    x = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    x[0, :, 1, 2] = x[1, 0, 6, 6] = np.nan
    theirs_x = tensor(x, needs_grad=True)
    theirs_y = torch.nn.AdaptiveMaxPool2d(3)(theirs_x)
    ours = layers.AdaptiveMaxPool2d(3)
    np.testing.assert_array_equal(ours(x), theirs_y.detach().numpy())
    grad = np.random.default_rng(1).normal(size=theirs_y.shape)
    theirs_y.backward(tensor(grad))
    np.testing.assert_array_equal(ours.backward(grad), theirs_x.grad.numpy())


@pytest.mark.parametrize("name", ["ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d"])
def test_pads(name):
    """Padding on some sides and cropping on others; what PyTorch rejects, such as too much reflection, we reject too."""
    tally = Tally()
    side = st.integers(-2, 3)

    @settings(max_examples=250)
    @given(side | st.tuples(side, side, side, side), st.integers(0, 2), pixels, pixels)
    def run(padding, n, height, width):
        arguments = {"padding": padding} | ({"value": -1.5} if name == "ConstantPad2d" else {})
        left, right, top, bottom = padding if isinstance(padding, tuple) else (padding,) * 4
        kept = height + min(0, top) + min(0, bottom), width + min(0, left) + min(0, right)
        if min(kept) < 1:
            return  # PyTorch may pad an empty image; ours raise an error, see tests/layers
        compare(tally, name, arguments, (n, 2, height, width))

    run()
    tally.report(at_least=50)
    assert bool(tally.rejected) == (name == "ReflectionPad2d")


factors = st.sampled_from([0.3, 0.5, 0.7, 1, 1.1, 1.3, 1.5, 2, 2.1, 2.5, 3, 3.3, 1 / 3, 2 / 3, 4 / 3])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_upsample(mode):
    """To sizes and by factors, integer and fractional ones, up and down."""
    tally = Tally()
    aligned = st.sampled_from([None, False, True]) if mode == "bilinear" else st.none()
    sizes = st.fixed_dictionaries({"size": one_or_two(st.integers(1, 20))})
    scales = st.fixed_dictionaries({"scale_factor": one_or_two(factors)})

    @settings(max_examples=300)
    @given(sizes | scales, aligned, st.integers(1, 2), pixels, pixels)
    def run(arguments, align_corners, n, height, width):
        arguments = arguments | {"mode": mode, "align_corners": align_corners}
        compare(tally, "Upsample", arguments, (n, 2, height, width))

    run()
    tally.report(at_least=200)
    assert tally.rejected


@pytest.mark.parametrize("odd", [np.nan, np.inf])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_upsample_does_not_spread_nan_and_infinity(mode, odd):
    """PyTorch multiplies infinity by the weight 0, which gives NaN in some more pixels; everything else agrees."""
    for size in (3, (7, 8), (12, 14), (2, 20), 1):
        for aligned in (None,) if mode != "bilinear" else (False, True):
            x = np.random.default_rng(0).normal(size=(2, 2, 6, 7))
            x[0, 1, 2, 3] = odd
            y = layers.Upsample(size=size, mode=mode, align_corners=aligned)(x)
            theirs = torch.nn.Upsample(size=size, mode=mode, align_corners=aligned)(torch.tensor(x)).numpy()
            finite = np.isfinite(theirs)
            np.testing.assert_allclose(y[finite], theirs[finite], rtol=1e-10, atol=1e-12)
            exact = ~np.isnan(theirs)
            np.testing.assert_array_equal(np.isinf(y[exact]), np.isinf(theirs[exact]))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_upsample_of_a_row_of_pixels_by_many_scales(mode):
    """Which pixel is nearest depends on the last digit: all lengths up to 40, by unusual factors."""
    tally = Tally()
    for scale in (0.1, 0.3, 0.6, 0.7, 0.9, 1.1, 1.4, 1.7, 2.1, 2.3, 3.3, 7.7, 1 / 3, 2 / 3, 5 / 3, 10 / 7):
        for length in range(1, 41):
            compare(tally, "Upsample", {"scale_factor": (1, scale), "mode": mode}, (1, 1, 1, length))
    for length in range(1, 41):
        for size in (1, 2, 3, 7, 11, 13, 24, 49, 80):
            compare(tally, "Upsample", {"size": (1, size), "mode": mode}, (1, 1, 1, length))
    tally.report(at_least=900)


@settings(max_examples=80)
@given(one_or_two(st.integers(1, 4)), st.integers(1, 2), pixels, pixels)
def test_upsample_asymmetric(factor, n, height, width):
    """By whole factors it is what aligned corners give with one more pixel at the end, which is cropped again."""
    down, across = factor if isinstance(factor, tuple) else (factor, factor)

    class Asymmetric(torch.nn.Module):
        def forward(self, x):
            x = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
            size = (down * height + 1, across * width + 1)
            return torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=True)[:, :, :-1, :-1]

    for dtype in DTYPES:
        x = np.random.default_rng(0).normal(size=(n, 2, height, width)).astype(dtype)
        compare_layers(Tally(), layers.Upsample(None, factor, "bilinear", asymmetric=True), Asymmetric(), x)


def test_channel_shuffle():
    tally = Tally()

    @settings(max_examples=80)
    @given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 2), pixels, pixels)
    def run(groups, channels, n, height, width):
        compare(tally, "ChannelShuffle", {"groups": groups}, (n, channels, height, width))

    run()
    tally.report(at_least=20)
    assert tally.rejected


@settings(max_examples=60)
@given(st.integers(0, 5), st.integers(1, 6), st.integers(0, 2), st.lists(st.integers(1, 4), max_size=3))
def test_channel_slice(start, count, n, rest):
    """Against PyTorch's indexing."""
    x = np.random.default_rng(0).normal(size=(n, start + count + 1, *rest))
    theirs_x = tensor(x, needs_grad=True)
    theirs_y = theirs_x[:, start : start + count]
    ours = layers.ChannelSlice(start, start + count)
    np.testing.assert_array_equal(ours(x), theirs_y.detach().numpy())
    grad = np.random.default_rng(1).normal(size=theirs_y.shape)
    theirs_y.backward(tensor(grad))
    np.testing.assert_array_equal(ours.backward(grad), theirs_x.grad.numpy())


def test_pixel_shuffle():
    """Without empty batches, for which the shape of PyTorch's gradient is wrong."""
    tally = Tally()
    for r in (1, 2, 3):
        for channels in (1, 4, 9, 18):
            for n, height, width in ((2, 2, 3), (1, 1, 1), (1, 3, 2)):
                compare(tally, "PixelShuffle", {"upscale_factor": r}, (n, channels, height, width))
    tally.report(at_least=15)
    assert tally.rejected


@pytest.mark.parametrize("dims", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 2, 3), (0, 3, 2, 1)])
def test_permute(dims):
    rng = np.random.default_rng(5)
    x, g = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=[(2, 3, 4, 5)[i] for i in dims])
    layer, theirs = layers.Permute(dims), torch.tensor(x, requires_grad=True)
    y = theirs.permute(dims)
    y.backward(torch.tensor(g))
    np.testing.assert_array_equal(layer(x), y.detach())
    np.testing.assert_array_equal(layer.backward(g), theirs.grad)


@pytest.mark.parametrize(
    ("dim", "unflattened_size", "shape"),
    [
        (1, (2, 3, 4), (5, 24)),
        (1, (2, -1, 4), (5, 24)),
        (1, (-1,), (5, 24)),
        (1, (3, -1), (0, 6)),
        (-1, (2, 3), (4, 2, 6)),
        (-2, (2, -1), (4, 6, 3)),
        (0, (2, 3), (6, 3)),
        (3, (1, 5, 1), (2, 3, 4, 5)),
        (1, (2, 3), (4, 7)),
        (1, (-1, 3), (4, 7)),
    ],
)
def test_unflatten(dim, unflattened_size, shape):
    compare(Tally(), "Unflatten", {"dim": dim, "unflattened_size": unflattened_size}, shape)
