import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Flatten, PixelShuffle, Unflatten


def test_channels_become_pixels_in_row_major_order():
    x = np.arange(16.0).reshape(1, 8, 1, 2)
    layer = PixelShuffle(2)
    y = layer(x)
    np.testing.assert_array_equal(y, [[[[0, 2, 1, 3], [4, 6, 5, 7]], [[8, 10, 9, 11], [12, 14, 13, 15]]]])
    np.testing.assert_array_equal(layer.backward(y), x)


def test_wrong_number_of_channels_is_an_error():
    with pytest.raises(
        ShapeError, match=r"upscale_factor=2 needs a number of channels divisible by 4, got \(1, 6, 2, 2\)"
    ):
        PixelShuffle(2)(np.zeros((1, 6, 2, 2)))


@pytest.mark.parametrize("factor", [0, 2.0, True])
def test_wrong_factors_are_named(factor):
    with pytest.raises(ValueError, match="upscale_factor must be an integer of at least 1"):
        PixelShuffle(factor)


def test_unflatten_undoes_flatten_for_any_memory_layout():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    for layout in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), np.asfortranarray(x)):
        layer = Unflatten(1, (2, 3, -1))
        np.testing.assert_array_equal(layer(Flatten()(layout)), x)
        np.testing.assert_array_equal(layer.backward(layout), x.reshape(1, 24))


@pytest.mark.parametrize("sizes", [6, (), (2, 0), (2, -2), (-1, -1), (2.0, 3), (True, 6), None])
def test_wrong_unflattened_sizes_are_named(sizes):
    with pytest.raises(ValueError, match="unflattened_size must be a tuple of positive integers"):
        Unflatten(1, sizes)


def test_sizes_that_do_not_fit_are_an_error():
    with pytest.raises(ShapeError, match=r"\(2, 3\) does not fit axis 1 of \(5, 7\): .* multiply to 7"):
        Unflatten(1, (2, 3))(np.zeros((5, 7)))
    with pytest.raises(ShapeError, match="does not fit"):
        Unflatten(-1, (2, -1))(np.zeros((5, 7)))
    with pytest.raises(ShapeError, match="dim=2 needs at least 3 axes"):
        Unflatten(2, (2, 3))(np.zeros((5, 6)))
    with pytest.raises(ValueError, match="dim must be the number of an axis"):
        Unflatten(1.0, (2, 3))
