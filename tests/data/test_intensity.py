import numpy as np
import pytest

from cnn import Sequential
from cnn.data.intensity import Brightness, Contrast, Normalize
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError
from cnn.layers import Identity


def images(n=40, c=3):
    return np.random.default_rng(0).integers(0, 256, (n, c, 6, 5), dtype=np.uint8)


def make_rng(n=40):
    return SampleRNG(0, 1, np.arange(n))


def test_normalize_is_bit_identical_to_preprocess():
    model = Sequential([Identity()])
    for normalize in (
        Normalize(0.2860, 0.3530),
        Normalize([0.4914, 0.4822, 0.4465], np.array([0.2470, 0.2435, 0.2616])),
        Normalize(mean=100, std=(50, 60, 70), scale=1),
    ):
        model.preprocessing = normalize.preprocessing
        out, y = normalize(images(), None, make_rng())
        assert y is None
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out, model.preprocess(images()))
        again = Normalize(**model.preprocessing)
        np.testing.assert_array_equal(again(images(), None, make_rng())[0], out)


def test_a_model_file_contains_the_preprocessing_of_normalize(tmp_path):
    model = Sequential([Identity()])
    model.preprocessing = Normalize(np.float32([0.5]), (1,)).preprocessing
    model.save(tmp_path / "model.safetensors")
    assert Sequential.load(tmp_path / "model.safetensors").preprocessing == model.preprocessing


def test_floating_images_need_a_scale():
    x = (images() / 255).astype(np.float64)
    with pytest.raises(InputError, match="got float64: set scale=1 if the values are from 0 to 1"):
        Normalize(0.5, 0.25)(x, None, make_rng())
    out = Normalize(0.5, 0.25, scale=1)(x, None, make_rng())[0]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, (x - 0.5) / 0.25, rtol=0, atol=1e-6)
    assert x.max() == 1


def test_normalize_errors():
    with pytest.raises(ShapeError, match=r"mean for 2 channels, but x, \(40, 3, 6, 5\), has 3: give one number or 3"):
        Normalize([0.1, 0.2], 1)(images(), None, make_rng())
    with pytest.raises(ShapeError, match="std for 2 channels"):
        Normalize(0, [0.1, 0.2])(images(), None, make_rng())
    for std in (0, [0.1, -0.1]):
        with pytest.raises(ValueError, match="std must be above 0"):
            Normalize(0, std)
    for mean in ("a", [[0.1]], [], float("nan"), None):
        with pytest.raises(ValueError, match="mean must be a finite number or a list"):
            Normalize(mean, 1)
    for scale in (0, float("inf"), "1", True):
        with pytest.raises(ValueError, match="scale must be a finite number above 0"):
            Normalize(0, 1, scale)


def factor_of(amount):
    return (1 + amount * (2 * make_rng().uniform() - 1)).reshape(-1, 1, 1, 1)


def test_brightness():
    x = images()
    expected = np.minimum(np.rint(x * factor_of(0.5)), 255)
    out = Brightness(0.5)(x, None, make_rng())[0].astype(float)
    assert abs(out - expected).max() <= 1  # rounding in float32 may decide a tie
    assert (out == expected).mean() > 0.999
    assert (out == 255).mean() > (x == 255).mean() + 0.05
    floating = Brightness(0.5)(x / 255, None, make_rng())[0]
    np.testing.assert_allclose(floating, x / 255 * factor_of(0.5), rtol=1e-12)
    assert floating.max() > 1.2  # not clipped
    np.testing.assert_array_equal(Brightness(0)(x, None, make_rng())[0], x)


def test_contrast():
    x = images()
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    exact = mean + factor_of(0.5) * (x - mean)
    expected = np.clip(np.rint(exact), 0, 255)
    out = Contrast(0.5)(x, None, make_rng())[0].astype(float)
    assert abs(out - expected).max() <= 1
    assert (out == expected).mean() > 0.995
    assert exact.min() < -20  # clipped, not wrapped around
    floating = Contrast(0.5)(x / 255, None, make_rng())[0]
    np.testing.assert_allclose(floating, exact / 255, rtol=0, atol=1e-12)
    np.testing.assert_allclose(floating.mean(axis=(1, 2, 3)), mean.ravel() / 255, rtol=1e-12)
    np.testing.assert_array_equal(Contrast(0)(x, None, make_rng())[0], x)


@pytest.mark.parametrize("transform", [Brightness, Contrast])
def test_amount_is_from_0_to_1(transform):
    for amount in (-0.1, 1.5, "much", None):
        with pytest.raises(ValueError, match="amount must be a number from 0 to 1"):
            transform(amount)
    black = np.zeros((40, 1, 2, 2), np.uint8)
    assert not transform(1)(black, None, make_rng())[0].any()
