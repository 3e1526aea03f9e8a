"""Mixup and CutMix: transforms that mix the images of a batch, and their labels. transforms.py describes what a
transform is.
"""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from cnn.core.checks import integer
from cnn.core.explain import explain_init
from cnn.core.parameter import Array
from cnn.data.intensity import as_pixels, compute_dtype, positive_number
from cnn.data.pixels import box_masks, check_batch, number_in_range
from cnn.data.sample_rng import SampleRNG
from cnn.data.targets import has_shape_of_masks, move_targets
from cnn.errors import InputError, ShapeError


@explain_init
@dataclass
class Mixup:
    """Blend each image with another of the batch, and their labels with the same weights.

    x' = s x + (1 - s) x[partner],  y' = s y + (1 - s) y[partner],  s from Beta(alpha, alpha)

    Class ids become probabilities (N, K) of float32, which CrossEntropyLoss accepts; labels of yes and no, (N, K) of 1
    and 0, become numbers between 0 and 1, which the binary losses accept. The weight s and the sort key of `partners`
    are drawn for each sample, but the partner depends on the other samples of the batch: it is the next one in the
    order of the keys. Floating-point masks (N, H, W) or (N, C, H, W) are blended like the images. Integer masks are
    refused, because ids of classes cannot be blended.

    Parameters
    ----------
    alpha : float
        Above 0. Near 0, most images stay almost unchanged; 1 makes s uniformly distributed.
    classes : int, optional
        Number of classes K; keyword-only. Required for class ids (N,) only.
    p : float
        Probability that an image is blended at all, 0 to 1; keyword-only.

    Raises
    ------
    ValueError
        If a label is not from 0 to K - 1, or targets are neither labels nor masks.

    Source
    ------
    Zhang, Cisse, Dauphin and Lopez-Paz 2017, mixup: beyond empirical risk minimization, arXiv 1710.09412, section 2,
    where one s is used for the whole batch.

    Examples
    --------
    >>> x = np.array([0, 100], dtype=np.uint8).reshape(2, 1, 1, 1)
    >>> x, y = Mixup(alpha=1, classes=3)(x, np.array([0, 2]), SampleRNG(seed=0, epoch=1, indices=[0, 1]))
    >>> x.ravel()
    array([51, 72], dtype=uint8)
    >>> y.round(3)
    array([[0.486, 0.   , 0.514],
           [0.277, 0.   , 0.723]], dtype=float32)
    """

    moves_pixels: ClassVar[bool] = True
    mixes_samples: ClassVar[bool] = True

    alpha: float = 0.2
    _: KW_ONLY
    classes: int | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self.alpha = positive_number(self.alpha, "alpha")
        self.classes = None if self.classes is None else integer(self.classes, "classes", 2)
        self.p = number_in_range(self.p, "p", 0, 1)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W), (N,) or (N, K) -> the same, (N, K); masks -> the same"""
        check_batch(x, rng)
        masks = are_masks(y, x)
        if masks and y.dtype.kind != "f":
            raise InputError(
                f"Mixup cannot blend masks of class ids, {y.dtype} {y.shape}: use CutMix, which pastes a part of the "
                "mask with that of the image, or pass the probability of each class as float32 masks (N, K, H, W)"
            )
        targets = y if masks else as_probabilities(y, self.classes, len(x))
        weights, partner = mixing_weights(rng, self.alpha, self.p), partners(rng)
        s = weights.astype(compute_dtype(x.dtype)).reshape(-1, 1, 1, 1)
        out = x * s
        out += x[partner] * (1 - s)
        return as_pixels(out, x.dtype), blend(targets, partner, weights)


@explain_init
@dataclass
class CutMix:
    """Paste a random box of another image of the batch into each, and mix the labels in proportion to the areas.

    The box has the aspect ratio of the image, the area fraction 1 - s with s from Beta(alpha, alpha), and a uniformly
    distributed centre in the image. The part outside the image is clipped, and does not count for the labels. Class
    ids become probabilities (N, K) of float32, which CrossEntropyLoss accepts; labels of yes and no, (N, K) of 1 and 0,
    become numbers between 0 and 1, which the binary losses accept. The box and the sort key of `partners` are
    drawn for each sample, but the partner depends on the other samples of the batch: it is the next one in the order
    of the keys. In masks (N, H, W) or (N, C, H, W) the same box is pasted.

    Parameters
    ----------
    alpha : float
        Above 0. The paper uses 1, which makes s uniformly distributed.
    classes : int, optional
        Number of classes K; keyword-only. Required for class ids (N,) only.
    p : float
        Probability that an image gets a box at all, 0 to 1; keyword-only. The paper uses 0.5 for CIFAR, 1 for ImageNet.

    Raises
    ------
    ValueError
        If a label is not from 0 to K - 1, or targets are neither labels nor masks.

    Source
    ------
    Yun, Han, Oh, Chun, Choe and Yoo 2019, CutMix: regularization strategy to train strong classifiers with localizable
    features, arXiv 1905.04899, section 3.1, where one box is used for the whole batch.

    Examples
    --------
    >>> x = np.array([[1] * 9, [2] * 9], dtype=np.uint8).reshape(2, 1, 3, 3)
    >>> x, y = CutMix(classes=2)(x, np.array([0, 1]), SampleRNG(seed=0, epoch=2, indices=[0, 1]))
    >>> x[0, 0]
    array([[2, 2, 1],
           [1, 1, 1],
           [1, 1, 1]], dtype=uint8)
    >>> y[0].round(3)
    array([0.778, 0.222], dtype=float32)
    """

    moves_pixels: ClassVar[bool] = True
    mixes_samples: ClassVar[bool] = True

    alpha: float = 1.0
    _: KW_ONLY
    classes: int | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self.alpha = positive_number(self.alpha, "alpha")
        self.classes = None if self.classes is None else integer(self.classes, "classes", 2)
        self.p = number_in_range(self.p, "p", 0, 1)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W), (N,) or (N, K) -> the same, (N, K); masks -> the same"""
        check_batch(x, rng)
        masks = are_masks(y, x)
        targets = y if masks else as_probabilities(y, self.classes, len(x))
        weights, partner = mixing_weights(rng, self.alpha, self.p), partners(rng)
        size = np.array(x.shape[2:])
        sides = np.floor(np.sqrt(1 - weights)[:, None] * size)
        start = np.floor(rng.uniform(2) * size) - sides // 2
        end = np.minimum(start + sides, size)
        start = np.maximum(start, 0)
        kept_area = 1 - (end - start).prod(axis=1) / size.prod()
        box = box_masks(start, end, size)
        if masks:
            return paste(x, partner, box), move_targets(y, x, lambda labels: paste(labels, partner, box))
        return paste(x, partner, box), blend(targets, partner, kept_area)


