import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import AdaptiveAvgPool2d, AdaptiveMaxPool2d

BOTH = pytest.mark.parametrize("layer", [AdaptiveAvgPool2d, AdaptiveMaxPool2d])


def test_regions_overlap_where_the_size_does_not_divide():
    x = np.array([[[[1.0, 2, 6]]]])
    layer = AdaptiveAvgPool2d((1, 2))
    np.testing.assert_array_equal(layer(x), [[[[1.5, 4]]]])
    np.testing.assert_array_equal(layer.backward(np.array([[[[2.0, 4]]]])), [[[[1, 3, 2]]]])
    layer = AdaptiveMaxPool2d((1, 2))
    np.testing.assert_array_equal(layer(-x), [[[[-1, -2]]]])
    np.testing.assert_array_equal(layer.backward(np.array([[[[2.0, 4]]]])), [[[[2, 4, 0]]]])


def test_of_equal_values_the_first_gets_the_whole_gradient():
    x = np.array([[[[0.0, 7], [7, 0]]]])
    for layout in (np.ascontiguousarray, np.asfortranarray):
        layer = AdaptiveMaxPool2d(1)
        np.testing.assert_array_equal(layer(layout(x)), [[[[7]]]])
        np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1))), [[[[0, 1], [0, 0]]]])


@BOTH
def test_nan_stays_in_its_region(layer):
    x = np.ones((1, 1, 2, 4), np.float32)
    x[0, 0, 1, 0] = np.nan
    np.testing.assert_array_equal(layer((1, 2))(x), np.array([[[[np.nan, 1]]]], np.float32))


@BOTH
@pytest.mark.parametrize("output_size", [0, -1, 2.0, True, (2, 0), (1, 2, 3), "2"])
def test_wrong_sizes_are_named(layer, output_size):
    with pytest.raises(ValueError, match="output_size must be"):
        layer(output_size)


@BOTH
def test_wrong_images_are_named(layer):
    with pytest.raises(ShapeError, match="at least one pixel"):
        layer(1)(np.zeros((2, 3, 0, 4)))
    with pytest.raises(ShapeError, match=r"a single image needs a batch axis: x\[None\]"):
        layer(1)(np.zeros((3, 4, 4)))


@BOTH
def test_none_keeps_the_size(layer):
    assert layer((None, 2))(np.zeros((1, 2, 5, 7))).shape == (1, 2, 5, 2)
    assert repr(layer((None, 2))) == f"{layer.__name__}(output_size=(None, 2))"
