"""Array kernels for the functions in layers/maxpool2d.py, in tiles of a few images."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels import fits
from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for
from cnn.kernels.memory import empty

TILE_BYTES = 4800 * 1024  # of images: few and large tiles; see parallel_for.py

# All bits of a byte, instead of the index of the chosen pixel: the output of ReLU is 0, so no pixel gets a gradient.
BLOCKED = 255


def maxpool2d(x: Array, geometry: Any, output_size: tuple[int, int]) -> tuple[Array, Array]:
    """Copy each pixel of all windows into contiguous memory first, where comparing is fastest."""
    if x.ndim != 4 or not fits.pool(x.shape, (*x.shape[:2], *output_size), geometry):
        return NotImplemented
    return _pool(x, geometry, output_size, relu=False)


def relu_maxpool2d(x: Array, geometry: Any, output_size: tuple[int, int]) -> tuple[Array, Array]:
    """ReLU, then max pooling. The argmax is `BLOCKED` where ReLU passes nothing of a window.

    ReLU is applied to the maxima only: the maximum after ReLU is ReLU of the maximum.
    """
    return _pool(x, geometry, output_size, relu=True)


def _pool(x: Array, geometry: Any, output_size: tuple[int, int], relu: bool) -> tuple[Array, Array]:
    n, c, h, w = x.shape
    x = x.transpose(0, 2, 3, 1)
    y = empty((n, *output_size, c), x.dtype)
    argmax = empty(y.shape, np.min_scalar_type(geometry.size[0] * geometry.size[1]))
    (top, bottom), (left, right) = pads = geometry.needed_padding(output_size, h, w)
    unpadded = not any(map(any, pads))
    first = None if unpadded else geometry.first_pixels(output_size, h, w)[..., None]
    step = images_per_tile(x)

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        memory = scratch((step, *output_size, c), x.dtype), scratch((step, *output_size, c), bool)
        padded = None if unpadded else scratch((step, top + h + bottom, left + w + right, c), x.dtype)
        if padded is not None:
            padded[...] = -np.inf  # zeros would beat negative values
        for start in starts:
            tile = x[start : start + step]
            if padded is not None:
                padded[: len(tile), top : top + h, left : left + w] = tile
                tile = padded[: len(tile)]
            outputs = y[start : start + step], argmax[start : start + step]
            _pool_tile(tile, geometry, *outputs, *memory, first)
            if np.isnan(outputs[0].max(initial=-np.inf)):
                _pool_tile(tile, geometry, *outputs, *memory, first, with_nan=True)
            if relu:
                best, chosen = outputs
                blocked = memory[1][: len(best)]
                np.less_equal(best, 0, out=blocked)
                np.negative(blocked.view(np.int8), out=blocked.view(np.int8))  # all bits of BLOCKED, or none
                np.bitwise_or(chosen, blocked.view(np.uint8), out=chosen)
                np.maximum(best, 0, out=best)

    parallel_for(work, range(0, n, step), x.size)
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


def _pool_tile(
    x: Array,
    geometry: Any,
    y: Array,
    argmax: Array,
    candidate: Array,
    better: Array,
    first: Array | None,
    with_nan: bool = False,
) -> None:
    """Write the largest value of each window of a tile, and the index of its pixel in the window.

    With padding, ``first`` are the first pixels that are none: chosen if all values of a window are -inf.
    """
    candidate, better = candidate[: len(x)], better[: len(x)]
    for number, (_, _, rows, columns) in enumerate(geometry.window_offsets(y.shape[1:3])):
        if number == 0:
            y[...] = x[:, rows, columns]
            argmax[...] = 0 if first is None else first
            continue
        candidate[...] = x[:, rows, columns]
        np.greater(candidate, y, out=better)  # the first of equal values stays
        if with_nan:
            better |= candidate != candidate  # NaN, unequal to itself, wins
        np.maximum(y, candidate, out=y)
        if number == 1 and first is None:
            argmax[...] = better
        else:
            np.maximum(argmax, np.multiply(better, number, dtype=argmax.dtype), out=argmax)


def maxpool2d_input_grad(grad: Array, argmax: Array, shape: tuple[int, ...], geometry: Any) -> Array:
    """Write the gradients of a tile to all their pixels while they are in the cache."""
    if grad.shape != argmax.shape or not fits.pool(shape, grad.shape, geometry):
        return NotImplemented
    n, c, h, w = shape
    output_size = grad.shape[2:]
    (top, bottom), (left, right) = pads = geometry.needed_padding(output_size, h, w)
    unpadded = not any(map(any, pads))
    x = empty((n, h, w, c), grad.dtype)
    step = images_per_tile(x)
    grad, argmax = grad.transpose(0, 2, 3, 1), argmax.transpose(0, 2, 3, 1)
    disjoint = all(stride >= d * (size - 1) + 1 for size, stride, d, _ in zip(*geometry, strict=True))
    padded_size = top + h + bottom, left + w + right
    # whether the windows cover every pixel exactly once
    covers_all = geometry.size == geometry.stride and padded_size == tuple(
        map(operator.mul, output_size, geometry.size)
    )

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        memory = scratch((step, *output_size, c), x.dtype), scratch((step, *output_size, c), bool)
        padded = None if unpadded else scratch((step, *padded_size, c), x.dtype)
        for start in starts:
            tile, g, indices = (array[start : start + step] for array in (x, grad, argmax))
            g, indices = np.ascontiguousarray(g), np.ascontiguousarray(indices)
            finite = np.isfinite(g.sum())
            masked, chosen = (array[: len(g)] for array in memory)
            into = tile if padded is None else padded[: len(g)]
            if not covers_all:
                into[...] = 0
            for number, (_, _, rows, columns) in enumerate(geometry.window_offsets(output_size)):
                np.equal(indices, number, out=chosen)
                if finite:
                    masked[...] = chosen
                    masked *= g
                else:  # infinity times 0 would be NaN
                    masked[...] = np.where(chosen, g, 0)
                if disjoint:
                    into[:, rows, columns] = masked
                else:
                    into[:, rows, columns] += masked
            if padded is not None:
                tile[...] = into[:, top : top + h, left : left + w]

    parallel_for(work, range(0, n, step), x.size)
    return x.transpose(0, 3, 1, 2)


def images_per_tile(x: Array) -> int:
    """Return how many images make a tile."""
    most = max(1, TILE_BYTES // max(1, x[:1].nbytes))
    return max(1, -(-len(x) // max(1, -(-len(x) // most))))
