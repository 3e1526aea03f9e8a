import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn.errors import ShapeError
from cnn.layers import Conv2d
from cnn.layers.conv2d import conv2d, conv2d_input_grad, conv2d_weight_grad
from tests.layers import loops

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=150)
@given(
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.integers(1, 2),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    n=st.integers(1, 2),
    bias=st.booleans(),
)
def test_agrees_with_the_loops_exactly_on_integers(kernel, stride, dilation, padding, groups, size, n, bias):
    """Small integers are exact in float64, so not one bit may differ, forward or backward."""
    assume(all(s + 2 * p >= loops.span(k, d) for s, p, k, d in zip(size, padding, kernel, dilation, strict=True)))
    rng = np.random.default_rng(0)
    layer = Conv2d(2 * groups, 2 * groups, kernel, stride, padding, dilation, groups, bias=bias).to(np.float64)
    for p in layer.parameters():
        p.data = rng.integers(-4, 5, p.shape)
    x = rng.integers(-4, 5, (n, 2 * groups, *size)).astype(float)
    settings = (stride, padding, dilation, groups)
    b = layer.bias.data if bias else None
    y = layer(x)
    np.testing.assert_array_equal(y, loops.conv2d(x, layer.weight.data, b, *settings))
    grad = rng.integers(-4, 5, y.shape).astype(float)
    grad_x, grad_weight, grad_bias = loops.conv2d_grads(grad, x, layer.weight.data, *settings)
    np.testing.assert_array_equal(layer.backward(grad), grad_x)
    np.testing.assert_array_equal(layer.weight.grad, grad_weight)
    if bias:
        np.testing.assert_array_equal(layer.bias.grad, grad_bias)


@settings(max_examples=150)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)) | st.just("same"),
    groups=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_adjoint_identity(kernel, stride, dilation, padding, groups, size):
    """<conv(x, w), g> = <x, input_grad(g)> = <w, weight_grad(x, g)>, exactly on integers, to 1e-12 otherwise."""
    layer = Conv2d(2 * groups, groups, kernel, stride, padding, dilation, groups)
    geometry, rng = layer.geometry(*size), np.random.default_rng(0)
    try:
        counts = geometry.output_size(*size)
    except ShapeError:
        assume(False)
    shapes = (3, 2 * groups, *size), layer.weight.shape, (3, groups, *counts)
    for exact in (True, False):
        x, w, g = (rng.integers(-4, 5, s).astype(float) if exact else rng.normal(size=s) for s in shapes)
        forward = np.sum(conv2d(x, w, None, geometry, groups) * g)
        back = np.sum(x * conv2d_input_grad(g, w, x.shape, geometry, groups))
        weights = np.sum(w * conv2d_weight_grad(g, x, w.shape, geometry, groups))
        scale = 0 if exact else 1e-12 * np.linalg.norm(x) * np.linalg.norm(w) * np.linalg.norm(g)
        assert abs(forward - back) <= scale
        assert abs(forward - weights) <= scale


def test_by_hand():
    """A cross-correlation, not flipped: the kernel [[1, 2]] at (a, b) gives a + 2 b."""
    layer = Conv2d(1, 1, (1, 2), bias=True)
    layer.weight.data, layer.bias.data = [[[[1, 2]]]], [10]
    y = layer(np.array([[[[1, 2, 3]]]], np.float32))
    np.testing.assert_array_equal(y, [[[[15, 18]]]])


def test_output_sizes_are_rounded_down():
    assert Conv2d(1, 2, 3, stride=2, padding=1)(np.ones((1, 1, 6, 6), np.float32)).shape == (1, 2, 3, 3)
    assert Conv2d(1, 2, 2, stride=2)(np.ones((1, 1, 7, 5), np.float32)).shape == (1, 2, 3, 2)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, (2, 5)])
@pytest.mark.parametrize("dilation", [1, 2, (3, 1)])
def test_same_keeps_height_and_width(kernel, dilation):
    x = np.ones((1, 1, 6, 7), np.float32)
    assert Conv2d(1, 2, kernel, padding="same", dilation=dilation)(x).shape == (1, 2, 6, 7)


def test_groups_are_independent():
    layer, x = Conv2d(4, 2, 3, groups=2, rng=0), np.random.default_rng(0).normal(size=(1, 4, 5, 5)).astype(np.float32)
    before = layer(x)
    x[:, 2:] += 1
    after = layer(x)
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    assert (after[:, 1] != before[:, 1]).all()


def test_the_gradient_of_the_data_is_not_computed():
    """Without needs_input_grad only the gradients of the parameters are computed."""
    layer, x = Conv2d(1, 2, 3, rng=0), np.ones((1, 1, 5, 5), np.float32)
    grad = np.ones_like(layer(x))
    assert layer.backward(grad) is not None
    expected = layer.weight.grad
    layer.zero_grad()
    layer.needs_input_grad = False
    layer(x)
    assert layer.backward(grad) is None
    np.testing.assert_array_equal(layer.weight.grad, expected)


def test_initial_weights():
    """Weight and bias are uniform in ± 1 / sqrt(fan_in), float32, and the same for the same rng."""
    layer = Conv2d(8, 64, 3, groups=2, rng=0)
    bound = 1 / np.sqrt(4 * 9)
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert 0.9 * bound < np.abs(p.data).max() <= bound
    np.testing.assert_array_equal(Conv2d(8, 64, 3, groups=2, rng=0).weight.data, layer.weight.data)
    assert Conv2d(1, 1, 1, bias=False).bias is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 6, 6), r"expected \(N, 3, H, W\), got \(2, 4, 6, 6\): set in_channels=4"),
        ((2, 6, 6, 3), r"channels come last here: pass x.transpose\(0, 3, 1, 2\), or set in_channels=6"),
        ((3, 6, 6), r"a single image needs a batch axis: x\[None\]"),
        ((6, 6), r"reshape rows of pixels, x.reshape\(-1, 3, H, W\)"),
        ((2, 3, 2, 6), "window spans 3 pixels vertically, but the input of 2 x 6.*use a smaller kernel_size"),
        ((2, 3, 6, 2), "window spans 3 pixels horizontally"),
    ],
)
def test_a_wrong_input_names_the_fix(shape, message):
    with pytest.raises(ShapeError, match=message):
        Conv2d(3, 4, 3)(np.zeros(shape, np.float32))


def test_errors_for_grey_images_with_missing_axes_name_the_fix():
    with pytest.raises(ShapeError, match=r"add the channel axis: x\[:, None\]"):
        Conv2d(1, 4, 3)(np.zeros((5, 6, 6), np.float32))
    with pytest.raises(ShapeError, match=r"one grey image is x\[None, None\]"):
        Conv2d(1, 4, 3)(np.zeros((6, 6), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
        ({"out_channels": 2.0}, "out_channels must be an integer"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be one integer or a pair"),
        ({"stride": 0}, "stride"),
        ({"stride": (1, -1)}, r"stride\[1\]"),
        ({"padding": -1}, "padding"),
        ({"padding": "full"}, "padding"),
        ({"dilation": True}, "dilation"),
        ({"groups": 3}, "in_channels=4 is not divisible by groups=3"),
        ({"groups": 4}, "out_channels=6 is not divisible by groups=4"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3} | arguments)


def test_multiply_adds():
    layer = Conv2d(4, 6, 3, groups=2)
    assert layer.multiply_adds((1, 6, 5, 5)) == 6 * 5 * 5 * 2 * 9
