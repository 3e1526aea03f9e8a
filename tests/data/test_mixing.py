import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data import DataLoader
from cnn.data.mixing import CutMix, Mixup, mixing_weights, partners
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss

BOTH = [Mixup(1, classes=10), CutMix(1, classes=10)]


def images(n=30, dtype=np.uint8):
    x = np.random.default_rng(0).integers(0, 256, (n, 2, 8, 6), dtype=np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


@pytest.mark.parametrize("alpha", [0.003, 0.05, 0.2, 0.5, 1, 2, 8, 1000])
def test_weights_are_from_the_beta_distribution(alpha):
    n = 20_000
    found = np.sort(mixing_weights(SampleRNG(1, 1, np.arange(n)), alpha, 1))
    expected = np.sort(np.random.default_rng(0).beta(alpha, alpha, n))
    assert found[0] >= 0
    assert found[-1] <= 1
    # Kolmogorov-Smirnov test: by chance the largest distance of the two distribution functions exceeds
    # 1.95 sqrt(2 / n) once in a thousand times
    cuts = np.random.default_rng(1).beta(alpha, alpha, 400)
    cuts = cuts[(cuts > 1e-9) & (cuts < 1 - 1e-9)]  # closer to 1 the resolution of float64 is too coarse
    distance = (np.searchsorted(found, cuts) - np.searchsorted(expected, cuts)) / n
    assert abs(distance).max(initial=0) < 1.95 * np.sqrt(2 / n)
    assert found.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_p_is_the_fraction_of_mixed_images():
    mixed = mixing_weights(SampleRNG(1, 1, np.arange(4000)), 1, 0.3) < 1
    assert 0.27 < mixed.mean() < 0.33
    assert (mixing_weights(SampleRNG(1, 1, np.arange(4000)), 1, 0) == 1).all()


@given(st.integers(2, 40), st.integers(0, 1000))
def test_partners_are_a_permutation_without_fixed_points(n, seed):
    partner = partners(SampleRNG(seed, 1, np.arange(n)))
    assert sorted(partner) == list(range(n))
    assert (partner != np.arange(n)).all()


def test_partners_change_from_epoch_to_epoch():
    pairs = [partners(SampleRNG(0, epoch, np.arange(100))) for epoch in range(20)]
    assert len(np.unique(np.stack(pairs), axis=1).T) == 100
    assert np.mean([len(np.unique(row)) for row in np.stack(pairs).T]) > 15


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_mixup_blends_images_and_labels_with_the_same_weights(dtype):
    x, y, samples = images(dtype=dtype), np.arange(30) % 10, np.arange(30)
    out, targets = Mixup(1, classes=10)(x, y, SampleRNG(3, 1, samples))
    rng = SampleRNG(3, 1, samples)
    weights, partner = mixing_weights(rng, 1, 1), partners(rng)
    s = weights[:, None, None, None]
    tolerance = {np.uint8: 0.5001, np.float32: 1e-6, np.float64: 1e-14}[dtype]
    np.testing.assert_allclose(out, s * x + (1 - s) * x[partner], rtol=0, atol=tolerance)
    one_hot = np.eye(10)[y]
    s = weights[:, None]
    np.testing.assert_allclose(targets, s * one_hot + (1 - s) * one_hot[partner], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1, 5])
