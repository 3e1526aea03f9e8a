import numpy as np
import pytest

from cnn.errors import ShapeError
from cnn.layers import Upsample


def line(*numbers):
    return np.array([[[numbers]]], np.float32)


def test_align_corners_keeps_the_corners():
    x = line(0, 6)
    layer = {corners: Upsample(size=(1, 4), mode="bilinear", align_corners=corners) for corners in (False, True)}
    np.testing.assert_array_equal(layer[False](x), line(0, 1.5, 4.5, 6))
    np.testing.assert_allclose(layer[True](x), line(0, 2, 4, 6), rtol=1e-6)


def test_a_repeated_pixel_gets_the_gradients_of_all_its_copies():
    layer = Upsample(size=(1, 5))
    np.testing.assert_array_equal(layer(line(1, 2)), line(1, 1, 1, 2, 2))
    np.testing.assert_array_equal(layer.backward(line(1, 2, 3, 4, 5)), line(6, 9))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_do_not_spread(odd):
    """They appear only in outputs that use them with a weight above 0, and so do their gradients."""
    x = line(1, 2, odd, 4, 5)
    np.testing.assert_array_equal(Upsample(scale_factor=(1, 2))(x), line(1, 1, 2, 2, odd, odd, 4, 4, 5, 5))
    layer = Upsample(size=(1, 9), mode="bilinear", align_corners=True)
    np.testing.assert_array_equal(layer(x), line(1, 1.5, 2, odd, odd, odd, 4, 4.5, 5))
    np.testing.assert_array_equal(layer.backward(line(1, 1, 1, 1, odd, 1, 1, 1, 1)), line(1.5, 2, odd, 2, 1.5))
    layer(x)
    np.testing.assert_array_equal(layer.backward(line(1, 1, 1, odd, 1, 1, 1, 1, 1)), line(1.5, odd, odd, 2, 1.5))
    layer = Upsample(size=(1, 2), mode="bilinear", align_corners=True)
    np.testing.assert_array_equal(layer(x), line(1, 5))
    np.testing.assert_array_equal(layer.backward(line(1, odd)), line(1, 0, 0, 0, odd))


@pytest.mark.parametrize("scale", [None, 0.5, 0.7, 1.3, 2, 2.5])
@pytest.mark.parametrize("pixels", [1, 2, 5, 8])
def test_asymmetric_is_linear_interpolation_from_the_first_pixel_on(scale, pixels):
    """ONNX's formula: output pixel i is at i / scale, and beyond the last pixel is its value."""
    x = np.random.default_rng(0).normal(size=(1, 1, 1, pixels))
    count = 7 if scale is None else int(pixels * scale)
    if count < 1:
        return
    size, given = ((1, count), None) if scale is None else (None, (1, scale))
    y = Upsample(size, given, "bilinear", asymmetric=True)(x)
    places = np.arange(count) / (count / pixels if scale is None else scale)
    np.testing.assert_allclose(y[0, 0, 0], np.interp(places, np.arange(pixels), x[0, 0, 0]), rtol=1e-12)


def test_the_two_rules_for_a_pixel_that_is_repeated():
    """Halved, the second of each pair of pixels is nearest; "nearest" takes the first."""
    x = line(0, 1, 2, 3, 4, 5)
    np.testing.assert_array_equal(Upsample((1, 3), mode="nearest")(x), line(0, 2, 4))
    np.testing.assert_array_equal(Upsample((1, 3), mode="nearest-exact")(x), line(1, 3, 5))
    np.testing.assert_array_equal(Upsample((1, 4), mode="nearest-exact")(x), line(0, 2, 3, 5))


def test_opposite_infinities_interpolate_to_nan():
    x = line(np.inf, -np.inf)
    np.testing.assert_array_equal(Upsample((1, 3), mode="bilinear")(x), line(np.inf, np.nan, -np.inf))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either size or scale_factor"),
        ({"size": 2, "scale_factor": 2}, "either size or scale_factor"),
        ({"size": 0}, "size must be"),
        ({"size": 2.0}, "size must be"),
        ({"scale_factor": 0}, "scale_factor must be"),
        ({"scale_factor": (2, -1)}, "scale_factor must be"),
        ({"scale_factor": (2,)}, "scale_factor must be"),
        ({"scale_factor": True}, "scale_factor must be"),
        ({"scale_factor": np.inf}, "scale_factor must be"),
        ({"scale_factor": "2"}, "scale_factor must be"),
        ({"scale_factor": 2, "mode": "bicubic"}, 'mode must be "nearest", "nearest-exact" or "bilinear"'),
        ({"scale_factor": 2, "asymmetric": True}, "asymmetric=True is for"),
        ({"scale_factor": 2, "mode": "nearest-exact", "align_corners": True}, "align_corners=True is for"),
        ({"scale_factor": 2, "mode": "bilinear", "align_corners": True, "asymmetric": True}, "exclude each other"),
        ({"scale_factor": 2, "mode": "bilinear", "asymmetric": 1}, "asymmetric must be True or False"),
        ({"scale_factor": 2, "align_corners": False}, "align_corners=False is for"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Upsample(**arguments)


def test_an_image_without_pixels_is_an_error():
    with pytest.raises(ShapeError, match=r"Upsample\(scale_factor=\(0.3, 0.3\)\) turns 3 pixels into 0 vertically"):
        Upsample(scale_factor=0.3)(np.zeros((1, 1, 3, 4)))
    with pytest.raises(ShapeError, match="turns 0 pixels into 2 horizontally"):
        Upsample(size=2)(np.zeros((1, 1, 3, 0)))


def test_the_arguments_are_kept():
    assert repr(Upsample(scale_factor=2)) == "Upsample(scale_factor=(2.0, 2.0))"
    assert repr(Upsample((3, 4), mode="bilinear", align_corners=True)) == (
        "Upsample(size=(3, 4), mode='bilinear', align_corners=True)"
    )
