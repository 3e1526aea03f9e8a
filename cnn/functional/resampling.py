"""Which pixels of the input an output pixel of a larger or smaller image combines, along one axis: `Taps`."""

from typing import Any

import numpy as np

from cnn.core.checks import is_finite
from cnn.module import Array

Taps = tuple[Array, Array]  # (taps, outputs) each: the input pixels that an output pixel combines, and their weights


def parse_scale_factor(scale_factor: Any) -> tuple[float, float]:
    """Return the vertical and horizontal scale from one number or from two."""
    both = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    if len(both) != 2 or not all(is_finite(scale) and scale > 0 for scale in both):
        raise ValueError(f"scale_factor must be one positive number or a pair (height, width), got {scale_factor!r}")
    return float(both[0]), float(both[1])


def nearest(pixels: int, count: int, scale: float | None) -> Taps:
    """Return the input pixel that each of ``count`` output pixels along an axis copies."""
    # in float32 like PyTorch: more digits would round to other pixels in places; at 1 and 2 it ignores the given scale
    step = np.float32(1 / scale if scale and count not in (pixels, 2 * pixels) else pixels / count)
    source = np.floor(np.arange(count, dtype=np.float32) * step).astype(int)
    return source.clip(0, pixels - 1)[None], np.ones((1, count))


def nearest_exact(pixels: int, count: int, scale: float | None) -> Taps:
    """Return the input pixel whose centre is nearest to that of each of ``count`` output pixels; of two, the second."""
    step = np.float32(1 / scale if scale else pixels / count)  # in float32 like PyTorch
    source = np.floor((np.arange(count, dtype=np.float32) + np.float32(0.5)) * step).astype(int)
    return source.clip(0, pixels - 1)[None], np.ones((1, count))


def bilinear(pixels: int, count: int, scale: float | None, align_corners: bool | None, asymmetric: bool) -> Taps:
    """Return the two input pixels between which each of ``count`` output pixels lies, and their weights."""
    if align_corners:
        source = np.arange(count) * ((pixels - 1) / max(1, count - 1))
    elif asymmetric:
        source = (np.arange(count) * (1 / scale if scale else pixels / count)).clip(0, pixels - 1)
    else:  # pixel i covers i to i + 1, so its centre is at i + 1/2
        step = pixels / count if scale is None or count == pixels else 1 / scale
        source = ((np.arange(count) + 0.5) * step - 0.5).clip(0, pixels - 1)
    i0, t = source.astype(int), source % 1
    return np.stack([i0, np.minimum(i0 + 1, pixels - 1)]), np.stack([1 - t, t])
