"""The confidence interval of an accuracy, compared with numbers computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.metrics import accuracy_interval


def test_interval_computed_by_hand():
    """With z = 1, 2 of 4 gives (1/2 + 1/8 -+ sqrt(1/16 + 1/64)) / (5/4)."""
    low, high = accuracy_interval(2, 4, confidence=math.erf(1 / math.sqrt(2)))
    assert low == pytest.approx((5 / 8 - math.sqrt(5 / 64)) / 1.25)
    assert high == pytest.approx((5 / 8 + math.sqrt(5 / 64)) / 1.25)
    # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3: 81 of 263, 15 of 148
    assert accuracy_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert accuracy_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_the_limits_of_the_interval_are_exact_at_zero_and_one():
    z2 = 1.959963984540054**2
    low, high = accuracy_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(z2 / (20 + z2))  # 0.1611 in Newcombe's table
    low, high = accuracy_interval(20, 20)
    assert high == 1.0
    assert low == pytest.approx(20 / (20 + z2))


counts = st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.floats(1e-6, 1 - 1e-9))
def test_the_interval_solves_wilsons_equation(drawn, confidence):
    correct, count = drawn
    low, high = accuracy_interval(correct, count, confidence)
    assert 0 <= low <= correct / count <= high <= 1
    mirrored = accuracy_interval(count - correct, count, confidence)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-12)


@given(counts, st.integers(2, 1000))
def test_the_interval_shrinks_with_the_count_and_grows_with_confidence(drawn, times):
    correct, count = drawn
    low, high = accuracy_interval(correct, count)
    low_of_more, high_of_more = accuracy_interval(times * correct, times * count)
    assert high_of_more - low_of_more < high - low
    wider_low, wider_high = accuracy_interval(correct, count, confidence=0.99)
    assert wider_low <= low
    assert high <= wider_high
    assert wider_high - wider_low > high - low


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, 0), "count must be an integer of at least 1"),
        ((-1, 2), "correct must be an integer of at least 0"),
        ((0.5, 2), "correct must be an integer"),
        ((3, 2), "correct must be at most count, got 3 of 2"),
        ((1, 2, 95), "confidence must be a number between 0 and 1"),
        ((1, 2, 1), "confidence"),
        ((1, 2, math.nan), "confidence"),
    ],
)
def test_wrong_counts_are_reported(arguments, match):
    with pytest.raises(ValueError, match=match):
        accuracy_interval(*arguments)
