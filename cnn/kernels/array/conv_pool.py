"""Convolution, ReLU and 2 x 2 max pooling as one: intermediate results stay in the cache and never go to memory.

The results are those of the layers one by one, except in two cases. The pool chooses before the bias is added: of two
sums that differ, but are the same once the bias is added and the result is rounded, it takes the larger one and not the
first. And with the Winograd algorithm sums that would be equal may be rounded differently.

The four outputs of the convolution in a window of the pool are called its corners, numbered in reading order: upper
left 0, upper right 1, lower left 2, lower right 3.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels.array import maxpool2d, strips, winograd
from cnn.kernels.array.conv2d import convolve, direct_weight_grad, rotated
from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for, parallel_sum, tile_slices
from cnn.kernels.array.windows import FEW_CHANNELS, TileSize, Windows, as_matrix, pool_corners
from cnn.kernels.memory import empty

POOL_NANOSECONDS = 0.7  # of one thread, for each input of the pool


def supports(shape: tuple[int, ...], geometry: Any, weight: Array) -> bool:
    """Tell whether a tile holds whole images whose outputs fill the pool's windows, in forward and backward."""
    n, k, (oh, ow) = shape[0], len(weight), geometry.output_size(*shape[2:])
    if oh % 2 or ow % 2 or geometry.stride != (1, 1):
        return False
    if winograd.plan(shape, geometry, k, weight.dtype):
        return True
    plans = (strips.plan(shape, geometry, k), strips.plan(shape, geometry, k, with_weights=True))
    if None in plans and (shape[1] > FEW_CHANNELS or TileSize.choose(shape, geometry, k, weight.itemsize).rows < oh):
        return False
    back, back_geometry = rotated(weight, shape, geometry, 1)
    return strips.plan((n, k, oh, ow), back_geometry, len(back)) is not None


