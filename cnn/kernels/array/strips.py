"""Strip matrices: a window matrix (im2col) of windows one row high, written once for all rows of the kernel.

A row of the kernel sees KW*C adjacent numbers in a row of the image. Everything that it sees at all output positions of
an image is a matrix, and the next row of the kernel sees the same matrix some image rows further down:

    row of the image   row 0 of the kernel   row 1   row 2
    0  aaaa              a (output row 0)
    1  bbbb              b (output row 1)      b (0)
    2  cccc              c (output row 2)      c (1)   c (0)
    3  dddd                                    d (2)   d (1)
    4  eeee                                            e (2)

So for windows of 3 x 3 a third of the full window matrix is written, and there is one product for each row of the
kernel; their results are added. These products are small, and OpenBLAS multiplies small matrices without packing
(copying) its inputs.

Source: Cho and Brand 2017, MEC: memory-efficient convolution for deep neural network, arXiv 1706.06873.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for, parallel_sum, tile_slices
from cnn.kernels.array.windows import FEW_CHANNELS, TileSize, Windows, as_matrix
from cnn.kernels.memory import empty

SMALL_PRODUCT = 1_000_000  # multiply-adds
MIN_ROWS = 28  # of the left matrix of a small product: with fewer it spends its time reading the weights
TILE_BYTES = 2400 * 1024  # of strips, and of their products
MULTIPLY_ADDS = 50  # of one thread in a nanosecond


class Plan(NamedTuple):
    """How many output rows make a product, and how many images make a tile."""

    rows: int
    images: int


def plan(
    shape: tuple[int, ...], geometry: Any, outputs: int, groups: int = 1, with_weights: bool = False
) -> Plan | None:
    """Plan the products for images (N, C, H, W), or return None where another algorithm is faster.

    That is so for kernels of one row, strides, few channels or many, and images larger than a tile. ``with_weights``:
    plan for the gradient of the weights.
    """
    (n, c, h, w), (kh, kw) = shape, geometry.size
    if groups > 1 or kh == 1 or geometry.stride[0] > 1 or c <= FEW_CHANNELS:
        return None
    oh, ow = geometry.output_size(h, w)
    most = SMALL_PRODUCT // (kw * c * outputs * ow)
    rows = next((i for i in range(min(most, oh), 0, -1) if oh % i == 0), 0)  # all products have the same size
    if rows * ow < MIN_ROWS:
        return None
    numbers = (oh + geometry.dilation[0] * (kh - 1)) * ow * kw * c + (kh + 1) * oh * ow * outputs
    if with_weights:
        if kw * c > 2 * rows * ow:  # adding the products would take longer than computing them
            return None
        numbers += kh * oh // rows * kw * c * outputs
    most = TILE_BYTES // (4 * numbers)
    return Plan(rows, max(1, -(-n // max(1, -(-n // most))))) if most else None  # tiles of about the same size


def forward(x: Array, weight: Array, bias: Array | None, geometry: Any, planned: Plan) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    (oh, ow), k, step = geometry.output_size(*x.shape[2:]), len(weight), planned.images
    y = empty((len(x), oh, ow, k), x.dtype)
    bias_row = None if bias is None else np.tile(bias, (ow, 1))  # longer rows are added faster

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        products = Products(x, weight, geometry, planned, scratch)
        for start in starts:
            tile = y[start : start + step]
            add_up(products.compute(slice(start, start + len(tile))), tile)
            if bias_row is not None:
                tile += bias_row

    parallel_for(work, range(0, len(x), step), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def add_up(parts: Array, total: Array) -> None:
    """Write the sum of two arrays or more to ``total``."""
    first, second, *others = parts
    np.add(first, second, out=total)
    for other in others:
        total += other


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, planned: Plan) -> Array:
    """Multiply the strips with the gradient of their outputs and add up; -> (K, C, KH, KW)"""
    (k, c, kh, kw), images = shape, grad.transpose(0, 2, 3, 1)

    def make(scratch: Scratch) -> Callable[..., None]:
        strips = Strips(x, geometry, planned, scratch)
        weights = WeightSums(strips.shape, k, x.dtype, scratch)
        return lambda tile, sums: weights.add(strips.matrices(tile), images[tile], sums)

    nanoseconds = grad.size * kh * kw * c / MULTIPLY_ADDS
    (sums,) = parallel_sum(make, tile_slices(len(x), planned.images), [(kh, kw * c, k)], x.dtype, nanoseconds)
    return sums.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)


class Strips:
    """The strip matrices of some images, in memory that is used again for each tile.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    geometry : WindowGeometry
        How the window moves; its vertical stride is 1.
    planned : Plan
    scratch : callable
        Makes arrays for intermediate results.

    Attributes
    ----------
    shape : tuple of int
        Of what each row of the kernel sees in a tile: (KH, N, products, positions, KW*C)
    """

    def __init__(self, x: Array, geometry: Any, planned: Plan, scratch: Scratch) -> None:
        self.geometry = geometry
        (kh, kw), (_, right) = geometry.size, geometry.dilation
        # a window one row high passes over each row of the padded image
        one = geometry._replace(size=(1, kw), dilation=(1, right))
        self.height = one.output_size(*x.shape[2:])[0]
        self.windows = Windows(x, one, TileSize(planned.images, self.height), scratch)
        oh, ow = geometry.output_size(*x.shape[2:])
        self.shape = kh, planned.images, oh // planned.rows, planned.rows * ow, kw * x.shape[1]
        self.ow = ow
        self.views: dict[int, Array] = {}  # for each number of images in a tile

    def matrices(self, tile: slice) -> Array:
        """Return what each row of the kernel sees; the next tile overwrites it."""
        matrix = self.windows.matrix((tile, slice(0, self.height)))
        n = tile.stop - tile.start
        if n not in self.views or self.windows.memory is None:
            self.views[n] = self.make_view(matrix[0], n)
        return self.views[n]

    def make_view(self, matrix: Array, n: int) -> Array:
        """View a matrix (N*height*OW, KW*C) as what each row of the kernel sees.

        The last row of the kernel starts dilation (KH - 1) image rows below the first, and each sees as many image rows
        as there are output rows.
        """
        kh, _, products, positions, length = self.shape
        number = matrix.itemsize
        image_row, row = self.ow * length * number, length * number
        strides = self.geometry.dilation[0] * image_row, self.height * image_row, positions * row, row, number
        shape = kh, n, products, positions, length
        view = np.ndarray(shape, matrix.dtype, matrix, strides=strides)  # as_strided takes ten times as long
        view.flags.writeable = False
        return view


class Products:
    """The product of each row of the kernel with what it sees; their sum is the convolution.

    Parameters
    ----------
    weight : ndarray
        (K, C, KH, KW); for the others see `Strips`.
    """

    def __init__(self, x: Array, weight: Array, geometry: Any, planned: Plan, scratch: Scratch) -> None:
        self.strips = Strips(x, geometry, planned, scratch)
        k, c, kh, kw = weight.shape
        self.weights = as_matrix(weight, 1).reshape(kh, 1, 1, kw * c, k)
        self.output_size = geometry.output_size(*x.shape[2:])
        self.memory = scratch((kh, planned.images, *self.output_size, k), x.dtype).reshape(-1)

    def compute(self, tile: slice) -> Array:
        """Return the products for some images: (KH, N, OH, OW, K); the next tile overwrites them."""
        matrices = self.strips.matrices(tile)
        k = self.weights.shape[-1]
        out = self.memory[: matrices.size // matrices.shape[-1] * k].reshape(*matrices.shape[:-1], k)
        np.matmul(matrices, self.weights, out=out)
        return out.reshape(*matrices.shape[:2], *self.output_size, k)


class WeightSums:
    """Adds the contributions of some images to the sums of a weight gradient, (KH, KW*C, K).

    Parameters
    ----------
    shape : tuple of int
        Shape of the largest strip matrices, see `Strips`.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, dtype: Any, scratch: Scratch) -> None:
        kh, n, products, _, length = shape
        self.memory = scratch((kh, n, products, length, outputs), dtype)

    def add(self, matrices: Array, grad: Array, sums: Array) -> None:
        """Add the products of matrices (KH, N, products, positions, KW*C) and gradients (N, OH, OW, K)."""
        _, n, products, positions, _ = matrices.shape
        out = self.memory[:, :n]
        np.matmul(matrices.transpose(0, 1, 2, 4, 3), grad.reshape(n, products, positions, -1), out=out)
        sums += np.add.reduce(out, axis=(1, 2))
