"""Upsample: a larger (or smaller) picture of the same scene."""

from typing import Any

import numpy as np

from cnn.checks import Pair, check_grad, check_images, check_input, pair
from cnn.errors import ShapeError
from cnn.kernels import batched
from cnn.module import Array, Module


def scales(scale_factor: Any) -> tuple[float, float]:
    """Return the scales down and across from one number or from two."""
    both = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    numbers = all(isinstance(s, (int, float, np.number)) and not isinstance(s, bool) and 0 < s < np.inf for s in both)
    if len(both) != 2 or not numbers:
        raise ValueError(f"scale_factor must be one positive number or a pair (height, width), got {scale_factor!r}")
    return float(both[0]), float(both[1])


def nearest(pixels: int, count: int, scale: float | None) -> Array:
    """Which of the pixels in a line each of ``count`` places shows, as a matrix of ones and zeros: (count, pixels)."""
    if scale is None or count in (pixels, 2 * pixels):  # there PyTorch overrides the scale that was given
        step = np.float32(pixels) / np.float32(count)
    else:
        step = np.float32(1 / scale)  # in float32 as PyTorch: more digits would round some places to another pixel
    source = np.floor(np.arange(count, dtype=np.float32) * step).astype(int)
    return np.eye(pixels)[source.clip(0, pixels - 1)]


def bilinear(pixels: int, count: int, scale: float | None, align_corners: bool) -> Array:
    """How much of each pixel in a line each of ``count`` places shows: (count, pixels), its rows add up to one."""
    places = np.arange(count)
    if align_corners:
        source = places * ((pixels - 1) / max(1, count - 1))
    else:  # pixel i covers i to i + 1, so its centre is at i + 1/2
        step = pixels / count if scale is None or count == pixels else 1 / scale
        source = (places + 0.5) * step - 0.5
    source = source.clip(0, pixels - 1)
    return np.maximum(0, 1 - np.abs(source[:, None] - np.arange(pixels)))  # falls to zero at the next pixel


def pick(x: Array, a: Array, b: Array) -> Array:
    """What `resize` does where a and b are ones and zeros, without a product: (N, C, H, W) -> (N, C, OH, OW)."""
    rows, columns = a.argmax(axis=1), b.argmax(axis=1)
    return x.transpose(0, 2, 3, 1).take(rows, axis=1).take(columns, axis=2).transpose(0, 3, 1, 2)


@batched(1)
def resize(x: Array, a: Array, b: Array) -> Array:
    """Y = a X bᵀ for each channel of each picture: (N, C, H, W) -> (N, C, OH, OW)."""
    n, c, h, w = x.shape
    rows = a @ x.transpose(0, 2, 3, 1).reshape(n, h, w * c)
    return (b @ rows.reshape(n, len(a), w, c)).transpose(0, 3, 1, 2)


class Upsample(Module):
    """Draw the picture larger, by repeating pixels or by mixing neighbours: the way back up in a U-shaped net.

    Y = A X Bᵀ  for each channel; each row of A tells how an output row is mixed of input rows, B the same for columns

    In "nearest" a row of A holds a single one. In "bilinear" an output pixel takes 1 - d of an input pixel that is
    d < 1 away. The map is linear, so the gradient is its transpose: dL/dX = Aᵀ G B.

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
    Numbers as torch.nn.Upsample, which takes a pixel's distance from the scale_factor as given, not from OH / H.

    Examples
    --------
    >>> Upsample(scale_factor=2)(np.array([[[[1, 3]]]], np.float32))
    array([[[[1., 1., 3., 3.],
             [1., 1., 3., 3.]]]], dtype=float32)
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

    def mixture(self, axis: int, pixels: int) -> Array:
        """Return A (axis 0) or B (axis 1) for so many pixels."""
        scale = None if self.scale_factor is None else self.scale_factor[axis]
        count = int(pixels * (scale or 0)) if self.size is None else self.size[axis]
        if pixels < 1 or count < 1:
            direction = ("down", "across")[axis]
            raise ShapeError(
                f"{self!r} makes {count} of {pixels} pixels {direction}: enlarge scale_factor or the input"
            )
        if self.mode == "nearest":
            return nearest(pixels, count, scale)
        return bilinear(pixels, count, scale, bool(self.align_corners))

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        check_input(x)
        check_images(x)
        a, b = (self.mixture(axis, x.shape[2 + axis]).astype(x.dtype) for axis in (0, 1))
        y = pick(x, a, b) if self.mode == "nearest" else resize(x, a, b)
        self.save_for_backward(y.shape, a, b)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, a, b = self.saved()
        check_grad(self, grad, shape, a.dtype)
        return resize(grad, a.T, b.T)
