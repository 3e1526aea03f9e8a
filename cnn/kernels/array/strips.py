"""Windows line by line: each line of a picture is written out once for all rows of the kernel that meet it.

A row of the kernel sees KW*C neighbours in a line. What it sees at all places of the picture is a matrix, and the next
row of the kernel sees the same matrix some lines further down. So a third of what all windows of 3 x 3 see is written,
and there is a product for each row of the kernel, whose results are added. These products are small, and OpenBLAS
multiplies small ones without writing its inputs anew.

Source: Cho and Brand 2017, MEC: memory-efficient convolution for deep neural network, arXiv 1706.06873.
"""

import functools
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Room, shared
from cnn.kernels.array.windows import FEW_CHANNELS, Size, Windows, as_matrix
from cnn.kernels.memory import empty

SMALL_PRODUCT = 1_000_000  # multiply-adds
LEAST_ROWS = 28  # of a small product: with fewer it is busy with reading the weights
TILE_BYTES = 2400 * 1024  # of lines, and of what is made of them
MULTIPLY_ADDS = 50  # of one thread in a nanosecond
SUMS = 8  # of a weight gradient: as many threads may work at it


def lines_of(x: Array, slide: Any, outputs: int, groups: int) -> int:
    """Return how many lines of places make a product; 0 where products of other shapes are faster."""
    down, across = slide.places(*x.shape[2:])
    (kh, kw), c = slide.size, x.shape[1]
    if groups > 1 or kh == 1 or slide.stride[0] > 1 or c <= FEW_CHANNELS:
        return 0
    most = SMALL_PRODUCT // (kw * c * outputs * across)
    lines = next((i for i in range(min(most, down), 0, -1) if down % i == 0), 0)
    return lines if lines * across >= LEAST_ROWS else 0


def forward(x: Array, weight: Array, bias: Array | None, slide: Any, lines: int) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    places, k = slide.places(*x.shape[2:]), len(weight)
    y = empty((len(x), *places, k), x.dtype)
    step = pictures_of(x, slide, k)
    line = None if bias is None else np.tile(bias, (places[1], 1))  # longer rows are added faster

    def work(starts: Iterator[int], room: Room) -> None:
        products = Products(x, weight, slide, lines, step, room)
        for start in starts:
            tile = y[start : start + step]
            add_up(products.of(slice(start, start + len(tile))), tile)
            if line is not None:
                tile += line

    shared(work, range(0, len(x), step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def product(a: Array, b: Array, out: Array) -> None:
    """Multiply small matrices."""
    with np.errstate(invalid="ignore"):  # OpenBLAS fills vectors up with zeros, and multiplies them with infinity
        np.matmul(a, b, out=out)


def add_up(parts: Array, total: Array) -> None:
    """Add two arrays or more."""
    first, second, *others = parts
    np.add(first, second, out=total)
    for other in others:
        total += other


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], slide: Any, lines: int) -> Array:
    """What each weight saw times the gradient of what it made; -> (K, C, KH, KW)"""
    (k, c, kh, kw), n = shape, len(x)
    pictures = grad.transpose(0, 2, 3, 1)
    step = pictures_of(x, slide, k)
    starts = range(0, n, step)
    count = max(1, min(len(starts), SUMS))
    sums = np.zeros((count, kh, kw * c, k), x.dtype)

    def work(numbers: Iterator[int], room: Room) -> None:
        strips, sums_of = Strips(x, slide, lines, step, room), WeightSums(room)
        for i in numbers:
            for start in starts[i * len(starts) // count : (i + 1) * len(starts) // count]:
                tile = slice(start, min(start + step, n))
                sums_of.add(strips.rows(tile), pictures[tile], sums[i])

    shared(work, range(count), grad.size * kh * kw * c / MULTIPLY_ADDS)
    total = functools.reduce(operator.add, sums)  # in the same order however many threads there are
    return total.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)


