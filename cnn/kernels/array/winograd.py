"""Winograd's way F(2x2, 3x3): the four places of a pool of 2 x 2 from 16 products of two channels, not 36.

    y = A' ((G w G') * (B' d B)) A        d: 4x4 pixels, w: 3x3 weights, y: 2x2 places, * point by point

A product of polynomials is their product at as many points as it has coefficients; here the points are 0, 1, -1 and
infinity. B takes pixels to values at the points, G the weights, and A brings values back. At each of the 16 points, all
channels of all windows of 4 x 4 are one product of matrices, and each map is one as well, for both axes at once:
`PIXELS` (16, 16), `WEIGHTS` (16, 9), `PLACES` (4, 16). So the calls of NumPy are few and long.

The gradients are the same maps turned around: of the weights, G' ((B' d B) * (A g A')) G summed over all windows; of
the pixels, B ((A g A') * (G w G')) B', added up where windows overlap.

Fewer digits are lost than with F(4x4, 3x3) (`jit/engine/winograd.py`): the largest error against float64 is about
that of direct sums (`pytest tests/kernels/test_array_winograd.py -rP`). float64 never goes this way. No pixel changes a
digit of a place that does not see it; but infinity and NaN, times the zeros of the maps, make NaN of all four places of
a pool of which one sees them, and NumPy warns.

Source: Winograd 1980, Arithmetic complexity of computations; Lavin and Gray 2016, Fast algorithms for convolutional
neural networks, arXiv 1509.09308, section 4.1.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Scratch, cut, shared, summed
from cnn.kernels.array.windows import corners_of
from cnn.kernels.dispatch import one_blas_thread
from cnn.kernels.memory import empty

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32).T
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32).T
PIXELS, WEIGHTS, PLACES = np.kron(B.T, B.T), np.kron(G, G), np.kron(A.T, A.T)
POINTS = 16

TILE_BYTES = 4 * 1024 * 1024  # of pixels, their windows, values at points and places; the weights are beside them
LEAST_CHANNELS = 20  # C K / (C + K): with fewer, the maps, of C + K, take longer than is saved in the products, of C K
MULTIPLY_ADDS = 80  # of a plain convolution, of one thread in a nanosecond
MOST_NUMBERS = 2 * 1024 * 1024  # of the weights at the points: with more there is little gain, and much memory is used
LEAST_WINDOWS = 32  # of a tile: with fewer, a product is busy with reading the weights


def plan(shape: tuple[int, ...], geometry: Any, outputs: int, dtype: Any, groups: int = 1) -> int:
    """Return how many images (N, C, H, W) make a tile; 0 where another way is faster.

    For windows of 3 x 3 at every pixel with a rim of one, in images of an even height and width that fit in a tile.
    """
    n, c, h, w = shape
    if geometry != ((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))) or groups > 1 or h % 2 or w % 2 or dtype != np.float32:
        return 0
    if c * outputs < LEAST_CHANNELS * (c + outputs) or POINTS * c * outputs > MOST_NUMBERS:
        return 0
    windows = h * w // 4
    numbers = (h + 2) * (w + 2) * c + windows * (POINTS * (2 * c + max(c, outputs)) + 4 * outputs)
    most = min(n, TILE_BYTES // (4 * numbers))
    if most * windows < LEAST_WINDOWS:
        return 0
    even = -(-n // -(-n // most))  # tiles of about the same size
    return even if even * windows >= LEAST_WINDOWS else most


def at_points(weight: Array) -> Array:
    """(K, C, 3, 3) -> (points, C, K)"""
    k, c, _, _ = weight.shape
    with one_blas_thread():
        return np.matmul(WEIGHTS, weight.transpose(2, 3, 1, 0).reshape(9, c * k)).reshape(POINTS, c, k)


def from_points(sums: Array) -> Array:
    """The map of `at_points` turned around, which takes gradients back: (points, C, K) -> (K, C, 3, 3)"""
    _, c, k = sums.shape
    with one_blas_thread():
        return np.matmul(WEIGHTS.T, sums.reshape(POINTS, c * k)).reshape(3, 3, c, k).transpose(3, 2, 0, 1)


def forward(x: Array, weight: Array, bias: Array | None, step: int) -> Array:
    """(N, C, H, W) -> (N, K, H, W), ``step`` images at a time"""
    (n, _, h, w), k = x.shape, len(weight)
    y = empty((n, h, w, k), x.dtype)
    line = None if bias is None else np.tile(bias, (w, 1))  # longer rows are added faster
    weights = at_points(weight)

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        corners = Corners(x, weights, step, scratch)
        for start in starts:
            tile = y[start : start + step]
            corners_of(tile)[...] = corners.of(slice(start, start + len(tile))).reshape(2, 2, -1, h // 2, w // 2, k)
            if line is not None:
                tile += line

    shared(work, range(0, n, step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, step: int) -> Array:
    """What each weight saw times the gradient of what it made; -> (K, C, 3, 3)"""
    (n, k, h, w), c, images = grad.shape, x.shape[1], grad.transpose(0, 2, 3, 1)

    def make(scratch: Scratch) -> Callable[..., None]:
        gradients, memory = Gradients(x, k, step, scratch), scratch((step * h * w * k,), x.dtype)

        def add(tile: slice, sums: Array) -> None:
            corners = corners_of(images[tile])
            four = memory[: corners.size].reshape(corners.shape)
            four[...] = corners
            gradients.add(tile, four.reshape(4, *four.shape[2:]), sums)

        return add

    (sums,) = summed(make, cut(n, step), [(POINTS, c, k)], x.dtype, grad.size * 9 * c / MULTIPLY_ADDS)
    return from_points(sums)


class AtPoints:
    """What windows of 4 x 4 pixels, two apart, have at the points.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    step : int
        How many of them make a tile.
    room : callable
        Makes arrays for intermediate results.
    """

    def __init__(self, x: Array, step: int, scratch: Scratch) -> None:
        _, c, h, w = x.shape
        self.x, self.shape = x.transpose(0, 2, 3, 1), (h // 2, w // 2, c)
        self.padded = scratch((step, h + 2, w + 2, c), x.dtype)
        for rim in (self.padded[:, 0], self.padded[:, -1], self.padded[:, :, 0], self.padded[:, :, -1]):
            rim[...] = 0
        self.windows = scratch((POINTS * step * h * w // 4 * c,), x.dtype)
        self.memory = scratch((POINTS * step * h * w // 4 * c,), x.dtype)
        self.views: dict[int, tuple[Array, ...]] = {}  # of tiles with so many images

    def of(self, tile: slice) -> Array:
        """Return those of some images: (points, windows, C); the next tile overwrites them."""
        n = tile.stop - tile.start
        if n not in self.views:
            self.views[n] = self.look(n)
        inner, seen, copy, rows, values, result = self.views[n]
        np.copyto(inner, self.x[tile])
        np.copyto(copy, seen)
        np.matmul(PIXELS, rows, out=values)
        return result

    def look(self, n: int) -> tuple[Array, ...]:
        """See the image's place in its rim, all windows, what they are copied to, twice, and what comes of it."""
        down, across, c = self.shape
        along_n, along_h, along_w, along_c = self.padded.strides
        strides = along_h, along_w, along_n, 2 * along_h, 2 * along_w, along_c
        seen = np.ndarray((4, 4, n, down, across, c), self.padded.dtype, self.padded, strides=strides)
        seen.flags.writeable = False
        copy, values = (memory[: seen.size].reshape(POINTS, -1) for memory in (self.windows, self.memory))
        return self.padded[:n, 1:-1, 1:-1], seen, copy.reshape(seen.shape), copy, values, values.reshape(POINTS, -1, c)


