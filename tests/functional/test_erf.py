import math

import numpy as np
import pytest

from cnn.functional.erf import END, STEPS, erf

exact = np.vectorize(math.erf, otypes=[np.float64])


@pytest.mark.parametrize("limit", [7, 1, 1e-3, 1e-300])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2.3e-16), (np.float32, 1.2e-7)])
def test_agrees_with_the_scalar_function(limit, dtype, tolerance):
    """To one unit in the last place of 1, and to a few in the last place of erf(x), because erf(x) is about x near 0."""
    x = np.random.default_rng(0).uniform(-limit, limit, 100_000).astype(dtype)
    error = np.abs(erf(x) - exact(x))
    assert error.max() <= tolerance
    assert (error <= 4 * np.spacing(np.abs(exact(x)).astype(dtype))).all()
    assert erf(x).dtype == dtype


def test_agrees_at_the_table_points_and_half_way_between():
    x = np.arange(-2 * END * STEPS, 2 * END * STEPS + 1) / (2 * STEPS)
    assert np.abs(erf(x) - exact(x)).max() <= 2.3e-16


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits(dtype):
    x = np.array([-np.inf, np.finfo(dtype).min, -6, -0.0, 0.0, 6, np.finfo(dtype).max, np.inf], dtype)
    y = erf(x)
    np.testing.assert_array_equal(y, [-1, -1, -1, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    assert np.isnan(erf(np.array([np.nan, 1], dtype))).tolist() == [True, False]
