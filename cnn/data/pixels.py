"""Checks, and plain functions that move pixels and points, for transforms. transforms.py says what a transform is."""

from typing import Any

import numpy as np

from cnn.core.checks import check_images
from cnn.core.parameter import Array
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError


def check_batch(x: Any, rng: SampleRNG) -> None:
    """Raise an error that names the fix unless x is (N, C, H, W), uint8 or floating-point, with an rng for N."""
    if not isinstance(x, np.ndarray):
        raise InputError(f"expected a NumPy array of images, (N, C, H, W), got {type(x).__name__}: pass np.asarray(x)")
    check_images(x)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise InputError(f'expected images of uint8 or a floating-point dtype, got {x.dtype}: pass x.astype("uint8")')
    if len(x) != len(rng.indices):
        raise ShapeError(
            f"{len(x)} images need an rng for {len(x)} samples, got one for {len(rng.indices)}: create SampleRNG with "
            f"the indices of these images in the data set"
        )


def number_in_range(value: Any, name: str, low: float, high: float) -> float:
    """Return ``value`` as a float from low to high, or raise an error that names the argument."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and low <= value <= high):
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def pad(x: Array, rows: int, columns: int, fill: float = 0) -> Array:
    """Pad images with a constant: (N, C, H, W) -> (N, C, H + 2 rows, W + 2 columns)"""
    n, c, h, w = x.shape
    padded = np.zeros((n, c, h + 2 * rows, w + 2 * columns), x.dtype)
    if fill != 0:
        padded[...] = fill
    padded[:, :, rows : rows + h, columns : columns + w] = x
    return padded


def fill_with_reflection(padded: Array, p: int) -> None:
    """Fill a padding of p pixels with the image mirrored at its outermost pixels, in place, as np.pad's "reflect"."""
    if min(padded.shape[2:]) < 3 * p + 1:
        h, w = (size - 2 * p for size in padded.shape[2:])
        raise ShapeError(f"padding={p} is too large to reflect images of {h} x {w}: at most {max(min(h, w) - 1, 0)}")
    padded[:, :, :p] = padded[:, :, 2 * p : p : -1]
    padded[:, :, -p:] = padded[:, :, -p - 2 : -2 * p - 2 : -1]
    padded[..., :p] = padded[..., 2 * p : p : -1]
    padded[..., -p:] = padded[..., -p - 2 : -2 * p - 2 : -1]


def fill_with_nearest(padded: Array, rows: int, columns: int) -> None:
    """Fill a padding of this many rows and columns with the outermost pixels of the image, in place."""
    padded[:, :, :rows] = padded[:, :, rows : rows + 1]
    padded[:, :, -rows:] = padded[:, :, -rows - 1 : -rows]
    padded[..., :columns] = padded[..., columns : columns + 1]
    padded[..., -columns:] = padded[..., -columns - 1 : -columns]


def flip(x: Array, mask: Array) -> Array:
    """Flip the images horizontally where ``mask``, (N,) of bool, is True."""
    out = x.copy()
    out[mask] = x[mask, :, :, ::-1]
    return out


def flip_points(points: Array, width: int, mask: Array) -> Array:
    """Flip the points (N, P, 2) of images of this width where ``mask``, (N,) of bool, is True."""
    out = points.copy()
    out[mask, :, 0] = width - 1 - out[mask, :, 0]
    return out


def box_masks(start: Array, end: Array, size: Array) -> Array:
    """Return masks that are True in one box per image, end excluded: (N, 2), (N, 2), (H, W) -> (N, 1, H, W)"""
    rows, columns = (
        (np.arange(n) >= start[:, axis, None]) & (np.arange(n) < end[:, axis, None]) for axis, n in enumerate(size)
    )
    return rows[:, None, :, None] & columns[:, None, None, :]
