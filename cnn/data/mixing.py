"""Mixup and CutMix: images mixed with others of the batch, and their labels with them. See transforms.py for what a
transform is.
"""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import Array
from cnn.data.draws import Draws
from cnn.data.levels import above_zero, as_levels, working_dtype
from cnn.data.transforms import boxes, check_batch, number
from cnn.errors import InputError, ShapeError


@dataclass
class Mixup:
    """Blend each image with another of the batch, and their labels in the same shares.

    x' = s x + (1 - s) x[partner],  y' = s y + (1 - s) y[partner],  s from Beta(alpha, alpha)

    Labels become probabilities (N, K) of float32, which CrossEntropyLoss takes. Shares and the order of partners are
    drawn for each sample, but who the partner is depends on who is in the batch: it is the next in that order.

    Parameters
    ----------
    alpha : float
        Above 0. Near 0 most images stay nearly themselves, 1 makes all shares equally likely.
    classes : int
        Number of classes K; by name.
    p : float
        Probability that an image is blended at all, 0 to 1; by name.

    Raises
    ------
    ValueError
        If a label is not from 0 to K - 1.

    Source
    ------
    Zhang, Cisse, Dauphin and Lopez-Paz 2017, mixup: beyond empirical risk minimization, arXiv 1710.09412, section 2,
    where one s serves the whole batch.

    Examples
    --------
    >>> x = np.array([0, 100], dtype=np.uint8).reshape(2, 1, 1, 1)
    >>> x, y = Mixup(alpha=1, classes=3)(x, np.array([0, 2]), Draws(seed=0, epoch=1, samples=[0, 1]))
    >>> x.ravel()
    array([51, 72], dtype=uint8)
    >>> y.round(3)
    array([[0.486, 0.   , 0.514],
           [0.277, 0.   , 0.723]], dtype=float32)
    """

    alpha: float = 0.2
    _: KW_ONLY
    classes: int
    p: float = 1.0

    def __post_init__(self) -> None:
        self.alpha = above_zero(self.alpha, "alpha")
        self.classes = integer(self.classes, "classes", 2)
        self.p = number(self.p, "p", 0, 1)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W), (N,) or (N, K) -> the same, (N, K)"""
        check_batch(x, draws)
        targets = probabilities(y, self.classes, len(x))
        share, partner = shares(draws, self.alpha, self.p), partners(draws)
        own = share.astype(working_dtype(x.dtype)).reshape(-1, 1, 1, 1)
        out = x * own
        out += x[partner] * (1 - own)
        return as_levels(out, x.dtype), blend(targets, partner, share)


@dataclass
class CutMix:
    """Put a random box of another image of the batch into each, and mix their labels as the areas are.

    The box has the image's shape, the area 1 - s with s from Beta(alpha, alpha), and any centre in the image; what
    lies outside is cut off, and does not count in the labels. They become probabilities (N, K) of float32, which
    CrossEntropyLoss takes. Boxes and the order of partners are drawn for each sample, but who the partner is depends
    on who is in the batch: it is the next in that order.

    Parameters
    ----------
    alpha : float
        Above 0; 1, all areas equally likely, in the paper.
    classes : int
        Number of classes K; by name.
    p : float
        Probability that an image gets a box at all, 0 to 1; by name. The paper takes 0.5 for CIFAR, 1 for ImageNet.

    Raises
    ------
    ValueError
        If a label is not from 0 to K - 1.

    Source
    ------
    Yun, Han, Oh, Chun, Choe and Yoo 2019, CutMix: regularization strategy to train strong classifiers with localizable
    features, arXiv 1905.04899, section 3.1, where one box serves the whole batch.

    Examples
    --------
    >>> x = np.array([[1] * 9, [2] * 9], dtype=np.uint8).reshape(2, 1, 3, 3)
    >>> x, y = CutMix(classes=2)(x, np.array([0, 1]), Draws(seed=0, epoch=2, samples=[0, 1]))
    >>> x[0, 0]
    array([[2, 2, 1],
           [1, 1, 1],
           [1, 1, 1]], dtype=uint8)
    >>> y[0].round(3)
    array([0.778, 0.222], dtype=float32)
    """

    alpha: float = 1.0
    _: KW_ONLY
    classes: int
    p: float = 1.0

    def __post_init__(self) -> None:
        self.alpha = above_zero(self.alpha, "alpha")
        self.classes = integer(self.classes, "classes", 2)
        self.p = number(self.p, "p", 0, 1)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W), (N,) or (N, K) -> the same, (N, K)"""
        check_batch(x, draws)
        targets = probabilities(y, self.classes, len(x))
        share, partner = shares(draws, self.alpha, self.p), partners(draws)
        size = np.array(x.shape[2:])
        sides = np.floor(np.sqrt(1 - share)[:, None] * size)
        start = np.floor(draws.uniform(2) * size) - sides // 2
        end = np.minimum(start + sides, size)
        start = np.maximum(start, 0)
        kept = 1 - (end - start).prod(axis=1) / size.prod()
        out = x.copy()
        np.copyto(out, x[partner], where=boxes(start, end, size))
        return out, blend(targets, partner, kept)


