"""Windows line by line: each line of an image is written out once for all rows of the kernel that meet it.

A row of the kernel sees KW*C neighbours in a line. What it sees at all places of an image is a matrix, and the next
row of the kernel sees the same matrix some lines further down:

    lines of the image   row 0 of the kernel   row 1   row 2
    0  aaaa                a (place 0)
    1  bbbb                b (place 1)           b (0)
    2  cccc                c (place 2)           c (1)   c (0)
    3  dddd                                      d (2)   d (1)
    4  eeee                                              e (2)

So a third of what all windows of 3 x 3 see is written, and there is a product for each row of the kernel; their results
are added. These products are small, and OpenBLAS multiplies small ones without writing its inputs anew.

Source: Cho and Brand 2017, MEC: memory-efficient convolution for deep neural network, arXiv 1706.06873.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.array.shared import Array, Scratch, cut, shared, summed
from cnn.kernels.array.windows import FEW_CHANNELS, Size, Windows, as_matrix
from cnn.kernels.memory import empty

SMALL_PRODUCT = 1_000_000  # multiply-adds
LEAST_ROWS = 28  # of a small product: with fewer it is busy with reading the weights
TILE_BYTES = 2400 * 1024  # of lines, and of what is made of them
MULTIPLY_ADDS = 50  # of one thread in a nanosecond


class Plan(NamedTuple):
    """How many lines of places make a product, and how many images a tile."""

    lines: int
    images: int


def plan(
    shape: tuple[int, ...], geometry: Any, outputs: int, groups: int = 1, with_weights: bool = False
) -> Plan | None:
    """Plan the way for images (N, C, H, W); None where another is faster: for kernels of one row, strides, few
    channels or many, and images larger than a tile. ``with_weights``: for the gradient of the weights.
    """
    (n, c, h, w), (kh, kw) = shape, geometry.size
    if groups > 1 or kh == 1 or geometry.stride[0] > 1 or c <= FEW_CHANNELS:
        return None
    down, across = geometry.output_size(h, w)
    most = SMALL_PRODUCT // (kw * c * outputs * across)
    lines = next((i for i in range(min(most, down), 0, -1) if down % i == 0), 0)  # every product is as large
    if lines * across < LEAST_ROWS:
        return None
    numbers = (down + geometry.dilation[0] * (kh - 1)) * across * kw * c + (kh + 1) * down * across * outputs
    if with_weights:
        if kw * c > 2 * lines * across:  # there would be more sums to add than products to make
            return None
        numbers += kh * down // lines * kw * c * outputs
    most = TILE_BYTES // (4 * numbers)
    return Plan(lines, max(1, -(-n // max(1, -(-n // most))))) if most else None  # tiles of about the same size


def forward(x: Array, weight: Array, bias: Array | None, geometry: Any, planned: Plan) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    places, k, step = geometry.output_size(*x.shape[2:]), len(weight), planned.images
    y = empty((len(x), *places, k), x.dtype)
    line = None if bias is None else np.tile(bias, (places[1], 1))  # longer rows are added faster

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        products = Products(x, weight, geometry, planned, scratch)
        for start in starts:
            tile = y[start : start + step]
            add_up(products.of(slice(start, start + len(tile))), tile)
            if line is not None:
                tile += line

    shared(work, range(0, len(x), step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def add_up(parts: Array, total: Array) -> None:
    """Add two arrays or more."""
    first, second, *others = parts
    np.add(first, second, out=total)
    for other in others:
        total += other


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, planned: Plan) -> Array:
    """What each weight saw times the gradient of what it made; -> (K, C, KH, KW)"""
    (k, c, kh, kw), images = shape, grad.transpose(0, 2, 3, 1)

    def make(scratch: Scratch) -> Callable[..., None]:
        strips = Strips(x, geometry, planned, scratch)
        weights = WeightSums(strips.shape, k, x.dtype, scratch)
        return lambda tile, sums: weights.add(strips.rows(tile), images[tile], sums)

    nanoseconds = grad.size * kh * kw * c / MULTIPLY_ADDS
    (sums,) = summed(make, cut(len(x), planned.images), [(kh, kw * c, k)], x.dtype, nanoseconds)
    return sums.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)


class Strips:
    """The lines of some images, in memory that serves for one tile after the other.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    geometry : WindowGeometry
        How the window moves, down by one pixel.
    planned : Plan
    room : callable
        Makes arrays for intermediate results.

    Attributes
    ----------
    shape : tuple of int
        Of what each row of the kernel sees in a tile: (KH, N, products, places, KW*C)
    """

    def __init__(self, x: Array, geometry: Any, planned: Plan, scratch: Scratch) -> None:
        self.geometry = geometry
        (kh, kw), (_, right) = geometry.size, geometry.dilation
        # each line of the image and of its rim is what a window of one line sees
        one = geometry._replace(size=(1, kw), dilation=(1, right))
        self.height = one.output_size(*x.shape[2:])[0]
        self.windows = Windows(x, one, Size(planned.images, self.height), scratch)
        down, across = geometry.output_size(*x.shape[2:])
        self.shape = kh, planned.images, down // planned.lines, planned.lines * across, kw * x.shape[1]
        self.across = across
        self.views: dict[int, Array] = {}  # of tiles with so many images

    def rows(self, tile: slice) -> Array:
        """Return what each row of the kernel sees; the next tile overwrites it."""
        seen = self.windows.rows((tile, slice(0, self.height)))
        n = tile.stop - tile.start
        if n not in self.views or self.windows.memory is None:
            self.views[n] = self.look(seen[0], n)
        return self.views[n]

    def look(self, seen: Array, n: int) -> Array:
        """See lines (N*height*OW, KW*C) as what each row of the kernel sees: the last starts dilation (KH - 1) lines
        below the first, and as many lines more than places there are.
        """
        kh, _, products, places, length = self.shape
        number = seen.itemsize
        line, row = self.across * length * number, length * number
        strides = self.geometry.dilation[0] * line, self.height * line, places * row, row, number
        shape = kh, n, products, places, length
        rows = np.ndarray(shape, seen.dtype, seen, strides=strides)  # as_strided takes ten times as long
        rows.flags.writeable = False
        return rows


class Products:
    """What each row of the kernel gives, to be added.

    Parameters
    ----------
    weight : ndarray
        (K, C, KH, KW); for the others see `Strips`.
    """

    def __init__(self, x: Array, weight: Array, geometry: Any, planned: Plan, scratch: Scratch) -> None:
        self.strips = Strips(x, geometry, planned, scratch)
        k, c, kh, kw = weight.shape
        self.matrices = as_matrix(weight, 1).reshape(kh, 1, 1, kw * c, k)
        self.places = geometry.output_size(*x.shape[2:])
        self.memory = scratch((kh, planned.images, *self.places, k), x.dtype).reshape(-1)

    def of(self, tile: slice) -> Array:
        """Return the products for some images: (KH, N, OH, OW, K); the next tile overwrites them."""
        rows = self.strips.rows(tile)
        k = self.matrices.shape[-1]
        made = self.memory[: rows.size // rows.shape[-1] * k].reshape(*rows.shape[:-1], k)
        np.matmul(rows, self.matrices, out=made)
        return made.reshape(*rows.shape[:2], *self.places, k)


class WeightSums:
    """Adds what some images give to the sums of a weight gradient, (KH, KW*C, K).

    Parameters
    ----------
    shape : tuple of int
        That of the largest rows.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, dtype: Any, scratch: Scratch) -> None:
        kh, n, products, _, length = shape
        self.memory = scratch((kh, n, products, length, outputs), dtype)

    def add(self, rows: Array, grad: Array, sums: Array) -> None:
        """Add the products of rows (KH, N, products, places, KW*C) and gradients (N, OH, OW, K)."""
        _, n, products, places, _ = rows.shape
        made = self.memory[:, :n]
        np.matmul(rows.transpose(0, 1, 2, 4, 3), grad.reshape(n, products, places, -1), out=made)
        sums += np.add.reduce(made, axis=(1, 2))
