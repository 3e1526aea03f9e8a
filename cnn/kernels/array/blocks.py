"""Convolution, ReLU and a pool of 2 x 2 as one: what lies between the layers is in the cache and never in memory."""

import functools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.kernels.array import strips
from cnn.kernels.array.conv2d import MULTIPLY_ADDS, turned
from cnn.kernels.array.shared import Array, Room, shared
from cnn.kernels.array.windows import FEW_CHANNELS, Size, Windows, as_matrix
from cnn.kernels.memory import empty


def serves(x: Array, slide: Any, outputs: int) -> bool:
    """Tell whether a tile holds whole pictures, whose windows fill the pools."""
    down, across = slide.places(*x.shape[2:])
    if down % 2 or across % 2 or slide.stride != (1, 1):
        return False
    if strips.lines_of(x, slide, outputs, 1):
        return True
    return x.shape[1] <= FEW_CHANNELS and Size.of(x, slide, outputs).lines == down


def conv_pool(x: Array, weight: Array, bias: Array | None, slide: Any, with_choice: bool) -> tuple[Array, Array | None]:
    """(N, C, H, W) -> (N, K, OH/2, OW/2), and the number of the corner that was chosen, or NONE

    The corners of all pools lie apart: four arrays, in which neighbours in memory are compared with neighbours.
    """
    down, across = slide.places(*x.shape[2:])
    pooled, k = (down // 2, across // 2), len(weight)
    y = empty((len(x), *pooled, k), x.dtype)
    choice = empty(y.shape, np.uint8) if with_choice else None
    line = None if bias is None else np.tile(bias, (pooled[1], 1))  # longer rows are added faster
    step = pictures_of(x, slide, k)

    def work(starts: Iterator[int], room: Room) -> None:
        corners = Corners(x, weight, slide, step, room)
        high, marks = room((2, step, *pooled, k), x.dtype), room((3, step, *pooled, k), np.uint8)
        for start in starts:
            best = y[start : start + step]
            n = len(best)
            which = None if choice is None else choice[start : start + step]
            choose(corners.of(slice(start, start + n)), best, which, high[:, :n], marks[:, :n])
            if line is not None:
                best += line  # the same for all corners
            if which is not None:
                low = marks[0, :n]
                np.less_equal(best, 0, out=low.view(bool))
                np.negative(low, out=low)  # all bits, or none
                np.bitwise_or(which, low, out=which)
            np.maximum(best, 0, out=best)

    shared(work, range(0, len(x), step), cost(y.size, weight))
    return y.transpose(0, 3, 1, 2), None if choice is None else choice.transpose(0, 3, 1, 2)


class Corners:
    """The convolution at the four corners of each pool: (4, N, OH/2, OW/2, K)"""

    def __init__(self, x: Array, weight: Array, slide: Any, step: int, room: Room) -> None:
        k, (down, across) = len(weight), slide.places(*x.shape[2:])
        self.memory = room((4, step, down // 2, across // 2, k), x.dtype)
        lines = strips.lines_of(x, slide, k, 1)
        self.products = strips.Products(x, weight, slide, lines, step, room) if lines else None
        if not lines:
            self.windows = Windows(x, slide, Size(step, down), room, corners=True)
            self.matrix, self.lines = as_matrix(weight, 1)[0], slice(0, down)

    def of(self, tile: slice) -> Array:
        """Compute those of some pictures; the next tile overwrites them."""
        n = tile.stop - tile.start
        four = self.memory.reshape(-1)[: n * self.memory[:, 0].size].reshape(4, n, *self.memory.shape[2:])
        if self.products is None:
            strips.product(self.windows.rows((tile, self.lines))[0], self.matrix, four.reshape(-1, four.shape[-1]))
            return four
        parts = self.products.of(tile)
        kh, _, down, across, k = parts.shape
        parts = parts.reshape(kh, n, down // 2, 2, across // 2, 2, k).transpose(0, 3, 5, 1, 2, 4, 6)
        to = four.reshape(parts.shape[1:])
        strips.add_up(parts, to)
        return four


def choose(four: Array, best: Array, which: Array | None, high: Array, marks: Array) -> None:
    """Keep the largest of four numbers, and which of them it is: the first of equals, the last NaN."""
    np.maximum(four[::2], four[1::2], out=high)
    np.maximum(high[0], high[1], out=best)
    if which is None:
        return
    np.greater(four[1::2], four[::2], out=marks[:2].view(bool))
    np.greater(high[1], high[0], out=marks[2].view(bool))
    right, lower_right, lower = marks
    np.add(lower_right, 2, out=lower_right)
    np.multiply(lower_right, lower, out=lower_right)
    np.maximum(lower_right, right, out=which)
    if np.isnan(best.max(initial=-np.inf)):
        for number, corner in enumerate(four):
            which[np.isnan(corner)] = number


def conv_pool_backward(
    grad: Array, choice: Array, x: Array, weight: Array, slide: Any, needs_input_grad: bool
) -> tuple[Array | None, Array, Array]:
    """Each gradient goes to its corner, and from there to the weights, the bias and, if needed, the pixels."""
    grad, choice = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (grad, choice))
    (k, c, kh, kw), n, pooled = weight.shape, len(x), grad.shape[1:3]
    step, lines = pictures_of(x, slide, k), strips.lines_of(x, slide, k, 1)
    starts = range(0, n, step)
    count = max(1, min(len(starts), strips.SUMS))
    sums = np.zeros((count, kh, kw * c, k) if lines else (count, 1, kh * kw * c, k), x.dtype)
    biases = np.zeros((count, k), x.dtype)
    shape = step, 2 * pooled[0], 2 * pooled[1], k
    numbers = np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1, 1, 1)  # of the corners
    x_grad = empty((n, *x.shape[2:], c), x.dtype) if needs_input_grad else None
    apart = not lines and x_grad is None  # the corners, as in forward

    def work(pieces: Iterator[int], room: Room) -> None:
        memory, mask = room(shape, x.dtype), room((2, 2, step, *pooled, k), bool)
        seen = strips.Strips(x, slide, lines, step, room) if lines else Whole(x, slide, step, room, apart)
        weights, ones = strips.WeightSums(room), np.ones(math.prod(shape[:3]), x.dtype)
        back = None if x_grad is None else Back(memory, weight, x.shape, slide, room)
        for i in pieces:
            for start in starts[i * len(starts) // count : (i + 1) * len(starts) // count]:
                tile = slice(start, min(start + step, n))
                g, which = grad[tile], choice[tile]
                spread = memory[: len(g)]
                if apart:
                    corners = spread.reshape(2, 2, len(g), *pooled, k)
                else:
                    corners = spread.reshape(len(g), pooled[0], 2, pooled[1], 2, k).transpose(2, 4, 0, 1, 3, 5)
                np.equal(which, numbers, out=mask[:, :, : len(g)])
                np.multiply(g, mask[:, :, : len(g)], out=corners)
                weights.add(seen.rows(tile), spread, sums[i])
                rows = spread.reshape(-1, k)
                biases[i] += np.matmul(ones[: len(rows)], rows)
                if back is not None and x_grad is not None:
                    back.into(len(g), x_grad[tile])

    shared(work, range(count), cost(grad.size, weight) * (2 if needs_input_grad else 1))
    # in the same order however many threads there are
    w_grad, b_grad = (functools.reduce(operator.add, parts) for parts in (sums, biases))
    w_grad = w_grad.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)
    return None if x_grad is None else x_grad.transpose(0, 3, 1, 2), w_grad, b_grad


class Back:
    """From the gradients of what a convolution made, in memory of (N, OH, OW, K), to those of its pixels."""

    def __init__(self, memory: Array, weight: Array, shape: tuple[int, ...], slide: Any, room: Room) -> None:
        weight, slide = turned(weight, shape, slide, 1)
        x, step, c = memory.transpose(0, 3, 1, 2), len(memory), len(weight)
        lines = strips.lines_of(x, slide, c, 1)
        self.products = strips.Products(x, weight, slide, lines, step, room) if lines else None
        if not lines:
            self.windows, self.matrix = Windows(x, slide, Size(step, shape[2]), room), as_matrix(weight, 1)[0]

    def into(self, n: int, pixels: Array) -> None:
        """Write the gradients of the pixels (N, H, W, C) of the first n pictures."""
        if self.products is not None:
            strips.add_up(self.products.of(slice(0, n)), pixels)
        else:
            rows = self.windows.rows((slice(0, n), slice(0, pixels.shape[1])))[0]
            np.matmul(rows, self.matrix, out=pixels.reshape(len(rows), -1))


class Whole:
    """What whole windows see, in the shape of `Strips`: as if a kernel had one row."""

    def __init__(self, x: Array, slide: Any, step: int, room: Room, corners: bool) -> None:
        self.lines = slide.places(*x.shape[2:])[0]
        self.windows = Windows(x, slide, Size(step, self.lines), room, corners=corners)

    def rows(self, tile: slice) -> Array:
        """Return the windows of some pictures: (1, N, 1, places, KH*KW*C); the next tile overwrites them."""
        rows = self.windows.rows((tile, slice(0, self.lines)))[0]
        return rows.reshape(1, tile.stop - tile.start, 1, -1, rows.shape[1])


def pictures_of(x: Array, slide: Any, outputs: int) -> int:
    """Return how many pictures make a tile."""
    if strips.lines_of(x, slide, outputs, 1):
        return strips.pictures_of(x, slide, outputs)
    return Size.of(x, slide, outputs).pictures


def cost(pooled: int, weight: Array) -> float:
    """About how many nanoseconds one thread takes for so many numbers after the pool."""
    return 4 * pooled * (0.7 + weight[0].size / MULTIPLY_ADDS)
