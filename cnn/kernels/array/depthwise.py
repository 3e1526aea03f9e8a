"""Depthwise convolutions: no matrix products, but element-wise ones, one for each pixel of the window."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for
from cnn.kernels.array.windows import Tile, TileSize, Windows
from cnn.kernels.memory import empty

MULTIPLY_ADDS = 3  # of one thread in a nanosecond


def forward(x: Array, weight: Array, bias: Array | None, geometry: Any) -> Array:
    """Add up the shifted images, each times its weights: (N, C, H, W) -> (N, C, OH, OW)."""
    oh, ow = geometry.output_size(*x.shape[2:])
    y = empty((len(x), oh, ow, len(weight)), x.dtype)
    size = TileSize.choose(x.shape, geometry, len(weight), x.itemsize)
    weight_rows = repeat_weights(weight, ow)

    def work(tiles: Iterator[Tile], scratch: Scratch) -> None:
        windows = Windows(x, geometry, size, scratch)
        memory = scratch((*size, ow, len(weight)), x.dtype)
        for tile in tiles:
            out, padded = y[tile], windows.padded_tile(tile)
            product = memory[: out.shape[0], : out.shape[1]]
            for i, (_, _, rows, columns) in enumerate(geometry.window_offsets(out.shape[1:3])):
                np.multiply(padded[:, rows, columns], weight_rows[i], out=product if i else out)
                if i:
                    out += product
            if bias is not None:
                out += bias

    parallel_for(work, size.tiles(len(x), oh), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """Add the gradient times each weight to the pixels that the weight saw: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    counts = grad.shape[2:]
    (top, bottom), (left, right) = geometry.needed_padding(counts, h, w)
    x, images = empty((n, h, w, c), grad.dtype), grad.transpose(0, 2, 3, 1)
    weight_rows = repeat_weights(weight, counts[1])

    def work(indices: Iterator[int], scratch: Scratch) -> None:
        padded, product = scratch((top + h + bottom, left + w + right, c), x.dtype), scratch((*counts, c), x.dtype)
        for i in indices:
            padded[...] = 0
            for weight_row, (_, _, rows, columns) in zip(weight_rows, geometry.window_offsets(counts), strict=True):
                np.multiply(images[i], weight_row, out=product)
                padded[rows, columns] += product
            x[i] = padded[top : top + h, left : left + w]

    parallel_for(work, range(n), grad.size * weight[0].size / MULTIPLY_ADDS)
    return x.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any) -> Array:
    """Sum the gradient times the pixels that each weight saw: (N, C, OH, OW) -> shape = (C, 1, KH, KW)."""
    images, taps = grad.transpose(0, 2, 3, 1), shape[2] * shape[3]
    size = TileSize.choose(x.shape, geometry, shape[0], x.itemsize)
    tiles = size.tiles(len(x), grad.shape[2])
    sums = np.empty((len(tiles), taps, shape[0]), x.dtype)

    def work(indices: Iterator[int], scratch: Scratch) -> None:
        windows = Windows(x, geometry, size, scratch)
        memory = scratch((math.prod(size) * grad.shape[3], shape[0]), x.dtype)
        ones = np.ones(len(memory), x.dtype)
        for index in indices:
            g, padded = images[tiles[index]], windows.padded_tile(tiles[index])
            product = memory[: g.size // shape[0]]
            for i, (_, _, rows, columns) in enumerate(geometry.window_offsets(g.shape[1:3])):
                np.multiply(padded[:, rows, columns], g, out=product.reshape(g.shape))
                np.matmul(ones[: len(product)], product, out=sums[index, i])

    parallel_for(work, range(len(tiles)), grad.size * taps / MULTIPLY_ADDS)
    return sums.sum(axis=0).T.reshape(shape)


def repeat_weights(weight: Array, ow: int) -> Array:
    """Repeat the weights of each pixel of the window for a whole output row: (KH*KW, OW, C)."""
    matrix = weight.reshape(len(weight), -1).T
    return np.repeat(matrix[:, None], ow, axis=1)
