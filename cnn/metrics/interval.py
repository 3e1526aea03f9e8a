"""A confidence interval for an accuracy."""

import math
from statistics import NormalDist

import numpy as np

from cnn.core.checks import integer
from cnn.errors import InputError


def accuracy_interval(correct: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return a confidence interval (Wilson) for the accuracy that an infinitely large test set would give.

    It contains every accuracy p that is compatible with the result: |correct / count - p| <= z sqrt(p (1 - p) / count),
    where a standard normal variable lies between -z and z with probability ``confidence``. Solved for p:

    (q + z² / 2n ± z sqrt(q (1 - q) / n + z² / 4n²)) / (1 + z² / n),  q = correct / n,  n = count

    Two models whose intervals overlap widely may be equally good. The samples are assumed to be independent of each
    other and of the training data; the variation between random seeds is not included.

    Parameters
    ----------
    correct, count : int
        The number of correct predictions and of all predictions; 0 <= correct <= count, count at least 1.
    confidence : float
        Above 0 and below 1: the probability that such an interval contains the accuracy.

    Returns
    -------
    low, high : float
        Fractions. low is exactly 0 if no prediction is correct, high exactly 1 if all are.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source
    ------
    Wilson 1927, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22.

    Examples
    --------
    >>> low, high = accuracy_interval(9234, 10_000)
    >>> print(f"{low:.4f} to {high:.4f}")
    0.9180 to 0.9285
    """
    count = integer(count, "count", 1)
    correct = integer(correct, "correct", 0)
    if correct > count:
        raise InputError(
            f"correct must be at most count, got {correct} of {count}: pass accuracy_interval(correct, count)"
        )
    number = isinstance(confidence, (int, float, np.number)) and not isinstance(confidence, bool)
    if not (number and 0 < confidence < 1):
        raise InputError(f"confidence must be a number between 0 and 1, such as 0.95, got {confidence!r}")
    z2 = NormalDist().inv_cdf((1 - confidence) / 2) ** 2
    q = correct / count
    centre = q + z2 / (2 * count)
    half = math.sqrt(z2 * q * (1 - q) / count + z2 * z2 / (4 * count * count))
    low, high = ((centre + side * half) / (1 + z2 / count) for side in (-1, 1))
    # q lies between the two, and rounding must not change that; for q = 0 and q = 1 one end is q itself
    return (0.0 if correct == 0 else min(low, q)), (1.0 if correct == count else max(high, q))
