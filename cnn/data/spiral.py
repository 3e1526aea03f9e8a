"""The spiral: a small data set that is not linearly separable."""

import math
import operator

import numpy as np
from numpy.typing import NDArray

from cnn.core.rng import generator


def spiral(
    points_per_class: int = 300,
    classes: int = 3,
    noise: float = 0.2,
    rng: np.random.Generator | int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Generate points in the plane on the arms of a spiral, one arm per class.

    Class k has the points (r sin t, r cos t) with r from 0 to 1 and t from 4k to 4(k + 1) radians, both evenly spaced,
    and normal noise added to t. Neighbouring arms are 1.7 radians apart with three classes, 0.57 with four to eleven;
    arm 11 coincides with arm 0.

    Parameters
    ----------
    points_per_class : int, default 300
        At least 1.
    classes : int, default 3
        At least 1.
    noise : float, default 0.2
        Standard deviation of the angle, in radians; at least 0.
    rng : numpy.random.Generator or int, optional
        Draws the noise: a generator or a seed. By default a child of the generator that `cnn.manual_seed` sets.

    Returns
    -------
    X : ndarray of float32, shape (points_per_class * classes, 2)
    y : ndarray of int64, shape (points_per_class * classes,)
        Sorted by class: shuffle before splitting the data.

    Raises
    ------
    TypeError
        If the number of points or classes is not an integer.
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Source: Stanford CS231n, "Putting it together: Minimal Neural Network Case Study",
    https://cs231n.github.io/neural-networks-case-study/

    Examples
    --------
    >>> from cnn.data import spiral
    >>> X, y = spiral(points_per_class=100, classes=3, rng=0)
    >>> X.shape, X.dtype, y.shape
    ((300, 2), dtype('float32'), (300,))
    """
    points_per_class = _at_least_one("points_per_class", points_per_class)
    classes = _at_least_one("classes", classes)
    if not (noise >= 0 and math.isfinite(noise)):
        raise ValueError(f"noise must be a finite number of at least 0, got {noise}")
    source = generator(rng)
    radius = np.linspace(0, 1, points_per_class)
    arms = []
    for k in range(classes):
        angle = np.linspace(4 * k, 4 * (k + 1), points_per_class) + noise * source.standard_normal(points_per_class)
        arms.append(np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]))
    return np.concatenate(arms).astype(np.float32), np.repeat(np.arange(classes, dtype=np.int64), points_per_class)


def _at_least_one(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    return number
