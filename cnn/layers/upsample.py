"""Upsample: a larger (or smaller) image of the same scene."""

import numpy as np

from cnn.core.checks import Pair, boolean, check_grad, check_images, check_input, pair
from cnn.core.modes import without_warnings
from cnn.errors import ShapeError
from cnn.functional.resampling import Taps, bilinear, nearest, nearest_exact, parse_scale_factor
from cnn.kernels import batched
from cnn.module import Array, Module


def transpose(taps: Taps, pixels: int) -> Taps:
    """Return for each of the input pixels the output pixels that use it, and their weights: the transposed matrix."""
    nonzero = np.flatnonzero(taps[1])
    nonzero = nonzero[taps[0].ravel()[nonzero].argsort(kind="stable")]
    source, target = taps[0].ravel()[nonzero], nonzero % taps[0].shape[1]
    tap = np.arange(len(source)) - np.searchsorted(source, source)  # how many earlier outputs use the same input
    index, weights = np.zeros((2, tap.max() + 1, pixels))  # unused taps keep weight 0
    index[tap, source], weights[tap, source] = target, taps[1].ravel()[nonzero]
    return index.astype(int), weights


def interpolate(x: Array, taps: Taps, axis: int) -> Array:
    """y[i] = sum over k of weight[k, i] x[index[k, i]] along an axis."""
    y = x
    for k, (index, weight) in enumerate(zip(*taps, strict=True)):
        term = x.take(index, axis)
        if (weight != 1).any():
            weighted = term.swapaxes(axis, -1)  # a view
            weighted *= weight.astype(x.dtype)
            weighted[..., weight == 0] = 0  # also where x is infinite
        y = np.add(y, term, out=y) if k else term
    return y


@batched(1)
@without_warnings  # of inf - inf and 0 * inf
def resize(x: Array, vertical: Taps, horizontal: Taps) -> Array:
    """Interpolate the rows, then the columns: (N, C, H, W) -> (N, C, OH, OW)."""
    return interpolate(interpolate(x.transpose(0, 2, 3, 1), vertical, 1), horizontal, 2).transpose(0, 3, 1, 2)


class Upsample(Module):
    """Enlarge the image by repeating pixels or by interpolating between neighbours: the way back up in a U-Net.

    y[i] = (1 - t) x[i0] + t x[i1]  along the rows, then along the columns; in the other modes y[i] = x[i0]

    Output pixel i lies between pixels i0 and i1, at distance t from i0: (1 - t) of its gradient goes to i0, t to i1.
    Its position among the n input pixels, of m output pixels, is (i + 1/2) n / m - 1/2; where corners are aligned
    i (n - 1) / (m - 1), and if asymmetric i n / m.

    Parameters
    ----------
    size : int, pair of int or None
        OH and OW. Give either this or scale_factor.
    scale_factor : float, pair of float or None
        OH / H and OW / W; fractions of a pixel are rounded down.
    mode : "nearest", "nearest-exact" or "bilinear"
        Whether pixels are repeated or interpolated. "nearest" repeats pixel floor(i n / m); "nearest-exact" that whose
        centre is nearest to the centre of the output pixel.
    align_corners : bool or None
        For "bilinear": align the centres of the corner pixels, or (False, None) their outer corners.
    asymmetric : bool
        For "bilinear": align the centres of the first pixels only, which old nets and ONNX files do.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW).

    Raises
    ------
    ValueError
        If not one of ``size`` and ``scale_factor`` is given, a setting does not fit the mode, or no pixel is left.

    Source
    ------
    Catmull and Smith 1980, 3-D transformations of images in scanline order, on resizing rows, then columns; in a net:
    Long, Shelhamer and Darrell 2015, Fully convolutional networks for semantic segmentation, arXiv 1411.4038,
    section 3.3. Numbers as in torch.nn.Upsample, which computes positions from the scale_factor, not from OH / H.

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
        asymmetric: bool = False,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give either size or scale_factor, got size={size!r} and scale_factor={scale_factor!r}")
        if mode not in ("nearest", "nearest-exact", "bilinear"):
            raise ValueError(f'mode must be "nearest", "nearest-exact" or "bilinear", got {mode!r}')
        if mode != "bilinear" and (align_corners is not None or asymmetric):
            name = "asymmetric=True" if align_corners is None else f"align_corners={align_corners!r}"
            raise ValueError(f'{name} is for mode="bilinear": leave it out')
        if align_corners and asymmetric:
            raise ValueError("align_corners=True and asymmetric=True exclude each other: leave one out")
        self.size = None if size is None else pair(size, "size", 1)
        self.scale_factor = None if scale_factor is None else parse_scale_factor(scale_factor)
        self.mode = mode
        self.align_corners = None if align_corners is None else bool(align_corners)
        self.asymmetric = boolean(asymmetric, "asymmetric")

    def taps(self, axis: int, pixels: int) -> Taps:
        """Return the taps of the output's rows (axis 0) or columns (axis 1) for this many input pixels."""
        scale = None if self.scale_factor is None else self.scale_factor[axis]
        count = int(pixels * (scale or 0)) if self.size is None else self.size[axis]
        if pixels < 1 or count < 1:
            direction = ("vertically", "horizontally")[axis]
            raise ShapeError(f"{self!r} turns {pixels} pixels into {count} {direction}: use a larger scale or input")
        if self.mode == "bilinear":
            return bilinear(pixels, count, scale, self.align_corners, self.asymmetric)
        return (nearest if self.mode == "nearest" else nearest_exact)(pixels, count, scale)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        taps = self.taps(0, x.shape[2]), self.taps(1, x.shape[3])
        y = resize(x, *taps)
        self.save_for_backward(x.shape, y.shape, y.dtype, *taps)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        (_, _, h, w), shape, dtype, vertical, horizontal = self.saved()
        check_grad(self, grad, shape, dtype)
        return resize(grad, transpose(vertical, h), transpose(horizontal, w))
