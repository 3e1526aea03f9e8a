"""How a small window moves over a picture: what convolutions and pools share."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cnn.checks import Pair
from cnn.errors import ShapeError
from cnn.module import Array

Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))


class Slide(NamedTuple):
    """The way of a window: its size, the step from place to place, the step between its pixels, the rim around."""

    size: Pair
    stride: Pair
    dilation: Pair
    pads: Pads

    @classmethod
    def of(cls, size: Pair, stride: Pair, dilation: Pair, padding: Pair | str) -> "Slide":
        """Return the slide of a layer; padding "same" is span - 1 in all, the odd pixel below and to the right."""
        down, across = (d * (k - 1) for k, d in zip(size, dilation, strict=True))
        pads = ((down // 2, down - down // 2), (across // 2, across - across // 2))
        if not isinstance(padding, str):
            pads = ((padding[0], padding[0]), (padding[1], padding[1]))
        return cls(size, stride, dilation, pads)

    def places(self, height: int, width: int, ceil_mode: bool = False) -> Pair:
        """Return how many windows fit down and across a picture.

        A dilated window spans dilation (size - 1) + 1 pixels; floor((pixels + padding - span) / stride) + 1 of them
        fit. With ``ceil_mode`` the division rounds up, but no window may start behind the picture.

        Examples
        --------
        >>> Slide(size=(3, 3), stride=(2, 2), dilation=(1, 1), pads=((1, 1), (0, 0))).places(6, 7)
        (3, 3)
        """
        counts = []
        for axis, pixels in enumerate((height, width)):
            before, after = self.pads[axis]
            span = self.dilation[axis] * (self.size[axis] - 1) + 1
            room, stride = before + pixels + after - span, self.stride[axis]
            count = (-(-room // stride) if ceil_mode else room // stride) + 1
            if ceil_mode and (count - 1) * stride >= before + pixels:
                count -= 1
            if count < 1:
                raise ShapeError(
                    f"the window spans {span} pixels {('down', 'across')[axis]}, but the input of {height} x {width} "
                    f"has only {before + pixels + after} with its padding: use a smaller kernel_size or dilation, more "
                    "padding, or larger images"
                )
            counts.append(count)
        return counts[0], counts[1]

    def shifts(self, counts: Pair) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield for each pixel (u, v) of the window which rows and columns of the padded picture it meets."""
        for u in range(self.size[0]):
            for v in range(self.size[1]):
                top, left = u * self.dilation[0], v * self.dilation[1]
                down = slice(top, top + self.stride[0] * (counts[0] - 1) + 1, self.stride[0])
                across = slice(left, left + self.stride[1] * (counts[1] - 1) + 1, self.stride[1])
                yield u, v, down, across


def surround(x: Array, pads: Pads, value: float) -> Array:
    """Put a rim of ``value`` around pictures (N, H, W, C); without a rim nothing is copied."""
    if pads == ((0, 0), (0, 0)):
        return x
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def unfold(x: Array, slide: Slide, groups: int = 1) -> Array:
    """Write what each window sees as one row (im2col): (N, C, H, W) -> (groups, N*OH*OW, KH*KW*C/groups)."""
    n, c, h, w = x.shape
    oh, ow = slide.places(h, w)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(slide.size, slide.dilation, strict=True))
    x = surround(x.transpose(0, 2, 3, 1), slide.pads, 0)
    seen = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))  # (N, H', W', C, span, span), no copy
    seen = seen[:, :: slide.stride[0], :: slide.stride[1], :, :: slide.dilation[0], :: slide.dilation[1]]
    seen = seen.reshape(n, oh, ow, groups, c // groups, *slide.size).transpose(3, 0, 1, 2, 5, 6, 4)
    return seen.reshape(groups, n * oh * ow, math.prod(slide.size) * (c // groups))


def fold(rows: Array, shape: tuple[int, ...], slide: Slide) -> Array:
    """Add each row back to the pixels it was read from (col2im, unfold's adjoint): rows -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    groups, (oh, ow) = len(rows), slide.places(h, w)
    (top, bottom), (left, right) = slide.pads
    x = np.zeros((n, top + h + bottom, left + w + right, c), rows.dtype)
    parts = x.reshape(*x.shape[:3], groups, c // groups)  # the same memory
    rows = rows.reshape(groups, n, oh, ow, *slide.size, c // groups).transpose(1, 2, 3, 0, 6, 4, 5)
    for u, v, down, across in slide.shifts((oh, ow)):
        parts[:, down, across] += rows[..., u, v]
    return x[:, top : top + h, left : left + w].transpose(0, 3, 1, 2)
