"""Convolution, ReLU and a pool of 2 x 2 as one: what lies between the layers is in the cache and never in memory.

The results are those of the layers one by one, but for two cases. The pool chooses before the bias is added, so of two
sums that differ and are the same once it is added and rounded, it takes the larger one and not the first. And on
Winograd's way sums that would be the same may be rounded apart.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels.array import strips, winograd
from cnn.kernels.array.conv2d import turned
from cnn.kernels.array.shared import Array, Scratch, cut, shared, summed
from cnn.kernels.array.windows import FEW_CHANNELS, Size, Windows, as_matrix, corners_of
from cnn.kernels.memory import empty

POOLING = 0.7  # ns of one thread for a number before the pool


def supports(shape: tuple[int, ...], geometry: Any, weight: Array) -> bool:
    """Tell whether a tile holds whole images, whose windows fill the pools, on the way there and back."""
    n, k, (down, across) = shape[0], len(weight), geometry.output_size(*shape[2:])
    if down % 2 or across % 2 or geometry.stride != (1, 1):
        return False
    if winograd.plan(shape, geometry, k, weight.dtype):
        return True
    there = (strips.plan(shape, geometry, k), strips.plan(shape, geometry, k, with_weights=True))
    if None in there and (shape[1] > FEW_CHANNELS or Size.of(shape, geometry, k, weight.itemsize).lines < down):
        return False
    back, back_geometry = turned(weight, shape, geometry, 1)
    return strips.plan((n, k, down, across), back_geometry, len(back)) is not None


def conv_pool(
    x: Array, weight: Array, bias: Array | None, geometry: Any, with_choice: bool
) -> tuple[Array, Array | None]:
    """(N, C, H, W) -> (N, K, OH/2, OW/2), and the number of the corner that was chosen, or one that none has

    The corners of all pools lie apart: four arrays, in which neighbours in memory are compared with neighbours.
    """
    down, across = geometry.output_size(*x.shape[2:])
    pooled, k = (down // 2, across // 2), len(weight)
    y = empty((len(x), *pooled, k), x.dtype)
    choice = empty(y.shape, np.uint8) if with_choice else None
    line = None if bias is None else np.tile(bias, (pooled[1], 1))  # longer rows are added faster
    step = winograd.plan(x.shape, geometry, k, x.dtype)
    weights = winograd.at_points(weight) if step else None
    planned = None if step else strips.plan(x.shape, geometry, k)
    if not step:
        step = planned.images if planned else Size.of(x.shape, geometry, k, x.itemsize).images

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        corners: Any
        if weights is not None:
            corners = winograd.Corners(x, weights, step, scratch)
        elif planned:
            corners = StripCorners(x, weight, geometry, planned, scratch)
        else:
            corners = WindowCorners(x, weight, geometry, step, scratch)
        high = scratch((2, step, *pooled, k), x.dtype)
        marks = None if choice is None else scratch((3, step, *pooled, k), np.uint8)
        for start in starts:
            best = y[start : start + step]
            n = len(best)
            four = corners.of(slice(start, start + n))
            np.maximum(four[::2], four[1::2], out=high[:, :n])
            np.maximum(high[0, :n], high[1, :n], out=best)
            if choice is not None and marks is not None:
                number(four, high[:, :n], best, choice[start : start + n], marks[:, :n])
            if line is not None:
                best += line  # the same for all corners
            if choice is not None and marks is not None:
                low, which = marks[0, :n], choice[start : start + n]
                np.less_equal(best, 0, out=low.view(bool))
                np.negative(low, out=low)  # all bits, or none
                np.bitwise_or(which, low, out=which)
            np.maximum(best, 0, out=best)

    shared(work, range(0, len(x), step), cost(y.size, weight))
    return y.transpose(0, 3, 1, 2), None if choice is None else choice.transpose(0, 3, 1, 2)


class WindowCorners:
    """A convolution of few channels at the four corners of each pool."""

    def __init__(self, x: Array, weight: Array, geometry: Any, step: int, scratch: Scratch) -> None:
        k, (down, across) = len(weight), geometry.output_size(*x.shape[2:])
        self.memory = scratch((4, step, down // 2, across // 2, k), x.dtype)
        self.windows = Windows(x, geometry, Size(step, down), scratch, corners=True)
        self.matrix, self.lines = as_matrix(weight, 1)[0], slice(0, down)

    def of(self, tile: slice) -> Array:
        """Return those of some images, (4, N, OH/2, OW/2, K); the next tile overwrites them."""
        four = first_of(self.memory, tile.stop - tile.start)
        np.matmul(self.windows.rows((tile, self.lines))[0], self.matrix, out=four.reshape(-1, four.shape[-1]))
        return four


class StripCorners:
    """The same for more channels."""

    def __init__(self, x: Array, weight: Array, geometry: Any, planned: strips.Plan, scratch: Scratch) -> None:
        k, (down, across) = len(weight), geometry.output_size(*x.shape[2:])
        self.memory = scratch((4, planned.images, down // 2, across // 2, k), x.dtype)
        self.products = strips.Products(x, weight, geometry, planned, scratch)

    def of(self, tile: slice) -> Array:
        """Return those of some images, (4, N, OH/2, OW/2, K); the next tile overwrites them."""
        four, parts = first_of(self.memory, tile.stop - tile.start), self.products.of(tile)
        kh, n, down, across, k = parts.shape
        parts = parts.reshape(kh, n, down // 2, 2, across // 2, 2, k).transpose(0, 3, 5, 1, 2, 4, 6)
        strips.add_up(parts, four.reshape(parts.shape[1:]))
        return four


def first_of(memory: Array, n: int) -> Array:
    """See the start of memory as (4, N, ...)."""
    return memory.reshape(-1)[: n * memory[:, 0].size].reshape(4, n, *memory.shape[2:])


def number(four: Array, high: Array, best: Array, which: Array, marks: Array) -> None:
    """Find out which corner is the largest: the first of equals, the last NaN. ``high``: those of the upper two and of
    the lower two.
    """
    np.greater(four[1::2], four[::2], out=marks[:2].view(bool))
    np.greater(high[1], high[0], out=marks[2].view(bool))
    right, lower_right, lower = marks
    np.add(lower_right, 2, out=lower_right)
    np.multiply(lower_right, lower, out=lower_right)
    np.maximum(lower_right, right, out=which)
    if np.isnan(best.max(initial=-np.inf)):
        for i, corner in enumerate(four):
            which[np.isnan(corner)] = i


def conv_pool_backward(
    grad: Array, choice: Array, x: Array, weight: Array, geometry: Any, needs_input_grad: bool
) -> tuple[Array | None, Array, Array]:
    """Each gradient goes to its corner, and from there to the weights, the bias and, if needed, the pixels."""
    grad, choice = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (grad, choice))
    (k, c, kh, kw), n, (down, across) = weight.shape, len(x), geometry.output_size(*x.shape[2:])
    step = winograd.plan(x.shape, geometry, k, x.dtype)
    at_points = step > 0
    planned = None if at_points else strips.plan(x.shape, geometry, k, with_weights=True)
    if not at_points:
        step = planned.images if planned else Size.of(x.shape, geometry, k, x.itemsize).images
    of_weights = (winograd.POINTS, c, k) if at_points else (kh, kw * c, k) if planned else (1, kh * kw * c, k)
    x_grad = empty((n, *x.shape[2:], c), x.dtype) if needs_input_grad else None
    apart = at_points or (not planned and x_grad is None)  # the corners, as in forward
    back = (winograd.at_points(weight), x_grad) if at_points and x_grad is not None else None

    def make(scratch: Scratch) -> Callable[..., None]:
        memory = scratch((step, down, across, k), x.dtype)
        mask, ones = scratch((4, step, *grad.shape[1:]), bool), np.ones(step * down * across, x.dtype)
        gradients: Any
        if at_points:
            gradients = winograd.Gradients(x, k, step, scratch, back)
        else:
            seen = (
                strips.Strips(x, geometry, planned, scratch)
                if planned
                else WholeWindows(x, geometry, step, scratch, apart)
            )
            gradients = DirectGradients(seen, x_grad, memory, weight, geometry, scratch)

        def add(tile: slice, weights: Array, biases: Array) -> None:
            spread = memory[: tile.stop - tile.start]
            rows = spread.reshape(-1, k)
            corners = spread.reshape(4, len(spread), *grad.shape[1:]) if apart else corners_of(spread)
            to_corners(grad[tile], choice[tile], corners, mask[:, : len(spread)])
            total = np.matmul(ones[: len(rows)], rows)
            if not np.isfinite(total).all():  # perhaps from infinity times a 0 of the mask
                to_corners(grad[tile], choice[tile], corners, mask[:, : len(spread)], with_infinity=True)
                total = rows.sum(axis=0)
            biases += total
            gradients.add(tile, corners if apart else spread, weights)

        return add

    nanoseconds = cost(grad.size, weight) * (2 if needs_input_grad else 1)
    w_grad, b_grad = summed(make, cut(n, step), [of_weights, (k,)], x.dtype, nanoseconds)
    w_grad = winograd.from_points(w_grad) if at_points else w_grad.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)
    return None if x_grad is None else x_grad.transpose(0, 3, 1, 2), w_grad, b_grad


def to_corners(grad: Array, which: Array, corners: Array, mask: Array, with_infinity: bool = False) -> None:
    """Write each gradient to the corner that was chosen, and zeros to the others."""
    np.equal(which, np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1, 1), out=mask)
    mask = mask.reshape(corners.shape)
    if with_infinity:
        corners[...] = np.where(mask, grad, 0)
    else:
        np.multiply(grad, mask, out=corners)


class WholeWindows:
    """What whole windows see, in the shape of `Strips`: as if a kernel had one row."""

    def __init__(self, x: Array, geometry: Any, step: int, scratch: Scratch, corners: bool) -> None:
        down, across = geometry.output_size(*x.shape[2:])
        self.lines = slice(0, down)
        self.windows = Windows(x, geometry, Size(step, down), scratch, corners=corners)
        self.shape = 1, step, 1, down * across, math.prod(geometry.size) * x.shape[1]

    def rows(self, tile: slice) -> Array:
        """Return the windows of some images: (1, N, 1, places, KH*KW*C); the next tile overwrites them."""
        rows = self.windows.rows((tile, self.lines))[0]
        return rows.reshape(1, tile.stop - tile.start, *self.shape[2:])


class DirectGradients:
    """Those of the weights, and where ``x_grad`` is given those of the pixels."""

    def __init__(
        self, seen: Any, x_grad: Array | None, memory: Array, weight: Array, geometry: Any, scratch: Scratch
    ) -> None:
        self.seen, self.weights = seen, strips.WeightSums(seen.shape, len(weight), memory.dtype, scratch)
        self.pixels = None if x_grad is None else Pixels(x_grad, memory, weight, geometry, scratch)

    def add(self, tile: slice, grad: Array, sums: Array) -> None:
        """Add what the gradients of some images, which are in the memory, give to the sums."""
        self.weights.add(self.seen.rows(tile), grad, sums)
        if self.pixels is not None:
            self.pixels.fill(tile)


class Pixels:
    """The gradients of the pixels, (N, H, W, C), from those of what the convolution made of some images."""

    def __init__(self, x_grad: Array, memory: Array, weight: Array, geometry: Any, scratch: Scratch) -> None:
        n, h, w, c = x_grad.shape
        weight, geometry = turned(weight, (n, c, h, w), geometry, 1)
        made = memory.transpose(0, 3, 1, 2)
        planned = strips.plan(made.shape, geometry, c)
        assert planned is not None  # or `serves` would have said no
        self.x_grad, self.step = x_grad, planned.images
        self.products = strips.Products(made, weight, geometry, planned, scratch)

    def fill(self, tile: slice) -> None:
        """Compute those of the images that are in the memory."""
        for start in range(tile.start, tile.stop, self.step):
            stop = min(start + self.step, tile.stop)
            strips.add_up(self.products.of(slice(start - tile.start, stop - tile.start)), self.x_grad[start:stop])


def cost(pooled: int, weight: Array) -> float:
    """About how many nanoseconds one thread takes for so many numbers after the pool."""
    return 4 * pooled * (POOLING + weight[0].size / strips.MULTIPLY_ADDS)
