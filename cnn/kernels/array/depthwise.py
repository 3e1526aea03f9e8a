"""Convolutions of each channel for itself: no matrix products, but numbers for each pixel of the window."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Scratch, shared
from cnn.kernels.array.windows import Size, Tile, Windows
from cnn.kernels.memory import empty

MULTIPLY_ADDS = 3  # of one thread in a nanosecond


def forward(x: Array, weight: Array, bias: Array | None, geometry: Any) -> Array:
    """Add up the shifted images, each times its weights: (N, C, H, W) -> (N, C, OH, OW)."""
    down, across = geometry.output_size(*x.shape[2:])
    y = empty((len(x), down, across, len(weight)), x.dtype)
    size = Size.of(x.shape, geometry, len(weight), x.itemsize)
    lines = as_lines(weight, across)

    def work(pieces: Iterator[Tile], scratch: Scratch) -> None:
        windows = Windows(x, geometry, size, scratch)
        memory = scratch((*size, across, len(weight)), x.dtype)
        for tile in pieces:
            out, seen = y[tile], windows.surrounded(tile)
            product = memory[: out.shape[0], : out.shape[1]]
            for i, (_, _, vertical, horizontal) in enumerate(geometry.window_offsets(out.shape[1:3])):
                np.multiply(seen[:, vertical, horizontal], lines[i], out=product if i else out)
                if i:
                    out += product
            if bias is not None:
                out += bias

    shared(work, size.tiles(len(x), down), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """Add the gradient, times each weight, to what the weight saw: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    counts = grad.shape[2:]
    (top, bottom), (left, right) = geometry.needed_padding(counts, h, w)
    x, images = empty((n, h, w, c), grad.dtype), grad.transpose(0, 2, 3, 1)
    lines = as_lines(weight, counts[1])

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        padded, product = scratch((top + h + bottom, left + w + right, c), x.dtype), scratch((*counts, c), x.dtype)
        for i in starts:
            padded[...] = 0
            for line, (_, _, down, across) in zip(lines, geometry.window_offsets(counts), strict=True):
                np.multiply(images[i], line, out=product)
                padded[down, across] += product
            x[i] = padded[top : top + h, left : left + w]

    shared(work, range(n), grad.size * weight[0].size / MULTIPLY_ADDS)
    return x.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any) -> Array:
    """Sum the gradient times what each weight saw: (N, C, OH, OW) -> shape = (C, 1, KH, KW)."""
    images, taps = grad.transpose(0, 2, 3, 1), shape[2] * shape[3]
    size = Size.of(x.shape, geometry, shape[0], x.itemsize)
    tiles = size.tiles(len(x), grad.shape[2])
    sums = np.empty((len(tiles), taps, shape[0]), x.dtype)

    def work(numbers: Iterator[int], scratch: Scratch) -> None:
        windows = Windows(x, geometry, size, scratch)
        memory = scratch((math.prod(size) * grad.shape[3], shape[0]), x.dtype)
        ones = np.ones(len(memory), x.dtype)
        for number in numbers:
            g, seen = images[tiles[number]], windows.surrounded(tiles[number])
            product = memory[: g.size // shape[0]]
            for i, (_, _, down, across) in enumerate(geometry.window_offsets(g.shape[1:3])):
                np.multiply(seen[:, down, across], g, out=product.reshape(g.shape))
                np.matmul(ones[: len(product)], product, out=sums[number, i])

    shared(work, range(len(tiles)), grad.size * taps / MULTIPLY_ADDS)
    return sums.sum(axis=0).T.reshape(shape)


def as_lines(weight: Array, across: int) -> Array:
    """Write the weights of each pixel of the window as often as there are places in a line: (KH*KW, OW, C)."""
    matrix = weight.reshape(len(weight), -1).T
    return np.repeat(matrix[:, None], across, axis=1)
