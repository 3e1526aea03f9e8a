"""The order in which a DataLoader draws its samples."""

import hashlib
from typing import Any

import numpy as np

from cnn.core.parameter import Array, plain_array
from cnn.data.reading import take
from cnn.errors import InputError, ShapeError


def epoch_order(rng: np.random.Generator, samples: int, shuffle: bool, probabilities: Array | None) -> Array:
    """Return the indices of the samples of an epoch: (N,)"""
    if probabilities is not None:
        return rng.choice(samples, samples, p=probabilities)
    return rng.permutation(samples) if shuffle else np.arange(samples)


def draw_probabilities(draw_weights: Any, y: Any, shuffle: bool) -> Array | None:
    """Return the probability of each sample, (N,) of float64, or None if all samples are used once in an epoch.

    Examples
    --------
    >>> draw_probabilities([3, 1], y=np.array([0, 1]), shuffle=True)
    array([0.75, 0.25])
    >>> draw_probabilities("balanced", y=np.array([0, 0, 1]), shuffle=True)
    array([0.25, 0.25, 0.5 ])
    """
    if draw_weights is None:
        return None
    if not shuffle:
        raise InputError("draw_weights draws samples at random: leave shuffle=True, or leave draw_weights out")
    if isinstance(draw_weights, str):
        if draw_weights != "balanced":
            raise InputError(f'draw_weights must be "balanced" or one number for each sample, got {draw_weights!r}')
        draw_weights = _balanced(y)
    weights = plain_array(draw_weights)
    if weights.shape != (len(y),):
        raise ShapeError(f"draw_weights needs one number for each of the {len(y):,} samples, got {weights.shape}")
    if weights.dtype.kind not in "iufb":
        raise InputError(f"draw_weights must be real numbers, got {weights.dtype}")
    weights = weights.astype(np.float64)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(f"draw_weights must be finite and at least 0, but draw_weights[{first}] is {weights[first]}")
    if not weights.any():
        raise InputError("draw_weights are all 0, so no sample can be drawn: at least one must be above 0")
    weights /= weights.max()  # the sum cannot overflow
    return weights / weights.sum()


def _balanced(y: Any) -> Array:
    """Return weights with which each class is drawn equally often."""
    labels = take(y, np.arange(len(y)), "y")
    if labels.ndim != 1 or labels.dtype.kind not in "iub" or labels.min() < 0:
        what = "negative ones" if labels.ndim == 1 and labels.dtype.kind == "i" else f"{labels.dtype} {labels.shape}"
        raise InputError(
            f'draw_weights="balanced" needs class ids (N,) from 0, got {what}: pass one weight for each sample'
        )
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / counts[class_of]


def weights_digest(probabilities: Array | None) -> str | None:
    """Return a digest by which a state recognizes the same weights."""
    if probabilities is None:
        return None
    return hashlib.blake2b(probabilities.astype("<f8").tobytes(), digest_size=16).hexdigest()


def count_repeats(order: Array) -> Array:
    """Return for each position of an epoch how often its sample was drawn before in the same epoch: (N,)

    Examples
    --------
    >>> count_repeats(np.array([7, 2, 7, 7, 2]))
    array([0, 0, 1, 2, 1])
    """
    by_sample = np.argsort(order, kind="stable")
    ordered = order[by_sample]
    repeats = np.empty(len(order), np.int64)
    repeats[by_sample] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return repeats
