import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.sample_rng import SampleRNG, mix
from cnn.errors import InputError, ShapeError

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def scalar_reference(seed, epoch, index, transform, count):
    """The formula in Python's integers, for one sample."""

    def finalise(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    start = finalise((finalise((finalise(seed) + epoch) % 2**64) + transform) % 2**64)
    key = finalise((start + index * STEP) % 2**64)
    return [(finalise((key + k * STEP) % 2**64) >> 11) / 2**53 for k in range(1, count + 1)]


def test_mix_gives_the_published_numbers_of_splitmix64():
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # with the seed 0
    assert [mix(k * STEP & MASK) for k in (1, 2, 3)] == expected
    assert mix(np.array([1, 2, 3], np.uint64) * STEP).tolist() == expected


@given(
    st.integers(0, MASK),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4),
    st.integers(0, 50),
)
def test_the_numbers_follow_the_formula(seed, epoch, indices, transform):
    u = SampleRNG(seed, epoch, indices, transform).uniform(3)
    assert u.tolist() == [scalar_reference(seed, epoch, index, transform, 3) for index in indices]


@given(st.permutations(range(12)), st.integers(0, 12))
def test_a_sample_gets_the_same_numbers_in_every_batch(order, size):
    whole = SampleRNG(3, 2, np.arange(12), 1)
    part = SampleRNG(3, 2, order[:size], 1)
    np.testing.assert_array_equal(part.uniform(), whole.uniform()[order[:size]])
    np.testing.assert_array_equal(part.integers(-5, 100), whole.integers(-5, 100)[order[:size]])


def test_each_call_continues_where_the_last_one_ended():
    indices = [8, 3, 5]
    all_at_once = SampleRNG(0, 1, indices).uniform(4)
    rng = SampleRNG(0, 1, indices)
    parts = [rng.uniform()[:, None], rng.uniform(2), rng.uniform(0), rng.uniform(1)]
    np.testing.assert_array_equal(np.hstack(parts), all_at_once)
    assert len(np.unique(all_at_once)) == 12
    rng = SampleRNG(0, 1, indices)
    np.testing.assert_array_equal(rng.integers(0, 7), np.floor(all_at_once[:, 0] * 7))


def test_shapes_and_dtypes():
    rng = SampleRNG(0, 1, np.array([4, 5], np.uint8))
    assert rng.indices.dtype == np.int64
    assert (rng.uniform().shape, rng.uniform(3).shape, rng.uniform(0).shape) == ((2,), (2, 3), (2, 0))
    assert (rng.uniform().dtype, rng.integers(0, 2).dtype) == (np.float64, np.int64)
    empty = SampleRNG(0, 1, [])
    assert (empty.uniform().shape, empty.uniform(3).shape, empty.integers(0, 9).shape) == ((0,), (0, 3), (0,))
    assert repr(SampleRNG(1, 2, [3], 4)) == "SampleRNG(seed=1, epoch=2, indices=[3], transform=4)"


def test_the_indices_are_a_copy():
    indices = np.arange(4)
    rng = SampleRNG(0, 1, indices)
    indices[:] = 0
    assert rng.indices.tolist() == [0, 1, 2, 3]


N = 8192
SEQUENCES = {
    "samples": lambda: SampleRNG(1, 1, np.arange(N)).uniform(),
    "distant samples": lambda: SampleRNG(1, 1, np.arange(N) * 2**40).uniform(),
    "numbers": lambda: SampleRNG(1, 1, [0]).uniform(N)[0],
    "seeds": lambda: np.array([SampleRNG(seed, 1, [0]).uniform()[0] for seed in range(N)]),
    "epochs": lambda: np.array([SampleRNG(1, epoch, [0]).uniform()[0] for epoch in range(N)]),
    "transforms": lambda: np.array([SampleRNG(1, 1, [0], transform).uniform()[0] for transform in range(N)]),
}


@pytest.mark.parametrize("along", SEQUENCES)
def test_numbers_are_uniform_and_neighbours_are_independent(along):
    u = SEQUENCES[along]()
    assert u.min() >= 0
    assert u.max() < 1
    assert len(np.unique(u)) == N
    counts = np.bincount((u * 64).astype(int), minlength=64)
    assert chi_square(counts, 63) < 4
    pairs = np.bincount((u[:-1] * 8).astype(int) * 8 + (u[1:] * 8).astype(int), minlength=64)
    assert chi_square(pairs, 63) < 4
    for lag in (1, 2, 3, 64):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4 / np.sqrt(N)
    bits = (u * 2**53).astype(np.int64)[:, None] >> np.arange(53) & 1
    assert abs(bits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(N)
    flips = (bits[1:] ^ bits[:-1]).mean(axis=0)
    assert abs(flips - 0.5).max() < 4.5 * 0.5 / np.sqrt(N)


def test_batches_of_neighbouring_settings_are_independent():
    indices = np.arange(N)
    u = [
        SampleRNG(seed, epoch, indices, transform).uniform(2)[:, k]
        for seed in (0, 1)
        for epoch in (1, 2)
        for transform in (0, 1)
        for k in (0, 1)
    ]
    correlations = np.corrcoef(u) - np.eye(16)
    assert abs(correlations).max() < 4.5 / np.sqrt(N)
    shifted = np.corrcoef(u[0][1:], u[-1][:-1])[0, 1]  # sample n + 1 of the first and n of the last
    assert abs(shifted) < 4.5 / np.sqrt(N)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 4), (10, 15), (0, 1)])
def test_integers_are_uniform(low, high):
    n = SampleRNG(5, 1, np.arange(N)).integers(low, high)
    counts = np.bincount(n - low)
    assert len(counts) == high - low
    if high - low > 1:
        assert chi_square(counts, high - low - 1) < 4


def test_integers_stay_below_high_for_the_largest_number():
    class Largest(SampleRNG):
        def uniform(self, count=None):
            return np.array([1 - 2.0**-53])

    for span in (1, 3, 2**31, 2**52 + 1, 2**53 - 1, 2**53):
        assert Largest(0, 1, [0]).integers(0, span).item() == span - 1


def test_errors_name_the_argument():
    for arguments, word in [
        ((-1, 1, [0]), "seed"),
        ((2**64, 1, [0]), "seed must be below"),
        ((True, 1, [0]), "seed"),
        ((0, -1, [0]), "epoch"),
        ((0, 1.5, [0]), "epoch"),
        ((0, 1, [0], -1), "transform"),
    ]:
        with pytest.raises(ValueError, match=word):
            SampleRNG(*arguments)
    with pytest.raises(ShapeError, match=r"indices must have the shape \(N,\), .* got \(1, 2\)"):
        SampleRNG(0, 1, [[0, 1]])
    with pytest.raises(InputError, match=r"indices must be integers, .* got float64"):
        SampleRNG(0, 1, [0.5])
    with pytest.raises(ValueError, match="count"):
        SampleRNG(0, 1, [0]).uniform(-1)
    for low, high in [(3, 3), (4, 3), (0, 2**53 + 1)]:
        with pytest.raises(ValueError, match=f"low={low} and high={high}"):
            SampleRNG(0, 1, [0]).integers(low, high)


def chi_square(counts, degrees_of_freedom):
    """How many standard deviations the chi-square statistic is above its mean."""
    expected = counts.sum() / len(counts)
    return (((counts - expected) ** 2).sum() / expected - degrees_of_freedom) / np.sqrt(2 * degrees_of_freedom)
