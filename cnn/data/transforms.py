"""Random changes of images that keep their class: crops, flips and erased boxes (rotations are in rotation.py).

A transform is a callable ``transform(x, y, draws) -> (x, y)`` on a batch: images x (N, C, H, W) of uint8 or of
floating numbers, labels y, and the random numbers of these samples, `Draws`. It changes neither x nor y, but may hand
them on. All here keep the dtype: as uint8 an image is a quarter of the memory, so let `Normalize` come last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cnn.core.checks import check_images, integer
from cnn.core.parameter import Array
from cnn.data.draws import Draws
from cnn.errors import InputError, ShapeError

LARGEST_ASPECT = 1 / 0.3  # of erased boxes, as in the paper


@dataclass
class RandomCrop:
    """Shift each image by up to ``padding`` pixels: add a border and cut the old size out of it at a random place.

    Parameters
    ----------
    padding : int
        Width of the border in pixels, at least 0. 2 suits 28 x 28, 4 suits 32 x 32.
    edge : {"zero", "reflect"}
        What is in the border: zeros, which are black before `Normalize` and the mean after it; or the image in a
        mirror, which suits photographs.

    Source
    ------
    Krizhevsky 2012, ImageNet classification with deep convolutional neural networks, section 4.1; with a border:
    He et al. 2016, Deep residual learning for image recognition, arXiv 1512.03385, section 4.2.

    Examples
    --------
    >>> x = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3)
    >>> RandomCrop(padding=1)(x, np.array([0]), Draws(seed=0, epoch=2, samples=[0]))[0][0, 0]
    array([[5, 6, 0],
           [8, 9, 0],
           [0, 0, 0]], dtype=uint8)
    """

    padding: int
    edge: str = "zero"

    def __post_init__(self) -> None:
        self.padding = integer(self.padding, "padding", 0)
        if self.edge not in ("zero", "reflect"):
            raise ValueError(f'edge must be "zero" or "reflect", got {self.edge!r}')

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        p = self.padding
        if p == 0:
            return x, y
        places = (draws.uniform(2) * (2 * p + 1)).astype(np.intp)
        padded = with_border(x, p, p)
        if self.edge == "reflect":
            reflect(padded, p)
        windows = sliding_window_view(padded, x.shape[2:], axis=(2, 3))
        return windows[np.arange(len(x)), :, places[:, 0], places[:, 1]], y


@dataclass
class HorizontalFlip:
    """Swap left and right in a random part of the images.

    Parameters
    ----------
    p : float
        Probability that an image is flipped, 0 to 1.

    Source
    ------
    Krizhevsky 2012, ImageNet classification with deep convolutional neural networks, section 4.1.

    Examples
    --------
    >>> x = np.array([[[[1, 2, 3]]]], dtype=np.uint8)
    >>> HorizontalFlip(p=1)(x, np.array([0]), Draws(seed=0, epoch=1, samples=[0]))[0]
    array([[[[3, 2, 1]]]], dtype=uint8)
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        self.p = number(self.p, "p", 0, 1)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        return flip(x, draws.uniform() < self.p), y


@dataclass
class AlternatingFlip:
    """Swap left and right in every other epoch, so that two epochs in a row show both sides of every image.

    Chance decides once for each image whether it is flipped in the odd epochs or in the even ones. Random flips show
    the same side again in half of the cases, which is a little less to learn from.

    Source
    ------
    Jordan 2024, 94% on CIFAR-10 in 3.29 seconds on a single GPU, arXiv 2404.00498, section 3.6.

    Examples
    --------
    >>> x = np.array([[[[1, 2, 3]]]], dtype=np.uint8)
    >>> for epoch in (1, 2, 3):
    ...     print(AlternatingFlip()(x, np.array([0]), Draws(seed=0, epoch=epoch, samples=[0]))[0])
    [[[[3 2 1]]]]
    [[[[1 2 3]]]]
    [[[[3 2 1]]]]
    """

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        parity = Draws(draws.seed, 0, draws.samples).integers(0, 2)  # epoch 0: the same in all epochs
        return flip(x, parity == draws.epoch % 2), y