def test_cutmix_areas_match_the_labels(alpha):
    n = 200
    x = np.broadcast_to(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1), (n, 2, 9, 7))
    out, targets = CutMix(alpha, classes=n)(x, np.arange(n), SampleRNG(0, 1, np.arange(n)))
    shown = (out[:, 0, :, :, None] == np.arange(n)).mean(axis=(1, 2))
    np.testing.assert_allclose(shown, targets, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    pasted = out[:, 0] != np.arange(n)[:, None, None]
    for one in pasted[pasted.any(axis=(1, 2))]:
        height, width = (np.ptp(np.flatnonzero(one.any(axis=axis))) + 1 for axis in (1, 0))
        assert one.sum() == height * width  # one full box
    assert pasted.any(axis=0).all()  # which may be anywhere
    assert (pasted.sum(axis=(1, 2)) > 0).mean() > 0.3


def test_cutmix_areas_follow_the_weights():
    n = 1000
    x = np.zeros((n, 1, 100, 100), np.uint8)
    own_label = CutMix(1, classes=n)(x, np.arange(n), SampleRNG(0, 1, np.arange(n)))[1].diagonal()
    weights = mixing_weights(SampleRNG(0, 1, np.arange(n)), 1, 1)
    assert (own_label >= weights - 1e-6).all()  # a box that extends beyond the edge is smaller
    inside = abs(own_label - weights) < 0.021  # the requested area, up to rounding to whole pixels
    assert 0.13 < inside.mean() < 0.25  # one in six, the mean of (1 - side)^2


@pytest.mark.parametrize("transform", BOTH, ids=repr)
def test_the_order_of_the_batch_makes_no_difference(transform):
    x, y, samples = images(), np.arange(30) % 10, np.arange(30) + 5
    out, targets = transform(x, y, SampleRNG(1, 1, samples))
    order = np.random.default_rng(0).permutation(30)
    again, targets_again = transform(x[order], y[order], SampleRNG(1, 1, samples[order]))
    np.testing.assert_array_equal(again, out[order])
    np.testing.assert_array_equal(targets_again, targets[order])


@pytest.mark.parametrize("transform", BOTH, ids=repr)
def test_a_batch_of_one_and_p_0_leave_images_unchanged(transform):
    for dtype in (np.uint8, np.float32):
        alone, targets = transform(images(1), np.array([7]), SampleRNG(0, 1, [3]))
        np.testing.assert_array_equal(alone, images(1))
        np.testing.assert_allclose(targets, np.eye(10)[[7]], atol=1e-7)
        unmixed, targets = type(transform)(1, classes=10, p=0)(
            images(dtype=dtype), np.arange(30) % 10, SampleRNG(0, 1, np.arange(30))
        )
        np.testing.assert_array_equal(unmixed, images(dtype=dtype))
        np.testing.assert_array_equal(targets, np.eye(10)[np.arange(30) % 10])


@pytest.mark.parametrize("labels", [np.uint8, np.int32, np.int64])
def test_both_in_sequence_give_targets_that_the_loss_accepts(labels):
    x, y, rng = images(), (np.arange(30) % 10).astype(labels), SampleRNG(0, 1, np.arange(30))
    for transform in BOTH:
        x, y = transform(x, y, rng)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert (y >= 0).all()
    assert (y > 0).sum(axis=1).max() == 4
    loss = CrossEntropyLoss(from_logits=True)(np.zeros((30, 10), np.float32), y)
    assert loss == pytest.approx(np.log(10), rel=1e-6)


@pytest.mark.parametrize("transform", BOTH, ids=repr)
def test_invalid_labels(transform):
    x, rng = images(4), SampleRNG(0, 1, np.arange(4))
    for y, error, message in [
        ([0, 3, 10, 12], InputError, "between 0 and 9 for classes=10, got 0 to 12: set classes=13"),
        ([0, -1, 3, 4], InputError, "got -1 to 4: number the classes from 0"),
        ([0.0, 1.0, 2.0, 3.0], InputError, r"got float64: pass y.astype\(np.int64\)"),
        (["a", "b", "c", "d"], InputError, "labels must be integers from 0 to 9"),
        ([0, 1, 2], ShapeError, r"4 images need 4 labels, got \(3,\)"),
        (3, ShapeError, r"4 images need 4 labels, got \(\)"),
        ([[0], [1], [2], [3]], ShapeError, r"pass y.ravel\(\)"),
        (np.full((4, 5), 0.2), ShapeError, r"or probabilities \(N, 10\), got \(4, 5\): set classes=5"),
    ]:
        with pytest.raises(error, match=message):
            transform(x, np.array(y), rng)


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_invalid_arguments(kind):
    for alpha in (0, -1, float("inf"), float("nan"), "a", True):
        with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
            kind(alpha, classes=10)
    for classes in (1, 10.0, True):
        with pytest.raises(ValueError, match="classes must be an integer of at least 2"):
            kind(classes=classes)
    with pytest.raises(ValueError, match="p must be a number from 0 to 1"):
        kind(classes=10, p=2)
    with pytest.raises(InputError, match=r"class ids \(N,\) can only be mixed .*: set classes"):
        kind(0.2)(images(4), np.array([0, 1, 1, 0]), SampleRNG(0, 1, np.arange(4)))


def test_cutmix_boxes_are_around_their_centres():
    n = 1000
    x = np.broadcast_to(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), (n, 1, 30, 20))
    pasted = CutMix(1, classes=n)(x, np.arange(n), SampleRNG(0, 1, np.arange(n)))[0][:, 0] != x[:, 0]
    rows, columns = pasted.mean(axis=(0, 2)), pasted.mean(axis=(0, 1))
    for covered in (rows, columns):
        half = len(covered) // 2
        assert abs(covered[:half].mean() - covered[half:].mean()) < 0.03
        assert covered[half] > 1.2 * covered[0]  # less at the edges, where boxes are clipped


