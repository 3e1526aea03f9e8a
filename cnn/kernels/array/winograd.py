"""The Winograd algorithm F(2x2, 3x3): the four outputs of a tile of 2 x 2 from 16 products of two channels, not 36.

    y = A' ((G w G') * (B' d B)) A        d: 4x4 pixels, w: 3x3 weights, y: 2x2 outputs, * point by point

A product of polynomials is the product of their values at as many points as it has coefficients; here the points are 0,
1, -1 and infinity. B maps pixels to values at the points, G maps the weights, and A maps the values to outputs. At each
of the 16 points, all channels of all windows of 4 x 4 are one matrix product. Each map is a matrix product as well, for
both axes at once: `PIXELS_TO_POINTS` (16, 16), `WEIGHTS_TO_POINTS` (16, 9), `POINTS_TO_OUTPUTS` (4, 16). So there are
few NumPy calls, and each has much to do.

The gradients use the transposed maps: that of the weights is G' ((B' d B) * (A g A')) G summed over all windows; that
of the pixels is B ((A g A') * (G w G')) B', added up where windows overlap.

Fewer digits are lost than with F(4x4, 3x3) (`jit/engine/winograd.py`): the largest error against float64 is about
that of direct sums (`pytest tests/kernels/test_array_winograd.py -rP`). float64 never uses this algorithm. A pixel
changes no digit of an output that does not see it; but infinity and NaN, times the zeros of the maps, would turn all
four outputs of a tile of 2 x 2 into NaN if one of them sees the pixel, and a very large pixel would spoil the gradient
of weights that do not see it. Images with such pixels go the direct way: see `uneven_images`.

Source: Winograd 1980, Arithmetic complexity of computations; Lavin and Gray 2016, Fast algorithms for convolutional
neural networks, arXiv 1509.09308, section 4.1.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for, parallel_sum, tile_slices
from cnn.kernels.array.windows import pool_corners
from cnn.kernels.dispatch import one_blas_thread
from cnn.kernels.memory import empty

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32).T
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32).T
PIXELS_TO_POINTS, WEIGHTS_TO_POINTS, POINTS_TO_OUTPUTS = np.kron(B.T, B.T), np.kron(G, G), np.kron(A.T, A.T)
POINTS = 16

TILE_BYTES = 4 * 1024 * 1024  # of pixels, their windows, values at points and outputs; the weights are not counted
MIN_CHANNELS = 20  # C K / (C + K): with fewer, the maps, of C + K, take longer than is saved in the products, of C K
MULTIPLY_ADDS = 80  # of a plain convolution, of one thread in a nanosecond
MAX_WEIGHTS = 2 * 1024 * 1024  # at the points: with more there is little gain, and much memory is used
# of 2, between the largest pixel of an even image and the geometric mean of its pixels: as in jit/engine/image_ops.py,
# but with the norms of the pixels, which are one call of NumPy, instead of their largest channels
MAX_POWERS = 6
MIN_WINDOWS = 32  # in a tile: with fewer, a product spends its time reading the weights


def plan(shape: tuple[int, ...], geometry: Any, outputs: int, dtype: Any, groups: int = 1) -> int:
    """Return how many images (N, C, H, W) make a tile; 0 where another algorithm is faster.

    For windows of 3 x 3 with stride 1 and padding 1, in images of an even height and width that fit in a tile.
    """
    n, c, h, w = shape
    if geometry != ((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))) or groups > 1 or h % 2 or w % 2 or dtype != np.float32:
        return 0
    if c * outputs < MIN_CHANNELS * (c + outputs) or POINTS * c * outputs > MAX_WEIGHTS:
        return 0
    windows = h * w // 4
    numbers = (h + 2) * (w + 2) * c + windows * (POINTS * (2 * c + max(c, outputs)) + 4 * outputs)
    most = min(n, TILE_BYTES // (4 * numbers))
    if most * windows < MIN_WINDOWS:
        return 0
    even = -(-n // -(-n // most))  # tiles of about the same size
    return even if even * windows >= MIN_WINDOWS else most


@without_warnings  # squares that overflow are infinite, and found below
def uneven_images(*arrays: Array) -> Array | None:
    """Return the numbers of the images that hold infinity, NaN or a pixel much larger than most, in any of the arrays
    (N, C, H, W); None if there are none.

    The size of a pixel is the norm of its channels. A few large ones hardly change the mean of the logarithms. Black
    pixels, of which there are many after ReLU, do not count.
    """
    uneven: Any = False
    for x in arrays:
        images = x.transpose(0, 2, 3, 1)
        squares = np.vecdot(images, images).reshape(len(x), -1)
        exponents = (squares.view(np.int32) >> 23) & 255  # twice the power of 2 that is in the norm, and 127 more
        largest, counted = exponents.max(axis=1), np.count_nonzero(exponents, axis=1)
        uneven |= (largest == 255) | (largest * counted - exponents.sum(axis=1) > 2 * MAX_POWERS * counted)
    return np.flatnonzero(uneven) if uneven.any() else None


def blackened(x: Array, images: Array) -> Array:
    """Return a copy with zeros instead of some of the images."""
    x = x.copy(order="K")
    x[images] = 0
    return x


def weights_to_points(weight: Array) -> Array:
    """(K, C, 3, 3) -> (points, C, K)"""
    k, c, _, _ = weight.shape
    with one_blas_thread():
        return np.matmul(WEIGHTS_TO_POINTS, weight.transpose(2, 3, 1, 0).reshape(9, c * k)).reshape(POINTS, c, k)


def points_to_weights(sums: Array) -> Array:
    """Apply the transpose of `weights_to_points`, which maps gradients back: (points, C, K) -> (K, C, 3, 3)"""
    _, c, k = sums.shape
    with one_blas_thread():
        return np.matmul(WEIGHTS_TO_POINTS.T, sums.reshape(POINTS, c * k)).reshape(3, 3, c, k).transpose(3, 2, 0, 1)


def forward(x: Array, weight: Array, bias: Array | None, step: int) -> Array:
    """(N, C, H, W) -> (N, K, H, W), ``step`` images at a time"""
    (n, _, h, w), k = x.shape, len(weight)
    y = empty((n, h, w, k), x.dtype)
    bias_row = None if bias is None else np.tile(bias, (w, 1))  # longer rows are added faster
    weights = weights_to_points(weight)

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        corners = Corners(x, weights, step, scratch)
        for start in starts:
            tile = y[start : start + step]
            four = corners.compute(slice(start, start + len(tile)))
            pool_corners(tile)[...] = four.reshape(2, 2, -1, h // 2, w // 2, k)
            if bias_row is not None:
                tile += bias_row

    parallel_for(work, range(0, n, step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, step: int) -> Array:
    """Multiply what each weight saw with the gradient of its output and add up; -> (K, C, 3, 3)"""
    (n, k, h, w), c, images = grad.shape, x.shape[1], grad.transpose(0, 2, 3, 1)

    def make(scratch: Scratch) -> Callable[..., None]:
        gradients, memory = Gradients(x, k, step, scratch), scratch((step * h * w * k,), x.dtype)

        def add(tile: slice, sums: Array) -> None:
            corners = pool_corners(images[tile])
            four = memory[: corners.size].reshape(corners.shape)
            four[...] = corners
            gradients.add(tile, four.reshape(4, *four.shape[2:]), sums)

        return add

    nanoseconds = grad.size * 9 * c / MULTIPLY_ADDS
    (sums,) = parallel_sum(make, tile_slices(n, step), [(POINTS, c, k)], x.dtype, nanoseconds)
    return points_to_weights(sums)


class PixelValues:
    """The values at the points of windows of 4 x 4 pixels, which start two pixels apart.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    step : int
        How many of them make a tile.
    scratch : callable
        Makes arrays for intermediate results.
    """

    def __init__(self, x: Array, step: int, scratch: Scratch) -> None:
        _, c, h, w = x.shape
        self.x, self.shape = x.transpose(0, 2, 3, 1), (h // 2, w // 2, c)
        self.padded = scratch((step, h + 2, w + 2, c), x.dtype)
        for border in (self.padded[:, 0], self.padded[:, -1], self.padded[:, :, 0], self.padded[:, :, -1]):
            border[...] = 0
        self.windows = scratch((POINTS * step * h * w // 4 * c,), x.dtype)
        self.memory = scratch((POINTS * step * h * w // 4 * c,), x.dtype)
        self.views: dict[int, tuple[Array, ...]] = {}  # for each number of images in a tile

    def compute(self, tile: slice) -> Array:
        """Return the values for some images: (points, windows, C); the next tile overwrites them."""
        n = tile.stop - tile.start
        if n not in self.views:
            self.views[n] = self.make_views(n)
        inner, windows, copy, matrix, values, result = self.views[n]
        np.copyto(inner, self.x[tile])
        np.copyto(copy, windows)
        np.matmul(PIXELS_TO_POINTS, matrix, out=values)
        return result

    def make_views(self, n: int) -> tuple[Array, ...]:
        """Return views of the padded images without their padding, of all windows, of the memory that these are copied
        to (in the shape of the windows, and as a matrix), and of the values (as a matrix, and in their final shape).
        """
        down, across, c = self.shape
        along_n, along_h, along_w, along_c = self.padded.strides
        strides = along_h, along_w, along_n, 2 * along_h, 2 * along_w, along_c
        windows = np.ndarray((4, 4, n, down, across, c), self.padded.dtype, self.padded, strides=strides)
        windows.flags.writeable = False
        matrix, values = (memory[: windows.size].reshape(POINTS, -1) for memory in (self.windows, self.memory))
        inner, copy = self.padded[:n, 1:-1, 1:-1], matrix.reshape(windows.shape)
        return inner, windows, copy, matrix, values, values.reshape(POINTS, -1, c)


class Corners:
    """A convolution at the four corners (the pixels) of each tile of 2 x 2 outputs.

    All upper left outputs come first, then all upper right ones, and so on. The weights are given as their values at
    the points, (points, C, K).
    """

    def __init__(self, x: Array, weights: Array, step: int, scratch: Scratch) -> None:
        (_, _, h, w), k = x.shape, weights.shape[-1]
        self.pixels, self.weights, self.shape = PixelValues(x, step, scratch), weights, (h // 2, w // 2, k)
        self.values = scratch((POINTS * step * h * w // 4 * k,), x.dtype)
        self.memory = scratch((step * h * w * k,), x.dtype)

    def compute(self, tile: slice) -> Array:
        """Return the outputs for some images, (4, N, H/2, W/2, K); the next tile overwrites them."""
        pixels, k = self.pixels.compute(tile), self.shape[-1]
        count = pixels.shape[1]
        values = self.values[: POINTS * count * k].reshape(POINTS, count, k)
        np.matmul(pixels, self.weights, out=values)
        four = self.memory[: 4 * count * k].reshape(4, -1)
        np.matmul(POINTS_TO_OUTPUTS, values.reshape(POINTS, -1), out=four)
        return four.reshape(4, tile.stop - tile.start, *self.shape)


class Gradients:
    """The gradient of the weights, and optionally that of the pixels, from those of the corners (see `Corners`).

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    outputs : int
        Number of output channels of the convolution.
    step : int
        How many images make a tile.
    scratch : callable
        Makes arrays for intermediate results.
    input_grad : tuple of ndarray, optional
        If the gradients of the pixels are wanted: the values of the weights at the points, (points, C, K), and the
        array that those gradients are written to, (N, H, W, C).
    """

    def __init__(
        self, x: Array, outputs: int, step: int, scratch: Scratch, input_grad: tuple[Array, Array] | None = None
    ) -> None:
        _, c, h, w = x.shape
        self.pixels, self.input_grad = PixelValues(x, step, scratch), input_grad
        self.product = scratch((POINTS, c, outputs), x.dtype)
        self.values = scratch((POINTS * step * h * w // 4 * max(c, outputs),), x.dtype)

    def add(self, tile: slice, four: Array, sums: Array) -> None:
        """Add the contribution of gradients (4, N, H/2, W/2, K) of some images to the sums (points, C, K), and write
        the gradients of their pixels.
        """
        pixels, k = self.pixels.compute(tile), four.shape[-1]
        count, c = pixels.shape[1:]
        values = self.values[: POINTS * count * k].reshape(POINTS, count, k)
        np.matmul(POINTS_TO_OUTPUTS.T, four.reshape(4, -1), out=values.reshape(POINTS, -1))
        np.matmul(pixels.transpose(0, 2, 1), values, out=self.product)
        sums += self.product
        if self.input_grad is None:
            return
        weights, x_grad = self.input_grad
        np.matmul(values, weights.transpose(0, 2, 1), out=pixels)  # overwrites the values of the pixels,
        windows = self.values[: pixels.size].reshape(POINTS, -1)  # and this the values of the gradients
        np.matmul(PIXELS_TO_POINTS.T, pixels.reshape(POINTS, -1), out=windows)
        add_overlapping(windows.reshape(4, 4, *four.shape[1:4], c), x_grad[tile])


def add_overlapping(windows: Array, x: Array) -> None:
    """Add up windows (4, 4, N, H/2, W/2, C), two pixels apart, that start one pixel before the image.

    Row 1 of a window is row 3 of the one above it, and row 2 is row 0 of the one below; the same holds for columns.
    """
    before, first, second, after = windows
    first[:, :, 1:] += after[:, :, :-1]
    second[:, :, :-1] += before[:, :, 1:]
    before, first, second, after = windows[1:3].swapaxes(0, 1)
    first[..., 1:, :] += after[..., :-1, :]
    second[..., :-1, :] += before[..., 1:, :]
    n, h, w, c = x.shape
    x.reshape(n, h // 2, 2, w // 2, 2, c)[...] = windows[1:3, 1:3].transpose(2, 3, 0, 4, 1, 5)
