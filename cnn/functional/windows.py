"""How a small window moves over an image: code that convolution, pooling and padding layers share."""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cnn.core.checks import Pair, integer
from cnn.errors import ShapeError
from cnn.functional.padding import Padding, Pads, sides
from cnn.module import Array

PadSides = tuple[int, int, int, int]  # (left, right, top, bottom), PyTorch's order
OutputSize = tuple[int | None, int | None]  # (height, width); None: the same as the input's
MAX_PIXELS = 2**40  # of an image with its padding: 4 TB for one channel, and products with sizes stay below 2**63


class WindowGeometry(NamedTuple):
    """Size, stride and dilation of a sliding window, and the padding around the image, each (height, width).

    Negative padding at the end (`ConvTranspose2d` uses it) means that the windows do not reach the last pixels.
    """

    size: Pair
    stride: Pair
    dilation: Pair
    pads: Pads

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def of(cls, size: Pair, stride: Pair, dilation: Pair, padding: Padding, *image: int) -> "WindowGeometry":
        """Return a layer's geometry; ``image``, height and width, counts where "same" comes with a stride.

        "same" gives ceil(pixels / stride) windows, as in TensorFlow: the padding that the last one needs, half of it
        before and half after the pixels, an odd pixel after them. With stride 1 this is dilation (size - 1) in total.
        """
        if not isinstance(padding, str):
            return cls(size, stride, dilation, sides(padding))
        pads = []
        for axis, (k, s, d) in enumerate(zip(size, stride, dilation, strict=True)):
            total = max(0, d * (k - 1) + 1 - s + (-image[axis] % s if s > 1 else 0))
            pads.append((total // 2, total - total // 2))
        return cls(size, stride, dilation, (pads[0], pads[1]))

    @functools.lru_cache(maxsize=4096)  # noqa: B019  # a geometry is a few numbers
    def output_size(self, height: int, width: int, ceil_mode: bool = False) -> Pair:
        """Return the height and width of the output: how many windows fit vertically and horizontally.

        A dilated window spans dilation (size - 1) + 1 pixels; floor((pixels + padding - span) / stride) + 1 of them
        fit. With ``ceil_mode`` the division rounds up, but no window may start beyond the end of the image.

        Examples
        --------
        >>> WindowGeometry(size=(3, 3), stride=(2, 2), dilation=(1, 1), pads=((1, 1), (0, 0))).output_size(6, 7)
        (3, 3)
        """
        check_pixels(
            *(before + pixels + after for pixels, (before, after) in zip((height, width), self.pads, strict=True))
        )
        counts = []
        for axis, pixels in enumerate((height, width)):
            before, after = self.pads[axis]
            span = self.dilation[axis] * (self.size[axis] - 1) + 1
            last_start, stride = before + pixels + after - span, self.stride[axis]
            count = (-(-last_start // stride) if ceil_mode else last_start // stride) + 1
            if ceil_mode and (count - 1) * stride >= before + pixels:
                count -= 1
            if count < 1:
                direction = ("vertically", "horizontally")[axis]
                raise ShapeError(
                    f"the window spans {span} pixels {direction}, but the input of {height} x {width} has only "
                    f"{before + pixels + after} with its padding: use a smaller kernel_size or dilation, more padding, "
                    "or larger images"
                )
            counts.append(count)
        return counts[0], counts[1]

    def input_size(self, oh: int, ow: int) -> Pair:
        """Return the height and width of the smallest image for which the output size is oh x ow.

        Examples
        --------
        >>> WindowGeometry(size=(3, 3), stride=(2, 2), dilation=(1, 1), pads=((1, 1), (0, 0))).input_size(3, 3)
        (5, 7)
        """
        height, width = (
            stride * (count - 1) + dilation * (size - 1) + 1 - before - after
            for count, size, stride, dilation, (before, after) in zip((oh, ow), *self, strict=True)
        )
        return height, width

    def needed_padding(self, output_size: Pair, height: int, width: int) -> Pads:
        """Return the padding that the windows need: with ceil_mode the last ones extend beyond the given padding."""
        pads = []
        for axis, pixels in enumerate((height, width)):
            before = self.pads[axis][0]
            end = self.stride[axis] * (output_size[axis] - 1) + self.dilation[axis] * (self.size[axis] - 1) + 1
            pads.append((before, max(0, end - before - pixels)))
        return pads[0], pads[1]

    def first_pixels(self, output_size: Pair, height: int, width: int) -> Array:
        """Return for each window the number of its first pixel that is not padding: (OH, OW); 0 if there is none.

        Examples
        --------
        >>> geometry = WindowGeometry(size=(3, 3), stride=(2, 2), dilation=(1, 1), pads=((1, 1), (0, 0)))
        >>> geometry.first_pixels((2, 1), 3, 3)
        array([[3],
               [0]])
        """
        firsts = []
        for axis, pixels in enumerate((height, width)):
            starts = self.stride[axis] * np.arange(output_size[axis]) - self.pads[axis][0]
            positions = starts[:, None] + self.dilation[axis] * np.arange(self.size[axis])
            firsts.append(((positions >= 0) & (positions < pixels)).argmax(axis=1))
        return firsts[0][:, None] * self.size[1] + firsts[1]

    def window_offsets(self, output_size: Pair) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield for each pixel (u, v) of the window which rows and columns of the padded image it meets."""
        for u in range(self.size[0]):
            for v in range(self.size[1]):
                top, left = u * self.dilation[0], v * self.dilation[1]
                rows = slice(top, top + self.stride[0] * (output_size[0] - 1) + 1, self.stride[0])
                columns = slice(left, left + self.stride[1] * (output_size[1] - 1) + 1, self.stride[1])
                yield u, v, rows, columns


def check_pixels(height: int, width: int) -> None:
    """Raise an error if a padded image would be larger than any memory."""
    if height > 0 and width > 0 and height * width > MAX_PIXELS:
        raise ShapeError(
            f"with its padding the image would have {height} x {width} pixels, more than 2**40: use less padding, or a "
            "smaller stride, dilation or kernel_size"
        )


def pad_images(x: Array, pads: Pads, value: float) -> Array:
    """Pad images (N, H, W, C) with ``value``; where there is nothing to pad, they are returned without a copy."""
    if pads == ((0, 0), (0, 0)):
        return x
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def unfold(x: Array, geometry: WindowGeometry, groups: int = 1) -> Array:
    """Write the pixels of each window as one row (im2col): (N, C, H, W) -> (groups, N*OH*OW, KH*KW*C/groups)."""
    n, c, h, w = x.shape
    oh, ow = geometry.output_size(h, w)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(geometry.size, geometry.dilation, strict=True))
    x = pad_images(x.transpose(0, 2, 3, 1), geometry.needed_padding((oh, ow), h, w), 0)
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))  # (N, H', W', C, span, span), no copy
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    windows = windows[:, ::sh, ::sw, :, ::dh, ::dw][:, :oh, :ow]  # negative padding leaves out the last windows
    windows = windows.reshape(n, oh, ow, groups, c // groups, *geometry.size).transpose(3, 0, 1, 2, 5, 6, 4)
    return windows.reshape(groups, n * oh * ow, math.prod(geometry.size) * (c // groups))


def fold(rows: Array, shape: tuple[int, ...], geometry: WindowGeometry) -> Array:
    """Add each row back to the pixels it was read from (col2im, adjoint of unfold): rows -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    groups, (oh, ow) = len(rows), geometry.output_size(h, w)
    (top, bottom), (left, right) = geometry.needed_padding((oh, ow), h, w)
    x = np.zeros((n, top + h + bottom, left + w + right, c), rows.dtype)
    grouped = x.reshape(*x.shape[:3], groups, c // groups)  # a view: the same memory
    rows = rows.reshape(groups, n, oh, ow, *geometry.size, c // groups).transpose(1, 2, 3, 0, 6, 4, 5)
    for u, v, vertical, horizontal in geometry.window_offsets((oh, ow)):
        grouped[:, vertical, horizontal] += rows[..., u, v]
    return x[:, top : top + h, left : left + w].transpose(0, 3, 1, 2)


def as_rows(x: Array, groups: int) -> Array:
    """Write each pixel as one row: (N, K, OH, OW) -> (groups, N*OH*OW, K/groups)."""
    n, k, h, w = x.shape
    return x.transpose(0, 2, 3, 1).reshape(n * h * w, groups, k // groups).transpose(1, 0, 2)


def from_rows(rows: Array, n: int, output_size: Pair) -> Array:
    """Turn rows back into images: (groups, N*OH*OW, K/groups) -> (N, K, OH, OW)."""
    groups, _, k = rows.shape
    return rows.transpose(1, 0, 2).reshape(n, *output_size, groups * k).transpose(0, 3, 1, 2)


def as_matrix(weight: Array, groups: int) -> Array:
    """Write each channel's weights as one column: (K, C/groups, KH, KW) -> (groups, KH*KW*C/groups, K/groups)."""
    k, c, kh, kw = weight.shape
    weight = weight.reshape(groups, k // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return weight.reshape(groups, kh * kw * c, k // groups)


def from_matrix(matrix: Array, shape: tuple[int, ...]) -> Array:
    """Turn columns back into weights: (groups, KH*KW*C/groups, K/groups) -> shape = (K, C/groups, KH, KW)."""
    groups, (k, c, kh, kw) = len(matrix), shape
    return matrix.reshape(groups, kh, kw, c, k // groups).transpose(0, 4, 3, 1, 2).reshape(shape)


def regions(pixels: int, count: int) -> list[slice]:
    """Divide a row of pixels into ``count`` nearly equal regions, which overlap by a pixel if there is a remainder.

    Examples
    --------
    >>> regions(5, 2)
    [slice(0, 3, None), slice(2, 5, None)]
    """
    if pixels == 0:
        raise ShapeError("expected images of at least one pixel, got empty ones, which cannot be divided into regions")
    return [slice(i * pixels // count, -(-(i + 1) * pixels // count)) for i in range(count)]


def parse_output_size(value: Any) -> OutputSize:
    """Return (height, width) from one size or from two; None is kept."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"output_size must be one integer or a pair (height, width), got {value!r}")
    height, width = (None if size is None else integer(size, "output_size", 1) for size in both)
    return height, width


def parse_pad_sides(value: Any) -> PadSides:
    """Return the padding of the four sides from one int or from four; negative padding crops."""
    four = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 4
    if len(four) != 4 or any(isinstance(p, bool) or not isinstance(p, (int, np.integer)) for p in four):
        raise ValueError(f"padding must be one integer or four, (left, right, top, bottom), got {value!r}")
    left, right, top, bottom = (int(p) for p in four)
    return left, right, top, bottom


def check_crop(padding: PadSides, height: int, width: int) -> None:
    """Raise an error if negative padding crops the whole image away, or if the padded image is too large."""
    left, right, top, bottom = (min(0, side) for side in padding)
    if height + top + bottom < 1 or width + left + right < 1:
        raise ShapeError(f"padding={padding} leaves nothing of an input of {height} x {width}: crop less")
    left, right, top, bottom = padding
    check_pixels(top + height + bottom, left + width + right)