@dataclass
class RandomErasing:
    """Set a random box to 0 in a random part of the images, so that no one detail may decide.

    Parameters
    ----------
    p : float
        Probability that an image loses a box, 0 to 1.
    area : pair of float
        Smallest and largest share of the image that goes, above 0 and below 1.

    Notes
    -----
    The paper draws boxes until one fits into the image, and fills them with noise. Here the ratio of the sides, up to
    1 / 0.3 times that of the image, or its inverse, is drawn evenly in its logarithm from those that fit; and the box
    is 0, black before `Normalize` and the mean after it: noise would take more time than all else here.

    Source
    ------
    Zhong, Zheng, Kang, Li and Yang 2017, Random erasing data augmentation, arXiv 1708.04896, algorithm 1.

    Examples
    --------
    >>> x = np.full((1, 1, 4, 4), 9, dtype=np.uint8)
    >>> RandomErasing(p=1, area=(0.2, 0.3))(x, np.array([0]), Draws(seed=0, epoch=1, samples=[0]))[0][0, 0]
    array([[9, 9, 9, 9],
           [9, 9, 0, 9],
           [9, 9, 0, 9],
           [9, 9, 0, 9]], dtype=uint8)
    """

    p: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)

    def __post_init__(self) -> None:
        self.p = number(self.p, "p", 0, 1)
        if not (isinstance(self.area, (tuple, list)) and len(self.area) == 2):
            raise ValueError(f"area must be a pair (smallest, largest) share of the image, got {self.area!r}")
        low, high = (number(a, f"area[{i}]", 0, 1) for i, a in enumerate(self.area))
        if not 0 < low <= high < 1:
            raise ValueError(f"area must be shares 0 < smallest <= largest < 1 of the image, got {self.area!r}")
        self.area = (low, high)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        low, high = self.area
        size = np.array(x.shape[2:])
        u = draws.uniform(5)
        area = low + (high - low) * u[:, 1]
        aspect = np.minimum(LARGEST_ASPECT, 1 / area) ** (2 * u[:, 2] - 1)  # at most 1 / area: the box fits
        sides = np.sqrt(np.stack([area * aspect, area / aspect], axis=1))
        sides = np.clip(np.rint(sides * size), 1, size)
        start = np.floor(u[:, 3:] * (size - sides + 1))
        out = x.copy()
        np.copyto(out, 0, where=boxes(start, start + sides * (u[:, :1] < self.p), size))
        return out, y


def flipped_mean(predict: Callable[[Array], Any], x: Array) -> Array:
    """Predict images and their mirror images, and return the mean, which is often a little better than either.

    Parameters
    ----------
    predict : callable
        Gives probabilities, or other numbers of which a mean makes sense, for (N, C, H, W); ``model.predict_proba``.
    x : ndarray, (N, C, H, W)
        The images, as ``predict`` takes them.

    Returns
    -------
    ndarray
        As ``predict`` returns it.

    Raises
    ------
    ValueError
        If x is no batch of images, or ``predict`` gives integers: a mean of class ids means nothing.

    Source
    ------
    Krizhevsky 2012, ImageNet classification with deep convolutional neural networks, section 4.1.

    Examples
    --------
    >>> flipped_mean(lambda x: x[:, 0, 0], np.array([[[[0.0, 0.5, 1.0]]]]))
    array([[0.5, 0.5, 0.5]])
    """
    check_images(x)
    seen, mirrored = (np.asarray(predict(one)) for one in (x, np.ascontiguousarray(x[..., ::-1])))
    if seen.dtype.kind != "f":
        raise InputError(
            f"predict must return floating numbers such as probabilities, got {seen.dtype}: pass model.predict_proba"
        )
    return (seen + mirrored) / 2


def check_batch(x: Any, draws: Draws) -> None:
    """Raise an error that names the fix unless x is (N, C, H, W), uint8 or floating, with draws for N samples."""
    if not isinstance(x, np.ndarray):
        raise InputError(f"expected a NumPy array of images, (N, C, H, W), got {type(x).__name__}: pass np.asarray(x)")
    check_images(x)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise InputError(f'expected images of uint8 or floating numbers, got {x.dtype}: pass x.astype("uint8")')
    if len(x) != len(draws.samples):
        raise ShapeError(
            f"{len(x)} images need draws for {len(x)} samples, got draws for {len(draws.samples)}: give Draws the "
            f"positions of these images in the data set"
        )


def number(value: Any, name: str, low: float, high: float) -> float:
    """Return ``value`` as a float from low to high, or raise an error that names the argument."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and low <= value <= high):
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def with_border(x: Array, rows: int, columns: int) -> Array:
    """Put zeros around the images: (N, C, H, W) -> (N, C, H + 2 rows, W + 2 columns)"""
    n, c, h, w = x.shape
    padded = np.zeros((n, c, h + 2 * rows, w + 2 * columns), x.dtype)
    padded[:, :, rows : rows + h, columns : columns + w] = x
    return padded


def reflect(padded: Array, p: int) -> None:
    """Fill a border of p pixels with what lies on the other side of the image's outermost pixels."""
    if min(padded.shape[2:]) < 3 * p + 1:
        h, w = (size - 2 * p for size in padded.shape[2:])
        raise ShapeError(f"padding={p} is too much to reflect in images of {h} x {w}: at most {max(min(h, w) - 1, 0)}")
    padded[:, :, :p] = padded[:, :, 2 * p : p : -1]
    padded[:, :, -p:] = padded[:, :, -p - 2 : -2 * p - 2 : -1]
    padded[..., :p] = padded[..., 2 * p : p : -1]
    padded[..., -p:] = padded[..., -p - 2 : -2 * p - 2 : -1]


def flip(x: Array, which: Array) -> Array:
    """Swap left and right in the images where ``which``, (N,) of bool, is True."""
    out = x.copy()
    out[which] = x[which, :, :, ::-1]
    return out


def boxes(start: Array, end: Array, size: Array) -> Array:
    """Return masks that are True in one box an image, end excluded: (N, 2), (N, 2), (H, W) -> (N, 1, H, W)"""
    rows, columns = (
        (np.arange(n) >= start[:, axis, None]) & (np.arange(n) < end[:, axis, None]) for axis, n in enumerate(size)
    )
    return rows[:, None, :, None] & columns[:, None, None, :]
