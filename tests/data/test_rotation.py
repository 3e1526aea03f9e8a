import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.rotation import Rotation, rotate
from cnn.data.sample_rng import SampleRNG


def images(shape, dtype=np.uint8):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return x if dtype == np.uint8 else x.astype(dtype)


def rotate_with_loops(image, angle):
    """Rotate one channel (H, W) counterclockwise, with loops and zeros outside the image."""
    h, w = image.shape
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            up, right = (h - 1) / 2 - i, j - (w - 1) / 2
            from_right = right * math.cos(angle) + up * math.sin(angle)
            from_up = up * math.cos(angle) - right * math.sin(angle)
            y, x = (h - 1) / 2 - from_up, from_right + (w - 1) / 2
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < h and 0 <= column < w:
                        out[i, j] += image[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return out


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 180), st.integers(0, 1000))
def test_the_interpolation_is_bilinear(h, w, degrees, seed):
    x = images((3, 2, h, w), np.float64)
    out = Rotation(degrees)(x, None, SampleRNG(seed, 1, np.arange(3)))[0]
    for one, rotated, u in zip(x, out, SampleRNG(seed, 1, np.arange(3)).uniform(), strict=True):
        for channel in range(2):
            expected = rotate_with_loops(one[channel], math.radians(degrees) * (2 * u - 1))
            np.testing.assert_allclose(rotated[channel], expected, rtol=0, atol=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 180), st.integers(0, 1000))
def test_with_edge_nearest_the_image_continues_with_its_outermost_pixels(h, w, degrees, seed):
    x = images((3, 2, h, w), np.float64)
    out = Rotation(degrees, edge="nearest")(x, None, SampleRNG(seed, 1, np.arange(3)))[0]
    border = max(h, w)
    padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)), mode="edge")
    for one, rotated, u in zip(padded, out, SampleRNG(seed, 1, np.arange(3)).uniform(), strict=True):
        for channel in range(2):
            whole = rotate_with_loops(one[channel], math.radians(degrees) * (2 * u - 1))
            np.testing.assert_allclose(rotated[channel], whole[border:-border, border:-border], rtol=0, atol=1e-9)


def test_the_edge_is_zero_or_nearest():
    with pytest.raises(ValueError, match='edge must be "zero" or "nearest", got \'reflect\''):
        Rotation(10, edge="reflect")
    assert repr(Rotation(10, edge="nearest")) == "Rotation(degrees=10.0, edge='nearest')"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_rotations_by_multiples_of_90_degrees(dtype):
    x = images((4, 3, 8, 8), dtype)
    out = rotate(x, np.array([0, 0.5, 1, -0.5]) * math.pi, math.pi)
    assert out.dtype == dtype
    expected = [x[0], np.rot90(x[1], 1, (1, 2)), np.rot90(x[2], 2, (1, 2)), np.rot90(x[3], -1, (1, 2))]
    np.testing.assert_allclose(out, expected, rtol=0, atol=0 if dtype == np.uint8 else 1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_rotation_by_0_degrees_changes_nothing(dtype):
    x = images((4, 1, 28, 28), dtype)
    np.testing.assert_array_equal(Rotation(0)(x, None, SampleRNG(0, 1, np.arange(4)))[0], x)


def test_uint8_is_rounded():
    x = images((8, 1, 28, 28))
    out = Rotation(15)(x, None, SampleRNG(0, 1, np.arange(8)))[0].astype(float)
    exact = Rotation(15)(x.astype(np.float64), None, SampleRNG(0, 1, np.arange(8)))[0]
    assert abs(out - exact).max() < 0.501


def test_a_long_thin_image_at_every_angle():
    x = np.ones((200, 1, 1, 61), np.uint8)
    out = Rotation(180)(x, None, SampleRNG(0, 1, np.arange(200)))[0]
    assert (out[..., 30] == 1).all()  # the centre stays
    angles = math.pi * (2 * SampleRNG(0, 1, np.arange(200)).uniform() - 1)
    across = abs(np.sin(angles)) > 0.5
    assert (out[across].sum(axis=(1, 2, 3)) < 10).all()


def test_degrees_are_from_0_to_180():
    for degrees in (-1, 181, "far", None, float("nan")):
        with pytest.raises(ValueError, match="degrees must be a number from 0 to 180"):
            Rotation(degrees)
