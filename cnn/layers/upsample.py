"""Upsample: a larger (or smaller) image of the same scene."""

from typing import Any

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input, pair
from cnn.errors import ShapeError
from cnn.kernels import batched
from cnn.module import Array, Module

Taps = tuple[Array, Array]  # which pixels of a line each place shows, and how much of them: two arrays (taps, places)


def scales(scale_factor: Any) -> tuple[float, float]:
    """Return the scales down and across from one number or from two."""
    both = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    numbers = all(isinstance(s, (int, float, np.number)) and not isinstance(s, bool) and 0 < s < np.inf for s in both)
    if len(both) != 2 or not numbers:
        raise ValueError(f"scale_factor must be one positive number or a pair (height, width), got {scale_factor!r}")
    return float(both[0]), float(both[1])


def nearest(pixels: int, count: int, scale: float | None) -> Taps:
    """Which of the pixels in a line each of ``count`` places shows."""
    # in float32 as PyTorch: more digits would round some places to other pixels; at 1 and 2 it ignores the scale given
    step = np.float32(1 / scale if scale and count not in (pixels, 2 * pixels) else pixels / count)
    source = np.floor(np.arange(count, dtype=np.float32) * step).astype(int)
    return source.clip(0, pixels - 1)[None], np.ones((1, count))


def bilinear(pixels: int, count: int, scale: float | None, align_corners: bool | None) -> Taps:
    """Which two of the pixels in a line each of ``count`` places shows, and how much of them."""
    if align_corners:
        source = np.arange(count) * ((pixels - 1) / max(1, count - 1))
    else:  # pixel i covers i to i + 1, so its centre is at i + 1/2
        step = pixels / count if scale is None or count == pixels else 1 / scale
        source = ((np.arange(count) + 0.5) * step - 0.5).clip(0, pixels - 1)
    i0, t = source.astype(int), source % 1
    return np.stack([i0, np.minimum(i0 + 1, pixels - 1)]), np.stack([1 - t, t])


def reverse(taps: Taps, pixels: int) -> Taps:
    """Which of the places show each of the pixels, and how much of it: the same map the other way, its transpose."""
    found = np.flatnonzero(taps[1])
    found = found[taps[0].ravel()[found].argsort(kind="stable")]
    pixel, place = taps[0].ravel()[found], found % taps[0].shape[1]
    turn = np.arange(len(pixel)) - np.searchsorted(pixel, pixel)  # how many places before this show the same pixel
    places, weights = np.zeros((2, turn.max() + 1, pixels))  # what is left at weight 0 counts nothing
    places[turn, pixel], weights[turn, pixel] = place, taps[1].ravel()[found]
    return places.astype(int), weights


def mix(x: Array, taps: Taps, axis: int) -> Array:
    """y[i] = sum over k of w[k, i] x[index[k, i]] along an axis."""
    y = x
    for k, (index, weight) in enumerate(zip(*taps, strict=True)):
        part = x.take(index, axis)
        if (weight != 1).any():
            line = part.swapaxes(axis, -1)
            line *= weight.astype(x.dtype)
            line[..., weight == 0] = 0  # of infinity too
        y = np.add(y, part, out=y) if k else part
    return y


@batched(1)
@np.errstate(invalid="ignore")  # inf - inf and 0 * inf
def resize(x: Array, down: Taps, across: Taps) -> Array:
    """Mix the rows, then the columns: (N, C, H, W) -> (N, C, OH, OW)."""
    return mix(mix(x.transpose(0, 2, 3, 1), down, 1), across, 2).transpose(0, 3, 1, 2)


class Upsample(Module):
    """Draw the image larger, by repeating pixels or by mixing neighbours: the way back up in a U-shaped net.

    y[i] = (1 - t) x[i0] + t x[i1]  along the rows, then along the columns; in "nearest" y[i] = x[i0]

    Place i of the output lies between the pixels i0 and i1 = i0 + 1 of the input, t away from i0. Each output hands
    (1 - t) of its gradient to i0 and t of it to i1.

    Parameters
    ----------
    size : int, pair of int or None
        OH and OW. Give either this or scale_factor.
    scale_factor : float, pair of float or None
        OH / H and OW / W; what is no whole number of pixels is rounded down.
    mode : "nearest" or "bilinear"
        Whether pixels are repeated or mixed.
    align_corners : bool or None
        For "bilinear": whether the centres of the corner pixels stay in the corners, or (False, None) their edges.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW).

    Source
    ------
    Catmull and Smith 1980, 3-D transformations of images in scanline order, on resizing rows, then columns; in a net:
    Long, Shelhamer and Darrell 2015, Fully convolutional networks for semantic segmentation, arXiv 1411.4038,
    section 3.3. Numbers as torch.nn.Upsample, which takes a pixel's distance from the scale_factor, not from OH / H.

    Examples
    --------
    >>> Upsample(size=(1, 4), mode="bilinear")(np.array([[[[1, 3]]]], np.float32))
    array([[[[1. , 1.5, 2.5, 3. ]]]], dtype=float32)
    """

    def __init__(
        self,
        size: int | Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give either size or scale_factor, got size={size!r} and scale_factor={scale_factor!r}")
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f'mode must be "nearest" or "bilinear", got {mode!r}')
        if mode == "nearest" and align_corners is not None:
            raise ValueError(f'align_corners={align_corners!r} is for mode="bilinear": leave it away')
        self.size = None if size is None else pair(size, "size", 1)
        self.scale_factor = None if scale_factor is None else scales(scale_factor)
        self.mode = mode
        self.align_corners = None if align_corners is None else bool(align_corners)

    def taps(self, axis: int, pixels: int) -> Taps:
        """Return which of so many rows (axis 0) or columns (axis 1) those of the output show."""
        scale = None if self.scale_factor is None else self.scale_factor[axis]
        count = int(pixels * (scale or 0)) if self.size is None else self.size[axis]
        if pixels < 1 or count < 1:
            direction = ("down", "across")[axis]
            raise ShapeError(f"{self!r} makes {count} of {pixels} pixels {direction}: enlarge scale_factor or input")
        corners = self.align_corners
        return bilinear(pixels, count, scale, corners) if self.mode == "bilinear" else nearest(pixels, count, scale)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        check_input(x)
        check_images(x)
        taps = self.taps(0, x.shape[2]), self.taps(1, x.shape[3])
        y = resize(x, *taps)
        self.save_for_backward(x.shape, y.shape, y.dtype, *taps)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        (_, _, h, w), shape, dtype, down, across = self.saved()
        check_grad(self, grad, shape, dtype)
        return resize(grad, reverse(down, h), reverse(across, w))
