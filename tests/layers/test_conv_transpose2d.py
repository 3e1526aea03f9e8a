import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn.errors import ShapeError
from cnn.layers import Conv2d, ConvTranspose2d
from cnn.layers.conv_transpose2d import conv_transpose2d, conv_transpose2d_input_grad, conv_transpose2d_weight_grad

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.tuples(st.integers(0, 2), st.integers(0, 2))
configurations = st.fixed_dictionaries(
    {
        "kernel_size": pairs,
        "stride": pairs,
        "padding": paddings,
        "output_padding": paddings,
        "dilation": pairs,
        "groups": st.integers(1, 2),
    }
)


def layer_and_size(arguments, size):
    """Build a layer if the arguments are valid, and return it with its output size."""
    extra = arguments["output_padding"]
    assume(all(e < max(s, d) for e, s, d in zip(extra, arguments["stride"], arguments["dilation"], strict=True)))
    layer = ConvTranspose2d(2 * arguments["groups"], 3 * arguments["groups"], **arguments, rng=0).to(np.float64)
    oh, ow = layer.geometry().input_size(*size)
    assume(oh > 0 and ow > 0)
    return layer, (oh, ow)


@settings(max_examples=100)
@given(configurations, pairs)
def test_agrees_with_the_formula_exactly_on_integers(arguments, size):
    """One product at a time: w[c, k, u, v] x[n, c, i, j] is added at (s i + d u - p, s j + d v - p)."""
    layer, (oh, ow) = layer_and_size(arguments, size)
    rng = np.random.default_rng(0)
    for p in layer.parameters():
        p.data = rng.integers(-4, 5, p.shape)
    x = rng.integers(-4, 5, (2, layer.in_channels, *size)).astype(float)
    y = np.zeros((2, layer.out_channels, oh, ow)) + layer.bias.data[:, None, None]
    for c, k, u, v in np.ndindex(layer.weight.shape):
        for i, j in np.ndindex(size):
            row = layer.stride[0] * i + layer.dilation[0] * u - layer.padding[0]
            column = layer.stride[1] * j + layer.dilation[1] * v - layer.padding[1]
            if 0 <= row < oh and 0 <= column < ow:
                group = c // (layer.in_channels // layer.groups)
                channel = group * (layer.out_channels // layer.groups) + k
                y[:, channel, row, column] += layer.weight.data[c, k, u, v] * x[:, c, i, j]
    np.testing.assert_array_equal(layer(x), y)


@settings(max_examples=150)
@given(configurations, st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_adjoint_identity(arguments, size):
    """<convT(x, w), g> = <x, input_grad(g)> = <w, weight_grad(x, g)>, exactly on integers, to 1e-12 otherwise."""
    layer, (oh, ow) = layer_and_size(arguments, size)
    geometry, groups, rng = layer.geometry(), layer.groups, np.random.default_rng(0)
    shapes = (3, layer.in_channels, *size), layer.weight.shape, (3, layer.out_channels, oh, ow)
    for exact in (True, False):
        x, w, g = (rng.integers(-4, 5, s).astype(float) if exact else rng.normal(size=s) for s in shapes)
        forward = np.sum(conv_transpose2d(x, w, None, g.shape, geometry, groups) * g)
        back = np.sum(x * conv_transpose2d_input_grad(g, w, geometry, groups))
        weights = np.sum(w * conv_transpose2d_weight_grad(g, x, w.shape, geometry, groups))
        scale = 0 if exact else 1e-12 * np.linalg.norm(x) * np.linalg.norm(w) * np.linalg.norm(g)
        assert abs(forward - back) <= scale
        assert abs(forward - weights) <= scale


@pytest.mark.parametrize("arguments", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2, "stride": 2}])
def test_it_is_the_backward_of_a_convolution(arguments):
    conv = Conv2d(4, 6, 3, bias=False, rng=0, **arguments)
    x = np.random.default_rng(0).normal(size=(2, 4, 7, 7)).astype(np.float32)
    y = conv(x)
    layer = ConvTranspose2d(6, 4, 3, bias=False, **arguments)
    layer.weight.data = conv.weight.data
    np.testing.assert_array_equal(layer(y), conv.backward(y))


def test_by_hand():
    """The windows of two pixels: side by side, overlapping, and with a gap."""
    x, weight = np.array([[[[1, 10]]]], np.float32), [[[[1, 2]]]]
    for stride, expected in ((2, [1, 2, 10, 20]), (1, [1, 12, 20]), (3, [1, 2, 0, 10, 20])):
        layer = ConvTranspose2d(1, 1, (1, 2), stride=(1, stride), bias=False)
        layer.weight.data = weight
        np.testing.assert_array_equal(layer(x), [[[expected]]])


def test_output_padding_chooses_between_the_sizes_that_conv2d_maps_to_the_same_one():
    conv = Conv2d(1, 1, 3, stride=2, padding=1)
    for extra in (0, 1):
        y = ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=extra)(np.ones((1, 1, 4, 4), np.float32))
        assert y.shape == (1, 1, 7 + extra, 7 + extra)
        assert conv(y).shape == (1, 1, 4, 4)


def test_the_gradient_of_the_data_is_not_computed():
    """Without needs_input_grad only the gradients of the parameters are computed."""
    layer, x = ConvTranspose2d(1, 2, 3, rng=0), np.ones((1, 1, 3, 3), np.float32)
    grad = np.ones_like(layer(x))
    assert layer.backward(grad) is not None
    expected = layer.weight.grad
    layer.zero_grad()
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(grad) is None
    np.testing.assert_array_equal(layer.weight.grad, expected)


def test_initial_weights():
    """Uniform in ± 1 / sqrt(K/groups KH KW), float32, and the same for the same rng."""
    layer = ConvTranspose2d(8, 64, 3, groups=2, rng=0)
    bound = 1 / np.sqrt(32 * 9)
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert 0.9 * bound < np.abs(p.data).max() <= bound
    np.testing.assert_array_equal(ConvTranspose2d(8, 64, 3, groups=2, rng=0).weight.data, layer.weight.data)
    assert ConvTranspose2d(1, 1, 1, bias=False).bias is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 6, 6), r"expected \(N, 3, H, W\), got \(2, 4, 6, 6\): set in_channels=4"),
        ((3, 6, 6), r"a single image needs a batch axis: x\[None\]"),
        ((2, 3, 1, 6), "images of 1 x 6 would become -1 x 4: use less padding, a larger kernel_size or larger images"),
        ((2, 3, 0, 6), "images of 0 x 6 would become"),
    ],
)
def test_a_wrong_input_names_the_fix(shape, message):
    with pytest.raises(ShapeError, match=message):
        ConvTranspose2d(3, 4, 3, padding=2)(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"padding": "same"}, "padding"),
        ({"padding": -1}, "padding"),
        ({"dilation": True}, "dilation"),
        ({"groups": 3}, "in_channels=4 is not divisible by groups=3"),
        ({"groups": 4}, "out_channels=6 is not divisible by groups=4"),
        ({"output_padding": 1}, "output_padding=1 must be smaller than stride=1 or dilation=1"),
        ({"output_padding": (1, 3), "stride": 2, "dilation": (1, 3)}, "output_padding=3 must be .* dilation=3"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvTranspose2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments)


def test_multiply_adds():
    """Each of the 4 x 5 input pixels, with 4 channels, is multiplied by 3 x 9 weights."""
    layer = ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1)
    shape = layer(np.ones((1, 4, 4, 5), np.float32)).shape
    assert layer.multiply_adds(shape) == 4 * 5 * 4 * 3 * 9