def shares(draws: Draws, alpha: float, p: float) -> Array:
    """Return how much each sample keeps of itself, from Beta(alpha, alpha), but 1 with probability 1 - p: (N,)

    Notes
    -----
    With u in (0, 1] and c = cos(2 pi v), t = sqrt(u^(-1/alpha) - 1) c has Student's distribution with 2 alpha degrees
    of freedom, but for its scale, and 1/2 + t / (2 sqrt(1 + t^2)) is Beta(alpha, alpha). Nothing is drawn twice, so
    each share takes two numbers. Written with w = u^(1/alpha), as u^(-1/alpha) overflows for a small alpha.

    Source: Bailey 1994, Polar generation of random variates with the t-distribution; Devroye 1996, Random variate
    generation in one line of code, section 4.
    """
    u, v, chance = draws.uniform(3).T
    w = (1 - u) ** (1 / alpha)
    c = np.cos(2 * math.pi * v)
    share = 0.5 + 0.5 * c * np.sqrt((1 - w) / (w + (1 - w) * c * c))
    share = np.clip(share, 0, 1)  # rounding can go beyond by 1e-16, and losses refuse a negative probability
    return np.where(chance < p, share, 1.0)


def partners(draws: Draws) -> Array:
    """Return for each sample the index of another in the batch, the next in a random order: (N,)"""
    order = np.argsort(draws.uniform())
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -1)
    return partner


def blend(targets: Array, partner: Array, share: Array) -> Array:
    """Mix probabilities (N, K) with those of the partners."""
    own = share.astype(targets.dtype)[:, None]
    return own * targets + (1 - own) * targets[partner]


def probabilities(y: Any, classes: int, samples: int) -> Array:
    """Return labels (N,) or probabilities (N, K) as probabilities of float32, or raise an error that names the fix."""
    labels = np.asarray(y)
    if len(labels.shape) == 0 or len(labels) != samples:
        raise ShapeError(f"{samples} images need {samples} labels, got {labels.shape}")
    if labels.dtype.kind == "f" and labels.shape == (samples, classes):
        return labels.astype(np.float32, copy=False)
    if labels.ndim != 1:
        fix = "pass y.ravel()" if labels.size == samples else f"set classes={labels.shape[1]} if that is their number"
        raise ShapeError(f"expected labels (N,) or probabilities (N, {classes}), got {labels.shape}: {fix}")
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be integers from 0 to {classes - 1}, got {labels.dtype}: pass y.astype(np.int64)"
        )
    if samples and not (labels.min() >= 0 and labels.max() < classes):
        low, high = int(labels.min()), int(labels.max())
        fix = "number the classes from 0" if low < 0 else f"set classes={high + 1}"
        raise InputError(
            f"labels must lie between 0 and {classes - 1} for classes={classes}, got {low} to {high}: {fix}"
        )
    out = np.zeros((samples, classes), np.float32)
    out[np.arange(samples), labels] = 1
    return out
