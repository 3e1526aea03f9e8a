"""Winograd's way F(2x2, 3x3): the four places of a pool of 2 x 2 from 16 products of two channels, not 36.

    y = A ((B d B') * (G w G')) A'        d: 4x4 pixels, w: 3x3 weights, y: 2x2 places, * point by point

A product of polynomials is their product at as many points as it has coefficients; here the points are 0, 1, -1 and
infinity. B takes pixels to values at the points, G the weights, and A brings values back. At each of the 16 points, all
channels of all windows of 4 x 4 are one product of matrices, and each map is one as well, for both axes at once:
`PIXELS` (16, 16), `WEIGHTS` (16, 9), `PLACES` (4, 16). So the calls of NumPy are few and long.

The gradients are the same maps turned around: of the weights, G' ((B d B') * (A' g A)) G summed over all windows; of
the pixels, B' ((A' g A) * (G w G')) B, added up where windows overlap.

Fewer digits are lost than with larger windows of points (`cnn/kernels/jit/winograd.py`): the largest error against
float64 is that of direct sums (`pytest tests/kernels/test_array_winograd.py -rP`). float64 never goes this way. What is
not finite reaches all four places of a pool of which one sees it.

Source: Winograd 1980, Arithmetic complexity of computations; Lavin and Gray 2016, Fast algorithms for convolutional
neural networks, arXiv 1509.09308, section 4.1.
"""

import functools
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Room, in_pieces, shared, tiles
from cnn.kernels.array.windows import corners_of
from cnn.kernels.memory import empty

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
PIXELS, WEIGHTS, PLACES = np.kron(B, B), np.kron(G, G), np.kron(A, A)
POINTS = 16

TILE_BYTES = 4 * 1024 * 1024  # of pixels, values at points and places
LEAST_CHANNELS = 20  # C K / (C + K): with fewer, the maps, of C + K, take longer than is saved in the products, of C K
MULTIPLY_ADDS = 80  # of a plain convolution, of one thread in a nanosecond
LEAST_WINDOWS = 64  # of a tile: with fewer, a product is busy with reading the weights