def conv_pool(
    x: Array, weight: Array, bias: Array | None, geometry: Any, with_choice: bool
) -> tuple[Array, Array | None]:
    """(N, C, H, W) -> (N, K, OH/2, OW/2), and the number of the chosen corner, or 255 where ReLU makes the output 0

    The outputs of each corner lie in an array of their own, so that the pool compares contiguous arrays.
    """
    oh, ow = geometry.output_size(*x.shape[2:])
    pooled, k = (oh // 2, ow // 2), len(weight)
    step = winograd.plan(x.shape, geometry, k, x.dtype)
    uneven = winograd.uneven_images(x) if step else None
    if uneven is not None:
        y, choice = conv_pool(winograd.blackened(x, uneven), weight, bias, geometry, with_choice)
        for i in uneven:
            one = convolve(x[i : i + 1], weight, bias, geometry, 1, uses_winograd=False)
            y[i : i + 1], chosen = maxpool2d.relu_maxpool2d(one, halving(geometry), pooled)
            if choice is not None:
                choice[i : i + 1] = chosen
        return y, choice
    y = empty((len(x), *pooled, k), x.dtype)
    choice = empty(y.shape, np.uint8) if with_choice else None
    bias_row = None if bias is None else np.tile(bias, (pooled[1], 1))  # longer rows are added faster
    weights = winograd.weights_to_points(weight) if step else None
    planned = None if step else strips.plan(x.shape, geometry, k)
    if not step:
        step = planned.images if planned else TileSize.choose(x.shape, geometry, k, x.itemsize).images

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        corners: Any
        if weights is not None:
            corners = winograd.Corners(x, weights, step, scratch)
        elif planned:
            corners = StripCorners(x, weight, geometry, planned, scratch)
        else:
            corners = WindowCorners(x, weight, geometry, step, scratch)
        row_max = scratch((2, step, *pooled, k), x.dtype)
        masks = None if choice is None else scratch((3, step, *pooled, k), np.uint8)
        for start in starts:
            best = y[start : start + step]
            n = len(best)
            four = corners.compute(slice(start, start + n))
            np.maximum(four[::2], four[1::2], out=row_max[:, :n])
            np.maximum(row_max[0, :n], row_max[1, :n], out=best)
            if choice is not None and masks is not None:
                find_choice(four, row_max[:, :n], best, choice[start : start + n], masks[:, :n])
            if bias_row is not None:
                best += bias_row  # the same for all corners
            if choice is not None and masks is not None:
                blocked, chosen = masks[0, :n], choice[start : start + n]
                np.less_equal(best, 0, out=blocked.view(bool))
                np.negative(blocked, out=blocked)  # all bits, or none
                np.bitwise_or(chosen, blocked, out=chosen)
            np.maximum(best, 0, out=best)

    parallel_for(work, range(0, len(x), step), estimate_nanoseconds(y.size, weight))
    return y.transpose(0, 3, 1, 2), None if choice is None else choice.transpose(0, 3, 1, 2)


class WindowCorners:
    """A convolution of few channels at the four corners of each pool window."""

    def __init__(self, x: Array, weight: Array, geometry: Any, step: int, scratch: Scratch) -> None:
        k, (oh, ow) = len(weight), geometry.output_size(*x.shape[2:])
        self.memory = scratch((4, step, oh // 2, ow // 2, k), x.dtype)
        self.windows = Windows(x, geometry, TileSize(step, oh), scratch, corners=True)
        self.weights, self.rows = as_matrix(weight, 1)[0], slice(0, oh)

    def compute(self, tile: slice) -> Array:
        """Return the corners of some images, (4, N, OH/2, OW/2, K); the next tile overwrites them."""
        four = first_images(self.memory, tile.stop - tile.start)
        np.matmul(self.windows.matrix((tile, self.rows))[0], self.weights, out=four.reshape(-1, four.shape[-1]))
        return four


class StripCorners:
    """The same for more channels."""

    def __init__(self, x: Array, weight: Array, geometry: Any, planned: strips.Plan, scratch: Scratch) -> None:
        k, (oh, ow) = len(weight), geometry.output_size(*x.shape[2:])
        self.memory = scratch((4, planned.images, oh // 2, ow // 2, k), x.dtype)
        self.products = strips.Products(x, weight, geometry, planned, scratch)

    def compute(self, tile: slice) -> Array:
        """Return the corners of some images, (4, N, OH/2, OW/2, K); the next tile overwrites them."""
        four, parts = first_images(self.memory, tile.stop - tile.start), self.products.compute(tile)
        kh, n, oh, ow, k = parts.shape
        parts = parts.reshape(kh, n, oh // 2, 2, ow // 2, 2, k).transpose(0, 3, 5, 1, 2, 4, 6)
        strips.add_up(parts, four.reshape(parts.shape[1:]))
        return four


def first_images(memory: Array, n: int) -> Array:
    """View the start of the memory as the corners of n images, (4, N, ...)."""
    return memory.reshape(-1)[: n * memory[:, 0].size].reshape(4, n, *memory.shape[2:])


def find_choice(four: Array, row_max: Array, best: Array, choice: Array, masks: Array) -> None:
    """Find the number of the largest corner: the first of equal ones, or the last NaN.

    ``row_max``: the maxima of the two upper corners and of the two lower ones.
    """
    np.greater(four[1::2], four[::2], out=masks[:2].view(bool))
    np.greater(row_max[1], row_max[0], out=masks[2].view(bool))
    right, lower_right, lower = masks
    np.add(lower_right, 2, out=lower_right)
    np.multiply(lower_right, lower, out=lower_right)
    np.maximum(lower_right, right, out=choice)
    if np.isnan(best.max(initial=-np.inf)):
        for i, corner in enumerate(four):
            choice[np.isnan(corner)] = i


def conv_pool_backward(
    grad: Array, choice: Array, x: Array, weight: Array, geometry: Any, needs_input_grad: bool
) -> tuple[Array | None, Array, Array]:
    """Each gradient goes to its corner, and from there to the weights, the bias and, if needed, the pixels."""
    step = winograd.plan(x.shape, geometry, len(weight), x.dtype)
    uneven = winograd.uneven_images(x, grad) if step else None
    if uneven is not None:
        even = (winograd.blackened(grad, uneven), choice, winograd.blackened(x, uneven))
        x_grad, w_grad, b_grad = conv_pool_backward(*even, weight, geometry, needs_input_grad)
        shape = 1, len(weight), *geometry.output_size(*x.shape[2:])
        back, back_geometry = rotated(weight, x.shape, geometry, 1)
        for i in uneven:
            one = slice(i, i + 1)
            conv_grad = maxpool2d.maxpool2d_input_grad(grad[one], choice[one], shape, halving(geometry))
            w_grad += direct_weight_grad(conv_grad, x[one], weight.shape, geometry, 1)
            b_grad += conv_grad.sum(axis=(0, 2, 3))
            if x_grad is not None:
                x_grad[one] = convolve(conv_grad, back, None, back_geometry, 1, uses_winograd=False)
        return x_grad, w_grad, b_grad
    grad, choice = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (grad, choice))
    (k, c, kh, kw), n, (oh, ow) = weight.shape, len(x), geometry.output_size(*x.shape[2:])
    is_winograd = step > 0
    planned = None if is_winograd else strips.plan(x.shape, geometry, k, with_weights=True)
    if not is_winograd:
        step = planned.images if planned else TileSize.choose(x.shape, geometry, k, x.itemsize).images
    w_shape = (winograd.POINTS, c, k) if is_winograd else (kh, kw * c, k) if planned else (1, kh * kw * c, k)
    x_grad = empty((n, *x.shape[2:], c), x.dtype) if needs_input_grad else None
    corners_first = is_winograd or (not planned and x_grad is None)  # the memory order that forward uses
    input_grad = (winograd.weights_to_points(weight), x_grad) if is_winograd and x_grad is not None else None

    def make(scratch: Scratch) -> Callable[..., None]:
        memory = scratch((step, oh, ow, k), x.dtype)
        mask, ones = scratch((4, step, *grad.shape[1:]), bool), np.ones(step * oh * ow, x.dtype)
        gradients: Any
        if is_winograd:
            gradients = winograd.Gradients(x, k, step, scratch, input_grad)
        else:
            seen = (
                strips.Strips(x, geometry, planned, scratch)
                if planned
                else FullWindows(x, geometry, step, scratch, corners_first)
            )
            gradients = DirectGradients(seen, x_grad, memory, weight, geometry, scratch)

        def add(tile: slice, weights: Array, biases: Array) -> None:
            conv_grad = memory[: tile.stop - tile.start]
            rows = conv_grad.reshape(-1, k)
            if corners_first:
                corners = conv_grad.reshape(4, len(conv_grad), *grad.shape[1:])
            else:
                corners = pool_corners(conv_grad)
            scatter_to_corners(grad[tile], choice[tile], corners, mask[:, : len(conv_grad)])
            total = np.matmul(ones[: len(rows)], rows)
            if not np.isfinite(total).all():  # perhaps from infinity times a 0 of the mask
                scatter_to_corners(grad[tile], choice[tile], corners, mask[:, : len(conv_grad)], with_infinity=True)
                total = rows.sum(axis=0)
            biases += total
            gradients.add(tile, corners if corners_first else conv_grad, weights)

        return add

    nanoseconds = estimate_nanoseconds(grad.size, weight) * (2 if needs_input_grad else 1)
    w_grad, b_grad = parallel_sum(make, tile_slices(n, step), [w_shape, (k,)], x.dtype, nanoseconds)
    w_grad = winograd.points_to_weights(w_grad) if is_winograd else w_grad.reshape(kh, kw, c, k).transpose(3, 2, 0, 1)
    return None if x_grad is None else x_grad.transpose(0, 3, 1, 2), w_grad, b_grad


def halving(geometry: Any) -> Any:
    """Return the geometry of the pool."""
    return geometry._replace(size=(2, 2), stride=(2, 2), dilation=(1, 1), pads=((0, 0), (0, 0)))


def scatter_to_corners(grad: Array, choice: Array, corners: Array, mask: Array, with_infinity: bool = False) -> None:
    """Write each gradient to the corner that was chosen, and zeros to the others."""
    np.equal(choice, np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1, 1), out=mask)
    mask = mask.reshape(corners.shape)
    if with_infinity:
        corners[...] = np.where(mask, grad, 0)
    else:
        np.multiply(grad, mask, out=corners)


class FullWindows:
    """The full window matrix in the shape of `Strips`, as if the kernel had one row."""

    def __init__(self, x: Array, geometry: Any, step: int, scratch: Scratch, corners: bool) -> None:
        oh, ow = geometry.output_size(*x.shape[2:])
        self.rows = slice(0, oh)
        self.windows = Windows(x, geometry, TileSize(step, oh), scratch, corners=corners)
        self.shape = 1, step, 1, oh * ow, math.prod(geometry.size) * x.shape[1]

    def matrices(self, tile: slice) -> Array:
        """Return the windows of some images: (1, N, 1, OH*OW, KH*KW*C); the next tile overwrites them."""
        matrix = self.windows.matrix((tile, self.rows))[0]
        return matrix.reshape(1, tile.stop - tile.start, *self.shape[2:])


class DirectGradients:
    """The gradient of the weights and, where ``x_grad`` is given, that of the pixels, without the Winograd algorithm.

    ``memory`` holds the output gradients (N, OH, OW, K) of the current tile.
    """

    def __init__(
        self, seen: Any, x_grad: Array | None, memory: Array, weight: Array, geometry: Any, scratch: Scratch
    ) -> None:
        self.seen, self.weights = seen, strips.WeightSums(seen.shape, len(weight), memory.dtype, scratch)
        self.input_grad = None if x_grad is None else InputGrad(x_grad, memory, weight, geometry, scratch)

    def add(self, tile: slice, grad: Array, sums: Array) -> None:
        """Add the contribution of the output gradients of some images, which are in the memory, to the sums."""
        self.weights.add(self.seen.matrices(tile), grad, sums)
        if self.input_grad is not None:
            self.input_grad.compute(tile)


class InputGrad:
    """The gradients of the pixels, (N, H, W, C), from the output gradients (N, OH, OW, K) in ``memory``."""

    def __init__(self, x_grad: Array, memory: Array, weight: Array, geometry: Any, scratch: Scratch) -> None:
        n, h, w, c = x_grad.shape
        weight, geometry = rotated(weight, (n, c, h, w), geometry, 1)
        grad = memory.transpose(0, 3, 1, 2)
        planned = strips.plan(grad.shape, geometry, c)
        assert planned is not None  # or `supports` would have returned False
        self.x_grad, self.step = x_grad, planned.images
        self.products = strips.Products(grad, weight, geometry, planned, scratch)

    def compute(self, tile: slice) -> None:
        """Write the gradients of the images whose output gradients are in the memory."""
        for start in range(tile.start, tile.stop, self.step):
            stop = min(start + self.step, tile.stop)
            products = self.products.compute(slice(start - tile.start, stop - tile.start))
            strips.add_up(products, self.x_grad[start:stop])


def estimate_nanoseconds(pooled: int, weight: Array) -> float:
    """Return about how long one thread takes for this many outputs of the pool."""
    return 4 * pooled * (POOL_NANOSECONDS + weight[0].size / strips.MULTIPLY_ADDS)
