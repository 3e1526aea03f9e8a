"""Convolutions of each channel for itself: no matrix products, but numbers for each pixel of the window."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Room, shared
from cnn.kernels.array.windows import Size, Tile, Windows
from cnn.kernels.memory import empty

MULTIPLY_ADDS = 3  # of one thread in a nanosecond


def forward(x: Array, weight: Array, bias: Array | None, slide: Any) -> Array:
    """Add up the shifted pictures, each times its weights: (N, C, H, W) -> (N, C, OH, OW)."""
    down, across = slide.places(*x.shape[2:])
    y = empty((len(x), down, across, len(weight)), x.dtype)
    size = Size.of(x.shape, slide, len(weight), x.itemsize)
    lines = as_lines(weight, across)

    def work(pieces: Iterator[Tile], room: Room) -> None:
        windows = Windows(x, slide, size, room)
        memory = room((*size, across, len(weight)), x.dtype)
        for tile in pieces:
            out, seen = y[tile], windows.surrounded(tile)
            product = memory[: out.shape[0], : out.shape[1]]
            for i, (_, _, vertical, horizontal) in enumerate(slide.shifts(out.shape[1:3])):
                np.multiply(seen[:, vertical, horizontal], lines[i], out=product if i else out)
                if i:
                    out += product
            if bias is not None:
                out += bias

    shared(work, size.tiles(len(x), down), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def input_grad(grad: Array, weight: Array, shape: tuple[int, ...], slide: Any, groups: int) -> Array:
    """Add the gradient, times each weight, to what the weight saw: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    counts = grad.shape[2:]
    (top, bottom), (left, right) = slide.reach(counts, h, w)
    x, pictures = empty((n, h, w, c), grad.dtype), grad.transpose(0, 2, 3, 1)
    lines = as_lines(weight, counts[1])

    def work(starts: Iterator[int], room: Room) -> None:
        padded, product = room((top + h + bottom, left + w + right, c), x.dtype), room((*counts, c), x.dtype)
        for i in starts:
            padded[...] = 0
            for line, (_, _, down, across) in zip(lines, slide.shifts(counts), strict=True):
                np.multiply(pictures[i], line, out=product)
                padded[down, across] += product
            x[i] = padded[top : top + h, left : left + w]

    shared(work, range(n), grad.size * weight[0].size / MULTIPLY_ADDS)
    return x.transpose(0, 3, 1, 2)


def weight_grad(grad: Array, x: Array, shape: tuple[int, ...], slide: Any) -> Array:
    """Sum the gradient times what each weight saw: (N, C, OH, OW) -> shape = (C, 1, KH, KW)."""
    pictures, taps = grad.transpose(0, 2, 3, 1), shape[2] * shape[3]
    size = Size.of(x.shape, slide, shape[0], x.itemsize)
    tiles = size.tiles(len(x), grad.shape[2])
    sums = np.empty((len(tiles), taps, shape[0]), x.dtype)

    def work(numbers: Iterator[int], room: Room) -> None:
        windows = Windows(x, slide, size, room)
        memory = room((math.prod(size) * grad.shape[3], shape[0]), x.dtype)
        ones = np.ones(len(memory), x.dtype)
        for number in numbers:
            g, seen = pictures[tiles[number]], windows.surrounded(tiles[number])
            product = memory[: g.size // shape[0]]
            for i, (_, _, down, across) in enumerate(slide.shifts(g.shape[1:3])):
                np.multiply(seen[:, down, across], g, out=product.reshape(g.shape))
                np.matmul(ones[: len(product)], product, out=sums[number, i])

    shared(work, range(len(tiles)), grad.size * taps / MULTIPLY_ADDS)
    return sums.sum(axis=0).T.reshape(shape)


def as_lines(weight: Array, across: int) -> Array:
    """Write the weights of each pixel of the window as often as there are places in a line: (KH*KW, OW, C)."""
    matrix = weight.reshape(len(weight), -1).T
    return np.repeat(matrix[:, None], across, axis=1)
