"""Twins of the functions in layers/maxpool2d.py, in tiles of a few images."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Scratch, shared
from cnn.kernels.memory import empty

TILE_BYTES = 4800 * 1024  # of images: few and large pieces; see shared.py


NONE = 255  # all bits of a byte, in place of the number of the chosen pixel: ReLU lets nothing of the window through


def maxpool2d(x: Array, geometry: Any, counts: tuple[int, int], relu: bool = False) -> tuple[Array, Array]:
    """Each pixel of all windows is first copied into one piece, where comparing is fastest.

    With ``relu``, of the values that were chosen, which are those that it would have chosen from.
    """
    n, c, h, w = x.shape
    x = x.transpose(0, 2, 3, 1)
    y = empty((n, *counts, c), x.dtype)
    choice = empty(y.shape, np.min_scalar_type(geometry.size[0] * geometry.size[1]))
    (top, bottom), (left, right) = rim = geometry.needed_padding(counts, h, w)
    bare = not any(map(any, rim))
    step = images_of(x)

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        memory = scratch((step, *counts, c), x.dtype), scratch((step, *counts, c), bool)
        padded = None if bare else scratch((step, top + h + bottom, left + w + right, c), x.dtype)
        if padded is not None:
            padded[...] = -np.inf  # zeros would beat negative values
        for start in starts:
            tile = x[start : start + step]
            if padded is not None:
                padded[: len(tile), top : top + h, left : left + w] = tile
                tile = padded[: len(tile)]
            outputs = y[start : start + step], choice[start : start + step]
            look(tile, geometry, *outputs, *memory)
            if np.isnan(outputs[0].max(initial=-np.inf)):
                look(tile, geometry, *outputs, *memory, with_nan=True)
            if relu:
                best, which = outputs
                low = memory[1][: len(best)]
                np.less_equal(best, 0, out=low)
                np.negative(low.view(np.int8), out=low.view(np.int8))  # all bits of NONE, or none
                np.bitwise_or(which, low.view(np.uint8), out=which)
                np.maximum(best, 0, out=best)

    shared(work, range(0, n, step), x.size)
    return y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2)


def look(
    x: Array, geometry: Any, y: Array, choice: Array, candidate: Array, better: Array, with_nan: bool = False
) -> None:
    """Keep the largest value of each window of a tile, and its number."""
    candidate, better = candidate[: len(x)], better[: len(x)]
    for number, (_, _, down, across) in enumerate(geometry.window_offsets(y.shape[1:3])):
        if number == 0:
            y[...] = x[:, down, across]
            choice[...] = 0
            continue
        candidate[...] = x[:, down, across]
        np.greater(candidate, y, out=better)  # the first of equals stays
        if with_nan:
            better |= candidate != candidate  # NaN, unequal to itself, wins
        np.maximum(y, candidate, out=y)
        if number == 1:
            choice[...] = better
        else:
            np.maximum(choice, np.multiply(better, number, dtype=choice.dtype), out=choice)


def maxpool2d_input_grad(grad: Array, choice: Array, shape: tuple[int, ...], geometry: Any) -> Array:
    """The gradients of a tile go to all their pixels while they are in the cache."""
    n, c, h, w = shape
    counts = grad.shape[2:]
    (top, bottom), (left, right) = rim = geometry.needed_padding(counts, h, w)
    bare = not any(map(any, rim))
    x = empty((n, h, w, c), grad.dtype)
    step = images_of(x)
    grad, choice = grad.transpose(0, 2, 3, 1), choice.transpose(0, 2, 3, 1)
    apart = all(stride >= d * (size - 1) + 1 for size, stride, d, _ in zip(*geometry, strict=True))
    outer = top + h + bottom, left + w + right
    every = geometry.size == geometry.stride and outer == tuple(map(operator.mul, counts, geometry.size))

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        memory = scratch((step, *counts, c), x.dtype), scratch((step, *counts, c), bool)
        padded = None if bare else scratch((step, *outer, c), x.dtype)
        for start in starts:
            tile, g, which = (array[start : start + step] for array in (x, grad, choice))
            g, which = np.ascontiguousarray(g), np.ascontiguousarray(which)
            finite = np.isfinite(g.sum())
            given, chosen = (array[: len(g)] for array in memory)
            into = tile if padded is None else padded[: len(g)]
            if not every:
                into[...] = 0
            for number, (_, _, down, across) in enumerate(geometry.window_offsets(counts)):
                np.equal(which, number, out=chosen)
                if finite:
                    given[...] = chosen
                    given *= g
                else:  # infinity times 0 would be NaN
                    given[...] = np.where(chosen, g, 0)
                if apart:
                    into[:, down, across] = given
                else:
                    into[:, down, across] += given
            if padded is not None:
                tile[...] = into[:, top : top + h, left : left + w]

    shared(work, range(0, n, step), x.size)
    return x.transpose(0, 3, 1, 2)


def images_of(x: Array) -> int:
    """Return how many images make a tile."""
    most = max(1, TILE_BYTES // max(1, x[:1].nbytes))
    return max(1, -(-len(x) // max(1, -(-len(x) // most))))