def plan(shape: tuple[int, ...], slide: Any, outputs: int, dtype: Any, groups: int = 1) -> int:
    """Return how many pictures (N, C, H, W) make a tile; 0 where another way is faster, or this one has too few digits.

    For windows of 3 x 3 at every pixel, pictures of an even height and width, and a rim of one pixel.
    """
    n, c, h, w = shape
    if slide != ((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))) or groups > 1 or h % 2 or w % 2 or dtype != np.float32:
        return 0
    if c * outputs < LEAST_CHANNELS * (c + outputs):
        return 0
    windows = h * w // 4
    numbers = (h + 2) * (w + 2) * c + windows * (POINTS * (2 * c + max(c, outputs)) + 4 * outputs)
    most = TILE_BYTES // (4 * numbers)
    count = -(-n // max(1, -(-n // max(1, most))))  # tiles of about the same size
    return count if most and count * windows >= LEAST_WINDOWS else 0


def at_points(weight: Array) -> Array:
    """(K, C, 3, 3) -> (points, C, K)"""
    k, c, _, _ = weight.shape
    return np.matmul(WEIGHTS, weight.transpose(2, 3, 1, 0).reshape(9, c * k)).reshape(POINTS, c, k)


def from_points(sums: Array) -> Array:
    """The map of `at_points` turned around: (points, C, K) -> (K, C, 3, 3)"""
    _, c, k = sums.shape
    return np.matmul(WEIGHTS.T, sums.reshape(POINTS, c * k)).reshape(3, 3, c, k).transpose(3, 2, 0, 1)


def forward(x: Array, weight: Array, bias: Array | None, step: int) -> Array:
    """(N, C, H, W) -> (N, K, H, W), ``step`` pictures at a time"""
    (n, _, h, w), k = x.shape, len(weight)
    y = empty((n, h, w, k), x.dtype)
    line = None if bias is None else np.tile(bias, (w, 1))  # longer rows are added faster

    def work(starts: Iterator[int], room: Room) -> None:
        corners = Corners(x, weight, step, room)
        for start in starts:
            tile = y[start : start + step]
            corners_of(tile)[...] = corners.of(slice(start, start + len(tile))).reshape(2, 2, -1, h // 2, w // 2, k)
            if line is not None:
                tile += line

    shared(work, range(0, n, step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, step: int) -> Array:
    """What each weight saw times the gradient of what it made; -> (K, C, 3, 3)"""
    (n, k, h, w), c = grad.shape, x.shape[1]
    pictures, pieces = grad.transpose(0, 2, 3, 1), in_pieces(tiles(n, step), POINTS * c * k)
    sums = np.zeros((len(pieces), POINTS, c, k), x.dtype)

    def work(numbers: Iterator[int], room: Room) -> None:
        gradients, memory = Gradients(x, k, step, room), room((step * h * w * k,), x.dtype)
        for i in numbers:
            for tile in pieces[i]:
                corners = corners_of(pictures[tile])
                four = memory[: corners.size].reshape(corners.shape)
                four[...] = corners
                gradients.add(tile, four.reshape(4, *four.shape[2:]), sums[i])

    shared(work, range(len(pieces)), grad.size * 9 * c / MULTIPLY_ADDS)
    return from_points(functools.reduce(operator.add, sums))  # in the same order however many threads there are


class Pixels:
    """What windows of 4 x 4 pixels, two apart, have at the points.

    Parameters
    ----------
    x : ndarray
        Pictures (N, C, H, W).
    step : int
        How many of them make a tile.
    room : callable
        Makes arrays for intermediate results.
    """

    def __init__(self, x: Array, step: int, room: Room) -> None:
        _, c, h, w = x.shape
        self.x, self.shape = x.transpose(0, 2, 3, 1), (h // 2, w // 2, c)
        self.padded = room((step, h + 2, w + 2, c), x.dtype)
        for rim in (self.padded[:, 0], self.padded[:, -1], self.padded[:, :, 0], self.padded[:, :, -1]):
            rim[...] = 0
        self.windows = room((POINTS * step * h * w // 4 * c,), x.dtype)
        self.memory = room((POINTS * step * h * w // 4 * c,), x.dtype)
        self.views: dict[int, tuple[Array, ...]] = {}  # of tiles with so many pictures

    def of(self, tile: slice) -> Array:
        """Return those of some pictures: (points, windows, C); the next tile overwrites them."""
        n = tile.stop - tile.start
        if n not in self.views:
            self.views[n] = self.look(n)
        inner, seen, copy, rows, values, result = self.views[n]
        np.copyto(inner, self.x[tile])
        np.copyto(copy, seen)
        np.matmul(PIXELS, rows, out=values)
        return result

    def look(self, n: int) -> tuple[Array, ...]:
        """See the picture's place in its rim, all windows, what they are copied to, twice, and what comes of it."""
        down, across, c = self.shape
        along_n, along_h, along_w, along_c = self.padded.strides
        strides = along_h, along_w, along_n, 2 * along_h, 2 * along_w, along_c
        seen = np.ndarray((4, 4, n, down, across, c), self.padded.dtype, self.padded, strides=strides)
        copy, values = (memory[: seen.size].reshape(POINTS, -1) for memory in (self.windows, self.memory))
        return self.padded[:n, 1:-1, 1:-1], seen, copy.reshape(seen.shape), copy, values, values.reshape(POINTS, -1, c)


class Corners:
    """A convolution at the four corners of each pool of 2 x 2."""

    def __init__(self, x: Array, weight: Array, step: int, room: Room) -> None:
        self.pixels, self.weights = Pixels(x, step, room), at_points(weight)
        self.shape = x.shape[2] // 2, x.shape[3] // 2, len(weight)
        windows = step * x.shape[2] * x.shape[3] // 4
        self.values = room((POINTS * windows * len(weight),), x.dtype)
        self.memory = room((4 * windows * len(weight),), x.dtype)

    def of(self, tile: slice) -> Array:
        """Return those of some pictures, (4, N, H/2, W/2, K); the next tile overwrites them."""
        pixels, k = self.pixels.of(tile), self.shape[-1]
        windows = pixels.shape[1]
        values = self.values[: POINTS * windows * k].reshape(POINTS, windows, k)
        np.matmul(pixels, self.weights, out=values)
        four = self.memory[: 4 * windows * k].reshape(4, -1)
        np.matmul(PLACES, values.reshape(POINTS, -1), out=four)
        return four.reshape(4, tile.stop - tile.start, *self.shape)


class Gradients:
    """Those of the weights, from those of the corners of pools of 2 x 2; and those of the pixels.

    Parameters
    ----------
    x : ndarray
        Pictures (N, C, H, W).
    outputs : int
        How many channels the convolution makes.
    step : int
        How many pictures make a tile.
    room : callable
        Makes arrays for intermediate results.
    weight, x_grad : ndarray, optional
        (K, C, 3, 3), and where the gradients of the pixels are written if they are wanted, (N, H, W, C).
    """

    def __init__(
        self, x: Array, outputs: int, step: int, room: Room, weight: Array | None = None, x_grad: Array | None = None
    ) -> None:
        _, c, h, w = x.shape
        self.pixels, self.x_grad = Pixels(x, step, room), x_grad
        self.weights = None if weight is None else at_points(weight).transpose(0, 2, 1)
        self.product = room((POINTS, c, outputs), x.dtype)
        self.values = room((POINTS * step * h * w // 4 * max(c, outputs),), x.dtype)

    def add(self, tile: slice, four: Array, sums: Array) -> None:
        """Add to the sums (points, C, K) what some pictures give, of gradients (4, N, H/2, W/2, K), and fill theirs."""
        pixels, k = self.pixels.of(tile), four.shape[-1]
        windows, c = pixels.shape[1:]
        values = self.values[: POINTS * windows * k].reshape(POINTS, windows, k)
        np.matmul(PLACES.T, four.reshape(4, -1), out=values.reshape(POINTS, -1))
        np.matmul(pixels.transpose(0, 2, 1), values, out=self.product)
        sums += self.product
        if self.x_grad is None or self.weights is None:
            return
        np.matmul(values, self.weights, out=pixels)  # what the pixels had at the points is no longer needed,
        spread = self.values[: pixels.size].reshape(POINTS, -1)  # and then neither are the gradients there
        np.matmul(PIXELS.T, pixels.reshape(POINTS, -1), out=spread)
        overlap(spread.reshape(4, 4, *four.shape[1:4], c), self.x_grad[tile])


def overlap(windows: Array, x: Array) -> None:
    """Add up windows (4, 4, N, H/2, W/2, C), two pixels apart, that start one pixel before the picture.

    Line 1 of a window is line 3 of the one above it, and line 2 is line 0 of the one below; so for columns.
    """
    before, first, second, after = windows
    first[:, :, 1:] += after[:, :, :-1]
    second[:, :, :-1] += before[:, :, 1:]
    before, first, second, after = windows[1:3].swapaxes(0, 1)
    first[..., 1:, :] += after[..., :-1, :]
    second[..., :-1, :] += before[..., 1:, :]
    n, h, w, c = x.shape
    x.reshape(n, h // 2, 2, w // 2, 2, c)[...] = windows[1:3, 1:3].transpose(2, 3, 0, 4, 1, 5)
