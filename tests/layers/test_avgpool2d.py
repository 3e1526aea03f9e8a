import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import AvgPool2d


def test_which_pixels_count_at_the_edges():
    """The zeros of the padding count if count_include_pad; pixels beyond it, which ceil_mode reaches, never count."""
    x = np.full((1, 1, 1, 4), 6.0)
    pool = {"kernel_size": (1, 3), "stride": 3, "padding": (0, 1), "ceil_mode": True}
    np.testing.assert_array_equal(AvgPool2d(**pool)(x), [[[[4, 4]]]])
    np.testing.assert_array_equal(AvgPool2d(**pool, count_include_pad=False)(x), [[[[6, 6]]]])
    x = np.full((1, 1, 1, 5), 6.0)
    np.testing.assert_array_equal(AvgPool2d((1, 3), ceil_mode=True)(x), [[[[6, 6]]]])
    np.testing.assert_array_equal(AvgPool2d((1, 4), padding=(0, 1), ceil_mode=True)(x), [[[[4.5, 4]]]])


def test_overlapping_windows_add_up():
    layer = AvgPool2d((1, 2), stride=1)
    grad = np.array([[[[2.0, 4]]]])
    layer(np.zeros((1, 1, 1, 3)))
    np.testing.assert_array_equal(layer.backward(grad), [[[[1, 3, 2]]]])


def test_nan_stays_in_its_window():
    x = np.ones((1, 1, 2, 4), np.float32)
    x[0, 0, 1, 0] = np.nan
    np.testing.assert_array_equal(AvgPool2d(2)(x), np.array([[[[np.nan, 1]]]], np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": True}, "kernel_size"),
        ({"kernel_size": 2, "stride": 0}, "stride"),
        ({"kernel_size": 2, "padding": -1}, "padding"),
        ({"kernel_size": (4, 2), "padding": (1, 2)}, r"more than half of kernel_size: use at most \(2, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AvgPool2d(**arguments)


def test_wrong_images_are_named():
    with pytest.raises(
        ShapeError, match=r"window spans 3 pixels vertically, but the input of 2 x 4.*smaller kernel_size"
    ):
        AvgPool2d(3)(np.zeros((1, 1, 2, 4)))
    with pytest.raises(ShapeError, match=r"a single image needs a batch axis: x\[None\]"):
        AvgPool2d(2)(np.zeros((3, 4, 4), np.float32))