def are_masks(y: Any, x: Array) -> bool:
    """Whether y are masks of the images x."""
    return isinstance(y, np.ndarray) and has_shape_of_masks(y, x.shape[2:]) and len(y) == len(x)


def paste(x: Array, partner: Array, box: Array) -> Array:
    """Return images with the part of the partner's where ``box``, (N, 1, H, W) of bool, is True."""
    out = x.copy()
    np.copyto(out, x[partner], where=box)
    return out


def mixing_weights(rng: SampleRNG, alpha: float, p: float) -> Array:
    """Return each sample's own weight, from Beta(alpha, alpha) with probability p and 1 otherwise: (N,)

    Notes
    -----
    With u in (0, 1] and c = cos(2 pi v), t = sqrt(u^(-1/alpha) - 1) c has Student's t-distribution with 2 alpha degrees
    of freedom, up to its scale, and 1/2 + t / (2 sqrt(1 + t^2)) is Beta(alpha, alpha). No number is rejected and drawn
    again, so each weight takes two numbers. It is computed from w = u^(1/alpha), as u^(-1/alpha) overflows for a small
    alpha.

    Source: Bailey 1994, Polar generation of random variates with the t-distribution; Devroye 1996, Random variate
    generation in one line of code, section 4.
    """
    u, v, chance = rng.uniform(3).T
    w = (1 - u) ** (1 / alpha)
    c = np.cos(2 * math.pi * v)
    weights = 0.5 + 0.5 * c * np.sqrt((1 - w) / (w + (1 - w) * c * c))
    weights = np.clip(weights, 0, 1)  # rounding can exceed the range by 1e-16, and losses reject negative probabilities
    return np.where(chance < p, weights, 1.0)


def partners(rng: SampleRNG) -> Array:
    """Return for each sample the index of another sample of the batch, the next one in a random order: (N,)"""
    order = np.argsort(rng.uniform())
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -1)
    return partner


def blend(targets: Array, partner: Array, weights: Array) -> Array:
    """Return the weighted means of probabilities (N, K), or masks, and those of the partners."""
    s = weights.astype(targets.dtype).reshape(-1, *[1] * (targets.ndim - 1))
    return s * targets + (1 - s) * targets[partner]


def as_probabilities(y: Any, classes: int | None, samples: int) -> Array:
    """Return class ids (N,), probabilities (N, K), or yes and no (N, K) as float32 that can be mixed: (N, K)

    Raises
    ------
    InputError, ShapeError
        If they are neither, or do not fit ``classes``; the message names the fix.
    """
    labels = np.asarray(y)
    if len(labels.shape) == 0 or len(labels) != samples:
        raise ShapeError(f"{samples} images need {samples} labels, got {labels.shape}")
    are_shares = labels.ndim == 2 and (labels.dtype.kind == "f" or bool(((labels == 0) | (labels == 1)).all()))
    if are_shares and classes in (None, labels.shape[1]):
        return labels.astype(np.float32, copy=False)
    if labels.ndim != 1:
        fix = f"set classes={labels.shape[1]} if that is the number of classes" if labels.ndim == 2 else ""
        if labels.size == samples:
            fix = "pass y.ravel() for class ids, or leave out classes if 1 and 0 are yes and no"
        elif classes in (None, *labels.shape[1:2]):
            fix = "several labels for each image must be 1 and 0, yes and no"
        raise ShapeError(f"expected labels (N,) or probabilities (N, {classes or 'K'}), got {labels.shape}: {fix}")
    if labels.dtype.kind not in "iub":
        limits = "" if classes is None else f" from 0 to {classes - 1}"
        raise InputError(f"labels must be integers{limits}, got {labels.dtype}: pass y.astype(np.int64)")
    if classes is None:
        raise InputError("class ids (N,) can only be mixed if the number of classes is known: set classes")
    ids = labels.astype(np.intp)
    if samples and not (ids.min() >= 0 and ids.max() < classes):
        low, high = int(labels.min()), int(labels.max())
        fix = "number the classes from 0" if low < 0 else f"set classes={high + 1}"
        raise InputError(
            f"labels must lie between 0 and {classes - 1} for classes={classes}, got {low} to {high}: {fix}"
        )
    out = np.zeros((samples, classes), np.float32)
    out[np.arange(samples), ids] = 1
    return out
