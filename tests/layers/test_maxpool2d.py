import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn.errors import ShapeError
from cnn.layers import MaxPool2d
from tests.layers import loops

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=200)
@given(
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    ceil_mode=st.booleans(),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    low=st.sampled_from([-9, -2]),
)
def test_agrees_with_the_loops_exactly(kernel, stride, dilation, padding, ceil_mode, size, low):
    """Forward and backward, with ties (few integers), negative values and overlapping windows."""
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    assume(all(s + 2 * p >= loops.span(k, d) for s, p, k, d in zip(size, padding, kernel, dilation, strict=True)))
    rng = np.random.default_rng(0)
    x = rng.integers(low, low + 5, (2, 2, *size)).astype(float)
    layer = MaxPool2d(kernel, stride, padding, dilation, ceil_mode)
    y, where = loops.maxpool2d(x, kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(layer(x), y)
    grad = rng.integers(-4, 5, y.shape).astype(float)
    np.testing.assert_array_equal(layer.backward(grad), loops.maxpool2d_input_grad(grad, where, x.shape))


def grad_of_ones(layer, x):
    return layer.backward(np.ones_like(layer(x)))


def test_of_equal_values_the_first_gets_the_whole_gradient():
    """First in row-major order, whatever the memory order."""
    x = np.full((1, 1, 2, 2), 3.0)
    np.testing.assert_array_equal(grad_of_ones(MaxPool2d(2), x), [[[[1, 0], [0, 0]]]])
    x = np.array([[[[0.0, 7], [7, 0]]]])
    for layout in (np.ascontiguousarray, np.asfortranarray):
        np.testing.assert_array_equal(grad_of_ones(MaxPool2d(2), layout(x)), [[[[0, 1], [0, 0]]]])


def test_overlapping_windows_add_up():
    x = np.array([[[[0.0, 5, 0]]]])
    np.testing.assert_array_equal(grad_of_ones(MaxPool2d((1, 2), stride=1), x), [[[[0, 2, 0]]]])


def test_the_padding_is_minus_infinity():
    """Zero padding would win against negative values."""
    x = np.full((1, 1, 2, 2), -5.0)
    np.testing.assert_array_equal(MaxPool2d(3, stride=1, padding=1)(x), np.full((1, 1, 2, 2), -5))


def test_output_sizes_are_rounded_down_or_up():
    x = np.arange(49.0).reshape(1, 1, 7, 7)
    np.testing.assert_array_equal(MaxPool2d(2)(x)[0, 0], [[8, 10, 12], [22, 24, 26], [36, 38, 40]])
    assert MaxPool2d(2, ceil_mode=True)(x).shape == (1, 1, 4, 4)
    assert MaxPool2d(2, ceil_mode=True)(x)[0, 0, 3, 3] == 48


def test_nan_wins():
    x = np.array([[[[1.0, np.nan], [9, 2]]]])
    layer = MaxPool2d(2)
    assert np.isnan(layer(x)).all()
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1))), [[[[0, 1], [0, 0]]]])


def test_a_window_with_more_pixels_than_a_byte_can_number():
    x = np.zeros((1, 1, 20, 20))
    x[0, 0, 19, 19] = 1
    assert grad_of_ones(MaxPool2d(20), x)[0, 0, 19, 19] == 1


def test_a_window_larger_than_the_image_is_an_error():
    with pytest.raises(
        ShapeError, match=r"window spans 3 pixels vertically, but the input of 2 x 4.*smaller kernel_size"
    ):
        MaxPool2d(3)(np.zeros((1, 1, 2, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": 2, "stride": 0}, "stride"),
        ({"kernel_size": 3, "padding": 2}, r"padding=\(2, 2\) is more than half of kernel_size: use at most \(1, 1\)"),
        ({"kernel_size": (4, 2), "padding": (1, 2)}, r"use at most \(2, 1\)"),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, r"use at most \(1, 1\)"),
        ({"kernel_size": 2, "padding": -1}, "padding"),
        ({"kernel_size": 2, "dilation": 0}, "dilation"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaxPool2d(**arguments)


def test_a_single_image_is_an_error():
    with pytest.raises(ShapeError, match=r"a single image needs a batch axis: x\[None\]"):
        MaxPool2d(2)(np.zeros((3, 4, 4), np.float32))


def test_stride_is_kernel_size_by_default():
    assert MaxPool2d(3).stride == (3, 3)
    assert repr(MaxPool2d((2, 3), 1)) == "MaxPool2d(kernel_size=(2, 3), stride=(1, 1))"