def pictures_of(x: Array, slide: Any, outputs: int) -> int:
    """Return how many pictures make a tile."""
    (n, c, h, w), (kh, kw) = x.shape, slide.size
    down, across = slide.places(h, w)
    size = ((h + kh) * across * kw * c + (kh + 1) * down * across * outputs) * x.itemsize
    most = max(1, TILE_BYTES // size)
    return max(1, -(-n // max(1, -(-n // most))))  # tiles of about the same size


class Strips:
    """The lines of some pictures, in memory that serves for one tile after the other.

    Parameters
    ----------
    x : ndarray
        Pictures (N, C, H, W).
    slide : Slide
        How the window moves, down by one pixel.
    lines : int
        Of places for a product.
    pictures : int
        Of the largest tile.
    room : callable
        Makes arrays for intermediate results.
    """

    def __init__(self, x: Array, slide: Any, lines: int, pictures: int, room: Room) -> None:
        self.slide, self.lines = slide, lines
        self.places = slide.places(*x.shape[2:])
        # each line of the picture and of its rim is what a window of one line sees
        (_, kw), (_, right) = slide.size, slide.dilation
        one = slide._replace(size=(1, kw), dilation=(1, right))
        self.height = one.places(*x.shape[2:])[0]
        self.windows = Windows(x, one, Size(pictures, self.height), room)
        self.views: dict[int, Array] = {}  # of tiles with so many pictures

    def rows(self, tile: slice) -> Array:
        """Return what each row of the kernel sees: (KH, N, products, places, KW*C); the next tile overwrites it."""
        seen = self.windows.rows((tile, slice(0, self.height)))
        n = tile.stop - tile.start
        if n not in self.views or self.windows.memory is None:
            self.views[n] = self.look(seen[0], n)
        return self.views[n]

    def look(self, seen: Array, n: int) -> Array:
        """See lines (N*H*OW, KW*C) as what each row of the kernel sees."""
        (down, across), length, size = self.places, seen.shape[1], seen.itemsize
        shape = self.slide.size[0], n, down // self.lines, self.lines * across, length
        line = across * length * size
        strides = self.slide.dilation[0] * line, self.height * line, self.lines * line, length * size, size
        return np.lib.stride_tricks.as_strided(seen, shape, strides, writeable=False)


class Products:
    """What each row of the kernel gives, to be added.

    Parameters
    ----------
    weight : ndarray
        (K, C, KH, KW); for the others see `Strips`.
    """

    def __init__(self, x: Array, weight: Array, slide: Any, lines: int, pictures: int, room: Room) -> None:
        self.strips = Strips(x, slide, lines, pictures, room)
        k, c, kh, kw = weight.shape
        self.matrices = as_matrix(weight, 1).reshape(kh, 1, 1, kw * c, k)
        down, across = self.strips.places
        self.memory = room((kh * pictures * down * across * k,), x.dtype)

    def of(self, tile: slice) -> Array:
        """Return the products for some pictures: (KH, N, OH, OW, K); the next tile overwrites them."""
        rows = self.strips.rows(tile)
        k = self.matrices.shape[-1]
        made = self.memory[: rows.size // rows.shape[-1] * k].reshape(*rows.shape[:-1], k)
        product(rows, self.matrices, made)
        return made.reshape(*rows.shape[:2], *self.strips.places, k)


class WeightSums:
    """Adds what some pictures give to the sums of a weight gradient, (KH, KW*C, K)."""

    def __init__(self, room: Room) -> None:
        self.room, self.memory = room, np.empty(0)

    def add(self, rows: Array, grad: Array, sums: Array) -> None:
        """Add the products of rows, (KH, N, products, places, KW*C), and gradients (N, OH, OW, K)."""
        kh, n, count, places, length = rows.shape
        k = grad.shape[-1]
        if not self.memory.size:  # the first tile is the largest
            self.memory = self.room((kh, n, count, length, k), rows.dtype)
        products = self.memory[:, :n]
        product(rows.transpose(0, 1, 2, 4, 3), grad.reshape(n, count, places, k), products)
        sums += np.add.reduce(products, axis=(1, 2))