@pytest.mark.parametrize("kind", [Mixup, CutMix])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("labels", [1, 5])
@pytest.mark.parametrize("with_classes", [False, True])
def test_yes_and_no_are_mixed(kind, dtype, labels, with_classes):
    """Each label (N, K) is the mean of the image's and the partner's, with the weight that class ids are mixed with."""
    x, y = images(), np.random.default_rng(1).integers(0, 2, (30, labels))
    transform = kind(1, classes=labels) if with_classes and labels > 1 else kind(1)
    [(out, found)] = DataLoader(x, y.astype(dtype), 30, False, rng=0, transforms=[transform])
    [(same, own)] = DataLoader(x, np.arange(30), 30, False, rng=0, transforms=[kind(1, classes=30)])
    np.testing.assert_array_equal(out, same)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, own @ y, rtol=1e-5, atol=1e-6)
    BCEWithLogitsLoss()(np.zeros((30, labels), np.float32), found)


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_bool_labels_are_the_classes_0_and_1(kind):
    y, rng = np.arange(30) % 2, SampleRNG(0, 1, np.arange(30))
    expected = kind(1, classes=2)(images(), y, rng)[1]
    np.testing.assert_array_equal(kind(1, classes=2)(images(), y > 0, SampleRNG(0, 1, np.arange(30)))[1], expected)


@pytest.mark.parametrize("kind", [Mixup, CutMix])
@pytest.mark.parametrize(
    ("y", "classes", "says"),
    [
        (np.arange(30) % 4, None, "set classes"),
        (4 - np.arange(30) % 4, 4, "labels must lie between 0 and 3"),
        (np.arange(30)[:, None] % 2, 2, r"pass y\.ravel\(\) for class ids, or leave out classes"),
        (np.tile([1, 0, 0, 1], (30, 1)), 5, "set classes=4"),
    ],
)
def test_what_cannot_be_mixed_is_refused_when_the_loader_is_made(kind, y, classes, says):
    with pytest.raises(InputError, match=says):
        DataLoader(images(), y, transforms=[kind(classes=classes)])


def test_masks_need_no_classes():
    masks = np.random.default_rng(0).integers(0, 4, (30, 8, 6))
    [(_, found)] = DataLoader(images(), masks, 30, False, rng=0, transforms=[CutMix()])
    [(_, expected)] = DataLoader(images(), masks, 30, False, rng=0, transforms=[CutMix(classes=4)])
    np.testing.assert_array_equal(found, expected)
    assert (found != masks).any()
