"""What the losses of the trials of `cnn train --augment auto` say: which random changes help, and which do no harm."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from cnn.module import Array

TEMPERATURES = np.geomspace(0.25, 8, 61)
MARGIN = 1.0  # standard errors
CLASS_MARGIN = 4.0  # of one class, which is the worst of several
FEW = 100  # images: with fewer, nothing is flipped
NOISE = 0.1  # of the loss: about as much as the losses of two trainings with other seeds differ


def decide(run: Callable[[str], Array], y: Array, groups: Sequence[str], balance: bool = False) -> str:
    """Return the best changes: first the best strength without flips, then with flips, if these do no harm.

    ``run`` returns a trial's loss of each image; ``y`` are their classes.

    Examples
    --------
    >>> losses = {"none": [0.5, 0.6], "light": [0.4, 0.5], "strong": [0.7, 0.7], "light+flip": [0.9, 0.9]}
    >>> decide(lambda name: np.array(losses[name]), np.array([0, 1]), ["a", "b"])
    'light'
    """
    losses = {name: run(name) for name in ("none", "light", "strong")}
    by_name = {name: by_group(each, groups) for name, each in losses.items()}
    chosen = "light"
    for name in ("none", "strong"):
        if is_better(by_name[name], by_name[chosen]):
            chosen = name
    flipped = "flip" if chosen == "none" else f"{chosen}+flip"
    with_flips = run(flipped)
    harmless = is_harmless(with_flips, losses[chosen], y, groups, guessing_loss(y, balance))
    return flipped if harmless else chosen


def calibrated_losses(probabilities: Array, y: Array, weights: Array | None = None) -> Array:
    """Return the loss of each sample, with all logits divided by the number that makes their mean smallest.

    ``weights`` (N,) say how much each sample counts; its loss is multiplied by it.

    Otherwise a net that is too sure of itself would look worse than one that makes more mistakes, and without random
    changes nets are too sure.

    Source
    ------
    Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks, arXiv 1706.04599, section 4.2.

    Examples
    --------
    >>> too_sure, y = np.array([[0.999, 0.001], [0.999, 0.001]]), np.array([0, 1])  # a mean loss of 3.5
    >>> print(calibrated_losses(too_sure, y).mean().round(2))
    0.78
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    weights = np.ones(len(y)) if weights is None else weights
    candidates = []
    for temperature in TEMPERATURES:
        scaled = logits / temperature
        log_sum = np.log(np.exp(scaled).sum(axis=1))
        candidates.append(weights * (log_sum - scaled[np.arange(len(y)), y]))
    return min(candidates, key=np.mean)


def by_group(losses: Array, groups: Sequence[str]) -> Array:
    """Return a loss for each group: its sum, scaled so that the mean over the groups is that over the images.

    Images of a group are not independent: a hundred frames of one video tell as much as a few images.

    Examples
    --------
    >>> by_group(np.array([0.1, 0.3, 0.8]), ["a", "a", "b"])
    array([0.26666667, 0.53333333])
    """
    names, numbers = np.unique(groups, return_inverse=True)
    return np.bincount(numbers, losses) * (len(names) / len(losses))


def guessing_loss(y: Array, balance: bool = False) -> float:
    """Return the loss of always answering with the shares of the classes, which count the same with ``balance``.

    Examples
    --------
    >>> print(round(guessing_loss(np.array([0, 1, 1, 1])), 4))
    0.5623
    """
    counts = np.unique(y, return_counts=True)[1]
    shares = np.full(len(counts), 1 / len(counts)) if balance else counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def is_better(a: Array, b: Array) -> bool:
    """Return whether the losses a are smaller than b by more than the choice of the images and the seed explain."""
    mean, error = mean_and_error(b - a)
    return bool(mean > max(MARGIN * error, NOISE * b.mean()))


def is_harmless(changed: Array, before: Array, y: Array, groups: Sequence[str], guessing: float) -> bool:
    """Return whether changes, as far as the images can tell, harm no class by more than another seed would.

    Few images cannot tell, and neither can a trial whose loss is not better than ``guessing``.

    Parameters
    ----------
    changed, before : ndarray of float, (N,)
        The loss of each image with the changes and without.
    y : ndarray of int, (N,)
        The class of each image: two classes may be mirror images of each other, among many that are not.
    groups : sequence of str
        N names.
    guessing : float
        As `guessing_loss` returns it.
    """
    whole, allowed = by_group(changed, groups), NOISE * before.mean()
    if len(y) < FEW or not is_better(whole, np.full_like(whole, guessing)):
        return False
    mean, error = mean_and_error(by_group(changed - before, groups))
    if mean + MARGIN * error > allowed:
        return False
    for k in np.unique(y):
        of_class = [group for group, label in zip(groups, y, strict=True) if label == k]
        mean, error = mean_and_error(by_group((changed - before)[y == k], of_class))
        if mean > max(CLASS_MARGIN * error, allowed):
            return False
    return True


def mean_and_error(differences: Array) -> tuple[float, float]:
    """Return the mean of differences and its standard error, which is infinite for one."""
    n = len(differences)
    error = differences.std(ddof=1) / math.sqrt(n) if n > 1 else math.inf
    return float(differences.mean()), float(error)
