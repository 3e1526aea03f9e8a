import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import ConstantPad2d, ReflectionPad2d, ReplicationPad2d, ZeroPad2d

X = np.array([[[[1.0, 2, 3], [4, 5, 6]]]])
ALL = pytest.mark.parametrize(
    "pad", [ZeroPad2d, lambda padding: ConstantPad2d(padding, 1), ReflectionPad2d, ReplicationPad2d]
)


def test_the_order_is_left_right_top_bottom():
    np.testing.assert_array_equal(ZeroPad2d((1, 0, 0, 1))(X)[0, 0], [[0, 1, 2, 3], [0, 4, 5, 6], [0, 0, 0, 0]])
    np.testing.assert_array_equal(ConstantPad2d((0, 1, 1, 0), 9)(X)[0, 0], [[9, 9, 9, 9], [1, 2, 3, 9], [4, 5, 6, 9]])
    np.testing.assert_array_equal(
        ReflectionPad2d((2, 0, 0, 1))(X)[0, 0], [[3, 2, 1, 2, 3], [6, 5, 4, 5, 6], [3, 2, 1, 2, 3]]
    )
    np.testing.assert_array_equal(
        ReplicationPad2d((0, 2, 1, 0))(X)[0, 0], [[1, 2, 3, 3, 3], [1, 2, 3, 3, 3], [4, 5, 6, 6, 6]]
    )


@ALL
def test_negative_padding_crops(pad):
    layer = pad((-1, 0, -1, 0))
    np.testing.assert_array_equal(layer(X), [[[[5, 6]]]])
    np.testing.assert_array_equal(layer.backward(np.array([[[[7.0, 8]]]])), [[[[0, 0, 0], [0, 7, 8]]]])


def test_a_copied_pixel_gets_the_gradients_of_all_its_copies():
    for layer, expected in ((ReflectionPad2d((2, 1, 0, 0)), [1, 3, 2]), (ReplicationPad2d((2, 1, 0, 0)), [3, 1, 2])):
        y = layer(X)
        np.testing.assert_array_equal(layer.backward(np.ones_like(y)), [[[expected, expected]]])


@ALL
def test_cropping_everything_is_an_error(pad):
    with pytest.raises(ShapeError, match=r"padding=\(-2, -1, 0, 0\) leaves nothing of an input of 2 x 3: crop less"):
        pad((-2, -1, 0, 0))(X)


def test_reflection_padding_must_be_smaller_than_the_image():
    with pytest.raises(ShapeError, match=r"padding=\(0, 0, 2, 0\) mirrors 2 pixels .* only 2 .* at most 1"):
        ReflectionPad2d((0, 0, 2, 0))(X)


@ALL
@pytest.mark.parametrize("padding", [1.0, True, (1, 2), (1, 2, 3, 4.0), "1", None])
def test_wrong_padding_is_named(pad, padding):
    with pytest.raises(ValueError, match="padding must be one integer or four"):
        pad(padding)


@pytest.mark.parametrize("value", [None, "0", True])
def test_wrong_value_is_named(value):
    with pytest.raises(ValueError, match="value must be a number"):
        ConstantPad2d(1, value)


def test_the_arguments_are_kept():
    assert repr(ZeroPad2d(1)) == "ZeroPad2d(padding=(1, 1, 1, 1))"
    assert repr(ConstantPad2d([1, 2, 3, 4], np.float32(0.5))) == "ConstantPad2d(padding=(1, 2, 3, 4), value=0.5)"
