import math

import numpy as np
import pytest

from cnn import Sequential
from cnn.functional.padding import parse_padding, sides
from cnn.functional.windows import WindowGeometry
from cnn.layers import AvgPool2d, Conv2d, ConvTranspose2d, MaxPool2d

FOUR = {
    "Conv2d": lambda padding: Conv2d(2, 3, 3, padding=padding),
    "ConvTranspose2d": lambda padding: ConvTranspose2d(2, 3, 3, padding=padding),
    "MaxPool2d": lambda padding: MaxPool2d(3, padding=padding),
    "AvgPool2d": lambda padding: AvgPool2d(3, padding=padding),
}


@pytest.mark.parametrize("make", FOUR.values(), ids=FOUR)
def test_four_sides_are_kept_as_they_are_given(make):
    layer = make([[0, 1], (np.int64(2), 0)])
    assert layer.padding == ((0, 1), (2, 0))
    assert "padding=((0, 1), (2, 0))" in repr(layer)
    assert make(1).padding == (1, 1)
    layer.padding = ((1, 0), (0, 2))
    assert layer.padding == ((1, 0), (0, 2))


@pytest.mark.parametrize("make", FOUR.values(), ids=FOUR)
@pytest.mark.parametrize("padding", ["full", (1, 2, 0, 1), ((1, 2), 3), ((1, 2, 3), (1, 2)), ((0, 1),)], ids=str)
def test_other_forms_are_refused_and_the_error_shows_the_right_one(make, padding):
    with pytest.raises(ValueError, match=r"four, \(\(top, bottom\), \(left, right\)\), got"):
        make(padding)


@pytest.mark.parametrize("make", FOUR.values(), ids=FOUR)
@pytest.mark.parametrize("padding", [((0, -1), (0, 0)), -1, 1.5, (True, 0), ((0, 1.0), (0, 0)), None], ids=str)
def test_sides_are_integers_of_at_least_0(make, padding):
    with pytest.raises(ValueError, match=r"padding\S* must be an integer of at least 0"):
        make(padding)


@pytest.mark.parametrize("name", ["Conv2d", "MaxPool2d", "AvgPool2d"])
def test_valid_is_no_padding(name):
    assert FOUR[name]("valid").padding == (0, 0)


def test_a_transposed_convolution_has_no_words():
    with pytest.raises(ValueError, match=r"pair \(vertical, horizontal\) or four"):
        ConvTranspose2d(1, 1, 3, padding="same")


@pytest.mark.parametrize("pool", [MaxPool2d, AvgPool2d])
def test_every_window_of_a_pool_has_a_pixel_of_the_image(pool):
    for size in ((3, 2), (1, 4)):
        most = tuple((k - 1, k - 1) for k in size)
        for image in ((1, 1), (4, 5)):
            y = pool(size, stride=1, padding=most)(np.ones((1, 1, *image), np.float32))
            assert np.isfinite(y).all()
            assert y.shape[2:] == tuple(pixels + k - 1 for pixels, k in zip(image, size, strict=True))
    with pytest.raises(ValueError, match=r"as much as a window spans: use at most \(\(2, 2\), \(1, 1\)\)"):
        pool((3, 2), padding=((0, 3), (0, 0)))
    with pytest.raises(ValueError, match=r"as much as a window spans"):
        pool((3, 2), padding=((0, 0), (2, 0)))


def test_a_dilated_window_spans_more():
    x = np.ones((1, 1, 4, 4), np.float32)
    assert MaxPool2d(2, 1, ((2, 2), (0, 0)), dilation=2)(x).shape == (1, 1, 6, 2)
    with pytest.raises(ValueError, match="as much as a window spans"):
        MaxPool2d(2, 1, ((3, 0), (0, 0)), dilation=2)


@pytest.mark.parametrize("make", FOUR.values(), ids=FOUR)
def test_four_sides_in_a_file(make, tmp_path):
    model, x = (
        Sequential([make(((0, 1), (2, 0)))]),
        np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype(np.float32),
    )
    y = model(x)
    model.save(tmp_path / "model.safetensors")
    again = Sequential.load(tmp_path / "model.safetensors")
    assert again[0].padding == ((0, 1), (2, 0))
    np.testing.assert_array_equal(again(x), y)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("s", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_same_is_the_least_padding_with_which_every_stride_has_a_window(k, s, d):
    for pixels in range(1, 14):
        geometry = WindowGeometry.of((k, 1), (s, 1), (d, 1), "same", pixels, 7)
        (before, after), others = geometry.pads
        count = math.ceil(pixels / s)
        assert geometry.output_size(pixels, 7) == geometry.output_size(pixels, 7, ceil_mode=True) == (count, 7)
        assert others == (0, 0)
        assert after - before in (0, 1)
        if before + after:
            assert (count - 1) * s + d * (k - 1) + 1 == before + pixels + after


def test_same_needs_to_know_the_image_where_the_stride_is_not_1():
    assert Conv2d(1, 1, 3, padding="same").geometry().pads == ((1, 1), (1, 1))
    layer = Conv2d(1, 1, 3, stride=2, padding="same")
    assert layer.geometry(6, 7).pads == ((0, 1), (1, 1))
    with pytest.raises(IndexError):
        layer.geometry()


def test_one_layer_takes_images_of_many_sizes():
    """What was prepared for one size does not serve for the next."""
    layer = Conv2d(1, 1, 3, stride=2, padding="same", bias=False)
    layer.weight.data = np.arange(9).reshape(1, 1, 3, 3)
    for size, corner in ((6, 36), (7, 24), (6, 36)):  # the sums of all weights and of those that see the image
        assert layer(np.ones((1, 1, size, size), np.float32))[0, 0, 0, 0] == corner


def test_sides():
    assert sides((1, 2)) == ((1, 1), (2, 2))
    assert sides(((1, 2), (3, 4))) == ((1, 2), (3, 4))
    assert parse_padding("same") == "same"