class Corners:
    """A convolution at the four corners of each pool of 2 x 2, with weights at the points, (points, C, K)."""

    def __init__(self, x: Array, weights: Array, step: int, scratch: Scratch) -> None:
        (_, _, h, w), k = x.shape, weights.shape[-1]
        self.windows, self.weights, self.shape = AtPoints(x, step, scratch), weights, (h // 2, w // 2, k)
        self.values = scratch((POINTS * step * h * w // 4 * k,), x.dtype)
        self.memory = scratch((step * h * w * k,), x.dtype)

    def of(self, tile: slice) -> Array:
        """Return those of some images, (4, N, H/2, W/2, K); the next tile overwrites them."""
        pixels, k = self.windows.of(tile), self.shape[-1]
        count = pixels.shape[1]
        values = self.values[: POINTS * count * k].reshape(POINTS, count, k)
        np.matmul(pixels, self.weights, out=values)
        four = self.memory[: 4 * count * k].reshape(4, -1)
        np.matmul(PLACES, values.reshape(POINTS, -1), out=four)
        return four.reshape(4, tile.stop - tile.start, *self.shape)


class Gradients:
    """Those of the weights, from those of the corners of pools of 2 x 2; and those of the pixels.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    outputs : int
        How many channels the convolution makes.
    step : int
        How many images make a tile.
    room : callable
        Makes arrays for intermediate results.
    back : tuple of ndarray, optional
        If the gradients of the pixels are wanted: the weights at the points, (points, C, K), and where those gradients
        are written, (N, H, W, C).
    """

    def __init__(
        self, x: Array, outputs: int, step: int, scratch: Scratch, back: tuple[Array, Array] | None = None
    ) -> None:
        _, c, h, w = x.shape
        self.windows, self.back = AtPoints(x, step, scratch), back
        self.product = scratch((POINTS, c, outputs), x.dtype)
        self.values = scratch((POINTS * step * h * w // 4 * max(c, outputs),), x.dtype)

    def add(self, tile: slice, four: Array, sums: Array) -> None:
        """Add to the sums (points, C, K) what gradients (4, N, H/2, W/2, K) of some images give, and write those of
        their pixels.
        """
        pixels, k = self.windows.of(tile), four.shape[-1]
        count, c = pixels.shape[1:]
        values = self.values[: POINTS * count * k].reshape(POINTS, count, k)
        np.matmul(PLACES.T, four.reshape(4, -1), out=values.reshape(POINTS, -1))
        np.matmul(pixels.transpose(0, 2, 1), values, out=self.product)
        sums += self.product
        if self.back is None:
            return
        weights, x_grad = self.back
        np.matmul(values, weights.transpose(0, 2, 1), out=pixels)  # what was at the points is no longer needed,
        spread = self.values[: pixels.size].reshape(POINTS, -1)  # and then neither are the gradients there
        np.matmul(PIXELS.T, pixels.reshape(POINTS, -1), out=spread)
        overlap(spread.reshape(4, 4, *four.shape[1:4], c), x_grad[tile])


def overlap(windows: Array, x: Array) -> None:
    """Add up windows (4, 4, N, H/2, W/2, C), two pixels apart, that start one pixel before the image.

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
