import numpy as np
import pytest

import cnn.core.rng
from cnn.data import spiral


def test_shapes_dtypes_and_labels():
    X, y = spiral(points_per_class=50, classes=4, rng=0)
    assert X.shape == (200, 2)
    assert X.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(y), [50, 50, 50, 50])
    assert np.linalg.norm(X, axis=1).max() <= 1 + 1e-6  # noise changes the angle of a point, never its radius


def test_defaults():
    X, y = spiral()
    assert X.shape == (900, 2)
    assert y.max() == 2


def test_without_noise_the_points_follow_the_formula():
    X, y = spiral(points_per_class=7, classes=3, noise=0)
    for k in range(3):
        for i in range(7):
            radius, angle = i / 6, 4 * k + 4 * i / 6
            np.testing.assert_allclose(
                X[y == k][i], [radius * np.sin(angle), radius * np.cos(angle)], rtol=1e-6, atol=1e-7
            )


def test_noise_is_normal_with_the_given_standard_deviation():
    X, _ = spiral(points_per_class=20_000, classes=1, noise=0.1, rng=3)
    radius = np.linspace(0, 1, 20_000)[1:]
    angle = np.unwrap(np.arctan2(X[1:, 0] / radius, X[1:, 1] / radius))
    error = (angle - np.linspace(0, 4, 20_000)[1:] + np.pi) % (2 * np.pi) - np.pi
    assert abs(error.mean()) < 0.005
    assert error.std() == pytest.approx(0.1, rel=0.03)


def test_the_same_seed_gives_the_same_points():
    first, again, other = (spiral(rng=seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(first, spiral(rng=np.random.default_rng(5))[0])


def test_manual_seed_sets_the_default(monkeypatch):
    monkeypatch.setattr(cnn.core.rng, "_default", cnn.core.rng._default)  # restored afterwards
    cnn.core.rng.manual_seed(1)
    first = spiral()[0]
    assert (spiral()[0] != first).any()
    cnn.core.rng.manual_seed(1)
    np.testing.assert_array_equal(spiral()[0], first)


def test_a_single_point():
    X, y = spiral(points_per_class=1, classes=1, rng=0)
    np.testing.assert_array_equal(X, [[0, 0]])
    np.testing.assert_array_equal(y, [0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"points_per_class": 0}, ValueError, "points_per_class must be at least 1, got 0"),
        ({"points_per_class": 2.5}, TypeError, r"points_per_class must be an integer, got 2\.5"),
        ({"classes": -1}, ValueError, "classes must be at least 1, got -1"),
        ({"classes": "3"}, TypeError, "classes must be an integer, got '3'"),
        ({"noise": -0.1}, ValueError, r"noise must be a finite number of at least 0, got -0\.1"),
        ({"noise": float("nan")}, ValueError, "noise must be a finite number of at least 0, got nan"),
        ({"noise": float("inf")}, ValueError, "noise must be a finite number of at least 0, got inf"),
    ],
)
def test_invalid_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        spiral(**arguments)
