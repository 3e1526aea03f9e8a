"""Properties of all transforms; crops, flips and erasing. Intensity, rotation and mixing have their own test files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.intensity import Brightness, Contrast, Normalize
from cnn.data.mixing import CutMix, Mixup
from cnn.data.rotation import Rotation
from cnn.data.sample_rng import SampleRNG
from cnn.data.transforms import AlternatingFlip, HorizontalFlip, RandomCrop, RandomErasing
from cnn.data.tta import flip_tta
from cnn.errors import InputError, ShapeError

INDEPENDENT = [
    RandomCrop(2),
    RandomCrop(padding=3, edge="reflect"),
    RandomCrop(padding=3, edge="nearest"),
    HorizontalFlip(),
    AlternatingFlip(),
    RandomErasing(),
    RandomErasing(p=1, area=[0.1, 0.2]),
    Rotation(15),
    Brightness(0.4),
    Contrast(0.4),
    Normalize([0.3, 0.4, 0.5], [0.2, 0.3, 0.4]),
]
MIXING = [Mixup(classes=10), Mixup(1, classes=10, p=0.5), CutMix(classes=10), CutMix(0.5, classes=10, p=0.5)]


def images(n=24, c=3, h=9, w=7, dtype=np.uint8):
    x = np.random.default_rng(n).integers(0, 256, (n, c, h, w), dtype=np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


def with_scale(transform, x):
    """Give Normalize the scale that it needs for floating-point images."""
    if isinstance(transform, Normalize) and x.dtype != np.uint8:
        return Normalize(transform.mean, transform.std, scale=1)
    return transform


@pytest.mark.parametrize("transform", INDEPENDENT + MIXING, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
def test_shape_and_dtype_are_kept_and_inputs_are_not_modified(transform, dtype):
    x, y = images(dtype=dtype), np.arange(24) % 10
    x_before, y_before = x.copy(), y.copy()
    x.setflags(write=False)
    y.setflags(write=False)
    out, labels = with_scale(transform, x)(x, y, SampleRNG(0, 1, np.arange(24)))
    assert out.shape == x.shape
    assert out.dtype == (np.float32 if isinstance(transform, Normalize) else dtype)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(y, y_before)
    assert not np.array_equal(out, x)
    if transform in INDEPENDENT:
        assert labels is y
    else:
        assert (labels.shape, labels.dtype) == ((24, 10), np.float32)


@pytest.mark.parametrize("transform", INDEPENDENT + MIXING, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_memory_layout_makes_no_difference(transform, dtype):
    x, y = images(dtype=dtype), np.arange(24) % 10
    transform = with_scale(transform, x)
    expected = transform(x, y, SampleRNG(0, 1, np.arange(24)))[0]
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    reversed_strides = np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1]
    for other in (channels_last, reversed_strides):
        out = transform(other, y, SampleRNG(0, 1, np.arange(24)))[0]
        np.testing.assert_allclose(out, expected, rtol=0, atol=0 if dtype == np.uint8 else 1e-5)


@pytest.mark.parametrize("transform", INDEPENDENT, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_sample_is_changed_the_same_way_in_every_batch(transform, dtype):
    x, y = images(dtype=dtype), np.arange(24)
    transform = with_scale(transform, x)
    samples = np.arange(24) * 7 + 3
    whole = transform(x, y, SampleRNG(5, 2, samples, 1))[0]
    for part in (np.random.default_rng(0).permutation(24), np.array([20, 3, 11]), np.array([9])):
        out = transform(x[part], y[part], SampleRNG(5, 2, samples[part], 1))[0]
        np.testing.assert_array_equal(out, whole[part])
    other = transform(x, y, SampleRNG(5, 3, samples, 1))[0]
    assert isinstance(transform, Normalize) or not np.array_equal(other, whole)


@pytest.mark.parametrize("transform", INDEPENDENT + MIXING, ids=repr)
def test_batches_of_zero_and_one_sample(transform):
    for n in (0, 1):
        x, y = images(n), np.zeros(n, np.int64)
        out, labels = transform(x, y, SampleRNG(0, 1, np.arange(n)))
        assert out.shape == x.shape
        assert len(labels) == n


@pytest.mark.parametrize("transform", INDEPENDENT + MIXING, ids=repr)
def test_evaluating_the_repr_recreates_the_transform(transform):
    again = eval(repr(transform))
    assert again == transform
    assert repr(again) == repr(transform)


@pytest.mark.parametrize("transform", INDEPENDENT + MIXING, ids=repr)
def test_errors_name_the_fix(transform):
    y, rng = np.zeros(4, np.int64), SampleRNG(0, 1, np.arange(4))
    for wrong, message in [
        (np.zeros((4, 784), np.uint8), "reshape rows of pixels"),
        (np.zeros((4, 28, 28), np.uint8), "batch axis"),
        (np.zeros((4, 3, 8, 8), np.int64), r'uint8 or a floating-point dtype, got int64: pass x.astype\("uint8"\)'),
        (np.zeros((5, 3, 8, 8), np.uint8), "5 images need an rng for 5 samples, got one for 4"),
        ([[[[0.0]]]] * 4, "expected a NumPy array of images, .* got list"),
    ]:
        with pytest.raises(InputError, match=message):
            transform(wrong, y, rng)


@pytest.mark.parametrize(("edge", "mode"), [("zero", "constant"), ("reflect", "reflect"), ("nearest", "edge")])
@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_a_window_of_the_padded_image(edge, mode, padding):
    x, samples = images(50, 2, 6, 5), np.arange(50)
    out = RandomCrop(padding, edge)(x, samples, SampleRNG(1, 1, samples))[0]
    for one, shifted, u in zip(x, out, SampleRNG(1, 1, samples).uniform(2), strict=True):
        top, left = (int(number * (2 * padding + 1)) for number in u)
        padded = np.pad(one, ((0, 0), (padding, padding), (padding, padding)), mode=mode)
        np.testing.assert_array_equal(shifted, padded[:, top : top + 6, left : left + 5])


def test_all_shifts_of_a_crop_occur():
    x = np.zeros((2000, 1, 5, 5), np.uint8)
    x[:, :, 2, 2] = 1
    out = RandomCrop(2)(x, None, SampleRNG(0, 1, np.arange(2000)))[0]
    counts = out.sum(axis=(0, 1))
    assert counts.sum() == 2000
    assert counts.min() > 40  # 80 expected, with a standard deviation of 9


def test_a_crop_without_padding_changes_nothing():
    x = images()
    assert RandomCrop(0)(x, None, SampleRNG(0, 1, np.arange(24)))[0] is x


def test_crop_errors():
    with pytest.raises(ValueError, match="padding"):
        RandomCrop(-1)
    with pytest.raises(ValueError, match="got 'wrap'"):
        RandomCrop(1, "wrap")
    with pytest.raises(ShapeError, match="padding=5 is too large to reflect images of 9 x 5: at most 4"):
        RandomCrop(5, "reflect")(images(1, 1, 9, 5), None, SampleRNG(0, 1, [0]))


def test_flips():
    x, samples = images(2000, 1, 2, 3), np.arange(2000)
    assert np.array_equal(HorizontalFlip(p=0)(x, None, SampleRNG(0, 1, samples))[0], x)
    assert np.array_equal(HorizontalFlip(p=1)(x, None, SampleRNG(0, 1, samples))[0], x[..., ::-1])
    out = HorizontalFlip(p=0.3)(x, None, SampleRNG(0, 1, samples))[0]
    flipped = SampleRNG(0, 1, samples).uniform() < 0.3
    np.testing.assert_array_equal(out, np.where(flipped[:, None, None, None], x[..., ::-1], x))
    assert 0.27 < flipped.mean() < 0.33
    for p in (-0.1, 1.1, "half", True, float("nan")):
        with pytest.raises(ValueError, match="p must be a number from 0 to 1"):
            HorizontalFlip(p)


def test_every_image_is_flipped_in_every_other_epoch():
    x = np.tile(np.array([0, 1], np.uint8), (2000, 1, 1, 1))

    def flipped(epoch, transform=0, seed=0):
        rng = SampleRNG(seed, epoch, np.arange(2000), transform)
        return AlternatingFlip()(x, None, rng)[0][:, 0, 0, 0].astype(bool)

    first = flipped(1)
    assert 0.45 < first.mean() < 0.55
    for epoch in range(2, 7):
        np.testing.assert_array_equal(flipped(epoch), first if epoch % 2 else ~first)
    np.testing.assert_array_equal(flipped(1, transform=3), first)
    assert 0.45 < (flipped(1, seed=1) == first).mean() < 0.55
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.08


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.5), st.floats(0, 0.49), st.integers(0, 10**6))
def test_the_erased_part_is_one_box_of_the_requested_area(h, w, low, more, seed):
    x = np.ones((20, 2, h, w), np.uint8)
    out = RandomErasing(p=1, area=(low, low + more))(x, None, SampleRNG(seed, 1, np.arange(20)))[0]
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    for one in out[:, 0] == 0:
        rows, columns = np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert one.sum() == height * width  # a full box
        assert (max(height - 0.5, 0) * max(width - 0.5, 0)) <= (low + more) * h * w or 1 in (height, width)
        assert (height + 0.5) * (width + 0.5) >= low * h * w


def test_erased_boxes_are_as_in_the_paper():
    x, samples = np.ones((4000, 1, 100, 100), np.uint8), np.arange(4000)
    erased = RandomErasing(p=0.4, area=(0.02, 0.4))(x, None, SampleRNG(0, 1, samples))[0][:, 0] == 0
    area = erased.mean(axis=(1, 2))
    assert 0.37 < (area > 0).mean() < 0.43
    area = area[area > 0]
    np.testing.assert_allclose([area.min(), area.max(), area.mean()], [0.02, 0.4, 0.21], atol=0.01)
    heights, widths = (erased.any(axis=axis).sum(axis=1) for axis in (2, 1))
    ratio = heights[heights > 0] / widths[heights > 0]
    assert ratio.max() == pytest.approx(1 / 0.3, rel=0.05)
    assert ratio.min() == pytest.approx(0.3, rel=0.05)
    assert abs(np.log(ratio).mean()) < 0.05  # as often in portrait as in landscape format
    for border in (erased[:, 0], erased[:, -1], erased[:, :, 0], erased[:, :, -1]):
        assert 0.003 < border.any(axis=1).mean() < 0.02  # boxes reach each edge, but do not accumulate there


def test_erasing_nan_and_erasing_nothing():
    x = np.full((50, 1, 8, 8), np.nan)
    out = RandomErasing(p=1)(x, None, SampleRNG(0, 1, np.arange(50)))[0]
    assert (out == 0).any(axis=(1, 2, 3)).all()
    assert np.array_equal(RandomErasing(p=0)(images(), None, SampleRNG(0, 1, np.arange(24)))[0], images())


@pytest.mark.parametrize("area", [(0, 0.5), (0.5, 1), (0.4, 0.2), (-0.1, 0.2), (0.1, 2), (0.1, "a"), 0.3, (0.1,), None])
def test_area_must_be_two_fractions(area):
    with pytest.raises(ValueError, match="area"):
        RandomErasing(area=area)


def test_flipped_mean():
    x = images(dtype=np.float32)

    def predict(x):
        assert x.flags.c_contiguous
        return x[:, 0, 0] ** 2

    expected = (x[:, 0, 0] ** 2 + x[:, 0, 0, ::-1] ** 2) / 2
    out = flip_tta(predict, x)
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == np.float32
    with pytest.raises(InputError, match=r"got int64: pass model.predict_proba"):
        flip_tta(lambda x: np.zeros(len(x), np.int64), x)
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        flip_tta(predict, x[:, 0, 0])


@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (4, 5, 7), (4, 1, 5, 7)])
def test_flip_tta_mirrors_maps_back(shape):
    """A map that holds the pixels themselves is the same for both images, once it is mirrored back."""
    x = np.random.default_rng(0).random((4, 3, 5, 7))
    x = x[:, : shape[1]] if len(shape) == 4 else x
    maps = flip_tta(lambda x: x if len(shape) == 4 else x[:, 0], x)
    np.testing.assert_allclose(maps, x if len(shape) == 4 else x[:, 0])


@pytest.mark.parametrize("output", [np.zeros((4, 2, 5, 6)), np.zeros((4, 3, 2)), np.zeros((4, 2, 7, 5))])
def test_flip_tta_refuses_maps_of_another_size(output):
    x = np.zeros((4, 3, 5, 7))
    with pytest.raises(ShapeError, match=r"maps of 5 x 7 pixels.*mirrored back"):
        flip_tta(lambda x: output, x)
    np.testing.assert_array_equal(flip_tta(lambda x: np.ones((4, 2, 1, 1)), x), np.ones((4, 2, 1, 1)))
