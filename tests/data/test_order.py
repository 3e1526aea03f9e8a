import json

import numpy as np
import pytest

from cnn.data import AlternatingFlip, DataLoader, HorizontalFlip, SampleRNG
from cnn.data.order import count_repeats
from cnn.errors import InputError, ShapeError

Y = np.repeat([0, 1, 2], [90, 9, 1])
X = np.arange(100.0).reshape(100, 1)


def numbers(loader):
    return np.concatenate([x[:, 0] for x, _ in loader]).astype(int)


def test_samples_are_drawn_in_proportion_to_their_weights():
    weights = np.random.default_rng(0).random(100)
    weights[[3, 99, 0]] = 0
    loader = DataLoader(X, Y, 32, rng=1, draw_weights=weights)
    assert len(loader) == 4
    counts = sum(np.bincount(numbers(loader), minlength=100) for _ in range(400))
    assert counts.sum() == 400 * 100
    assert not counts[[3, 99, 0]].any()
    expected = 400 * 100 * weights / weights.sum()
    drawn = expected > 0
    chi2 = ((counts - expected)[drawn] ** 2 / expected[drawn]).sum()
    assert 54 < chi2 < 152  # of 96 degrees of freedom, four standard deviations
    np.testing.assert_allclose(loader.draw_probabilities, weights / weights.sum(), rtol=1e-14)


def test_balanced_draws_each_class_equally_often():
    loader = DataLoader(X, Y, 10, rng=0, draw_weights="balanced")
    counts = sum(np.bincount(Y[numbers(loader)], minlength=3) for _ in range(100))
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.02)
    shifted = DataLoader(X, (Y * 3).astype(np.uint8).tolist(), rng=0, draw_weights="balanced")
    np.testing.assert_array_equal(shifted.draw_probabilities, loader.draw_probabilities)


def test_the_scale_of_weights_does_not_matter():
    for weights in (np.full(100, 1e308), [5] * 100, np.full(100, 1e-300, np.float64), np.ones(100, bool)):
        loader = DataLoader(X, Y, rng=3, draw_weights=weights)
        np.testing.assert_array_equal(numbers(loader), np.random.default_rng(3).choice(100, 100, p=np.full(100, 0.01)))


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("transforms", [(), (HorizontalFlip(), AlternatingFlip())])
@pytest.mark.parametrize("settings", [{"draw_weights": "balanced"}, {"drop_last": True}])
@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_a_restored_loader_continues(settings, transforms, ahead, stop):
    images = np.random.default_rng(0).random((100, 1, 3, 3))

    def loader(seed):
        return DataLoader(images, Y, 11, rng=seed, transforms=transforms, prefetch=ahead, **settings)

    original = loader(1)
    list(original)
    batches = iter(original)
    for _ in range(stop):
        next(batches)
    state = json.loads(json.dumps(original.state_dict()))
    restored = loader(2)
    restored.load_state_dict(state)
    rest = list(batches)
    assert len(rest) == len(original) - stop
    for old, new in ((rest if rest else list(original), list(restored)), (list(original), list(restored))):
        assert len(old) == len(new) > 0
        for one, other in zip(old, new, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])


def test_the_order_without_weights_is_as_before():
    np.testing.assert_array_equal(numbers(DataLoader(X, Y, rng=5)), np.random.default_rng(5).permutation(100))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(99), ShapeError, r"one number for each of the 100 samples, got \(99,\)"),
        (np.ones((100, 1)), ShapeError, r"got \(100, 1\)"),
        (1.0, ShapeError, r"got \(\)"),
        (np.zeros(100), InputError, "are all 0"),
        (np.r_[np.ones(7), -1, np.ones(92)], InputError, r"at least 0, but draw_weights\[7\] is -1"),
        (np.r_[np.ones(7), np.nan, np.ones(92)], InputError, r"draw_weights\[7\] is nan"),
        (np.r_[np.ones(99), np.inf], InputError, r"draw_weights\[99\] is inf"),
        (np.full(100, 1j), InputError, "real numbers, got complex128"),
        (["a"] * 100, InputError, "real numbers, got <U1"),
        ("balance", InputError, "must be \"balanced\" or one number for each sample, got 'balance'"),
    ],
)
def test_invalid_weights(weights, error, message):
    with pytest.raises(error, match=message):
        DataLoader(X, Y, draw_weights=weights)


def test_weights_need_a_random_order_and_balanced_needs_class_ids():
    with pytest.raises(InputError, match="leave shuffle=True"):
        DataLoader(X, Y, shuffle=False, draw_weights=np.ones(100))
    for y, got in ((Y.astype("f"), "float32"), (Y[:, None], r"\(100, 1\)"), (Y - 1, "negative ones")):
        with pytest.raises(InputError, match=f"class ids .N,. from 0, got .*{got}"):
            DataLoader(X, y, draw_weights="balanced")


def test_a_sample_that_is_drawn_again_is_transformed_differently():
    images = np.zeros((2, 1, 1, 2), np.uint8)
    images[..., 1] = 1
    loader = DataLoader(images.repeat(50, axis=0), Y, 100, rng=0, transforms=[HorizontalFlip()], draw_weights=Y == 2)
    [(x, y)] = loader
    assert (y == 2).all()  # one image only
    assert 30 < x[:, 0, 0, 0].sum() < 70
    one, again = (SampleRNG(0, 1, [4, 9], repeats=repeats).uniform(3) for repeats in (None, [0, 1]))
    np.testing.assert_array_equal(one[0], again[0])
    assert not (one[1] == again[1]).any()
    rng = SampleRNG(0, 1, [4, 9], repeats=[0, 1])
    np.testing.assert_array_equal(eval(repr(rng)).uniform(), rng.uniform())
    with pytest.raises(ShapeError, match="one number for each of 2 samples"):
        SampleRNG(0, 1, [4, 9], repeats=[1])


def test_numbers_of_repeated_samples_are_independent():
    rng = SampleRNG(0, 1, np.zeros(20_000, int), repeats=np.arange(20_000))
    u = rng.uniform(2)
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(u[1:, 0], u[:-1, 0])[0, 1]) < 0.03
    assert len(np.unique(u)) == u.size


def test_repeats_are_counted_in_the_order_of_the_epoch():
    order = np.random.default_rng(0).integers(0, 9, 200)
    seen = [0] * 9
    for sample, repeats in zip(order.tolist(), count_repeats(order).tolist(), strict=True):
        assert repeats == seen[sample]
        seen[sample] += 1


def test_a_state_with_other_settings_is_rejected():
    loader = DataLoader(X, Y, 7, rng=0)
    images = np.zeros((100, 1, 2, 2))
    for other, message in (
        (DataLoader(X, Y, 7, drop_last=True), "drop_last=True, but here it is False"),
        (DataLoader(X, Y, 7, draw_weights="balanced"), "other draw_weights"),
        (DataLoader(images, Y, 7, targets="unmoved"), "targets=unmoved, but here it is None"),
    ):
        with pytest.raises(InputError, match=message):
            loader.load_state_dict(other.state_dict())
    weighted = DataLoader(X, Y, 7, draw_weights=np.arange(100))
    with pytest.raises(InputError, match="other draw_weights"):
        weighted.load_state_dict(DataLoader(X, Y, 7, draw_weights="balanced").state_dict())
    old = {k: v for k, v in loader.state_dict().items() if k not in ("drop_last", "draw_weights", "targets")}
    loader.load_state_dict(old)  # of a version without these settings
    with pytest.raises(InputError, match="other draw_weights"):
        weighted.load_state_dict(old)
