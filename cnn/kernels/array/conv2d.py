"""Array kernels for the functions in layers/conv2d.py: the same products, a tile of a few images at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels import fits
from cnn.kernels.array import depthwise, strips, winograd
from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for, parallel_sum
from cnn.kernels.array.windows import FEW_CHANNELS, TILE_BYTES, Tile, TileSize, Windows, as_matrix, by_group
from cnn.kernels.dispatch import one_blas_thread
from cnn.kernels.memory import empty

MULTIPLY_ADDS = 40  # of one thread in a nanosecond


def conv2d(x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int) -> Array:
    """Multiply every window with the weights; the bias is added while the tile is in the cache."""
    if not are_plain(x, weight) or not fits.convolution(x.shape, weight.shape, None, geometry, groups):
        return NotImplemented
    if fits_one_tile(x, geometry, len(weight), groups) or (bias is not None and bias.shape != weight.shape[:1]):
        return NotImplemented
    return convolve(x, weight, bias, geometry, groups)


def conv2d_input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """With stride 1 this is a convolution with the kernel rotated by 180 degrees; otherwise products are folded."""
    if not are_plain(grad, weight) or not fits.convolution(shape, weight.shape, grad.shape, geometry, groups):
        return NotImplemented
    c, k = shape[1], len(weight)
    if geometry.stride != (1, 1):
        input_grad = depthwise.input_grad if c == k == groups else folded_input_grad
        return input_grad(grad, weight, shape, geometry, groups)
    weight, geometry = rotated(weight, shape, geometry, groups)
    return convolve(grad, weight, None, geometry, groups)


def rotated(weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> tuple[Array, Any]:
    """Return weights and geometry of the convolution that computes the input gradient from the output gradient.

    The kernel is rotated by 180 degrees, and input and output channels are swapped.
    """
    (_, c, h, w), k = shape, len(weight)
    pads = tuple(
        (d * (size - 1) - before, pixels + before - count)
        for size, d, (before, _), pixels, count in zip(
            geometry.size, geometry.dilation, geometry.pads, (h, w), geometry.output_size(h, w), strict=True
        )
    )
    weight = weight.reshape(groups, k // groups, c // groups, *geometry.size)[..., ::-1, ::-1].transpose(0, 2, 1, 3, 4)
    return weight.reshape(c, k // groups, *geometry.size), geometry._replace(pads=pads)


def convolve(
    x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int, uses_winograd: bool = True
) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    if x.shape[1] == len(weight) == groups:
        return depthwise.forward(x, weight, bias, geometry)
    step = winograd.plan(x.shape, geometry, len(weight), x.dtype, groups) if uses_winograd else 0
    if step:
        uneven = winograd.uneven_images(x)
        if uneven is None:
            return winograd.forward(x, weight, bias, step)
        y = winograd.forward(winograd.blackened(x, uneven), weight, bias, step)
        for i in uneven:  # one by one, so that an image's result does not depend on the others
            y[i : i + 1] = convolve(x[i : i + 1], weight, bias, geometry, groups, uses_winograd=False)
        return y
    planned = strips.plan(x.shape, geometry, len(weight), groups)
    if planned:
        return strips.forward(x, weight, bias, geometry, planned)
    oh, ow = geometry.output_size(*x.shape[2:])
    y = empty((len(x), oh, ow, len(weight)), x.dtype)
    weights = as_matrix(weight, groups)
    size = TileSize.choose(x.shape, geometry, len(weight), x.itemsize)
    bias_row = None if bias is None else np.tile(bias, (ow, 1))  # longer rows are added faster

    def work(tiles: Iterator[Tile], scratch: Scratch) -> None:
        windows = Windows(x, geometry, size, scratch, groups)
        for tile in tiles:
            np.matmul(windows.matrix(tile), weights, out=by_group(y[tile], groups))
            if bias_row is not None:
                y[tile] += bias_row

    parallel_for(work, size.tiles(len(x), oh), y.size * weight[0].size / MULTIPLY_ADDS)
    return y.transpose(0, 3, 1, 2)


def folded_input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """Compute a product for each pixel of the window and add it to the pixels that it was read from (col2im)."""
    (n, c, h, w), (k, _, kh, kw) = shape, weight.shape
    oh, ow = grad.shape[2:]
    (top, bottom), (left, right) = geometry.needed_padding((oh, ow), h, w)
    matrices = as_matrix(weight, groups).reshape(groups, kh * kw, c // groups, k // groups).transpose(0, 1, 3, 2)
    x, grad = empty((n, h, w, c), grad.dtype), grad.transpose(0, 2, 3, 1)
    step = max(1, TILE_BYTES // max(1, oh * ow * kh * kw * c * grad.itemsize))

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        padded = scratch((min(n, step), top + h + bottom, left + w + right, groups, c // groups), grad.dtype)
        memory = scratch((groups, kh * kw, min(n, step) * oh * ow, c // groups), grad.dtype)
        for start in starts:
            g = grad[start : start + step]
            into = padded[: len(g)]
            into[...] = 0
            parts = memory.reshape(-1)[: g.size // k * kh * kw * c].reshape(groups, kh * kw, -1, c // groups)
            np.matmul(by_group(g, groups)[:, None], matrices, out=parts)
            parts = parts.reshape(groups, kh * kw, len(g), oh, ow, c // groups).transpose(1, 2, 3, 4, 0, 5)
            for part, (_, _, rows, columns) in zip(parts, geometry.window_offsets((oh, ow)), strict=True):
                into[:, rows, columns] += part
            x[start : start + step] = into[:, top : top + h, left : left + w].reshape(len(g), h, w, c)

    parallel_for(work, range(0, n, step), grad.size * weight[0].size / MULTIPLY_ADDS)
    return x.transpose(0, 3, 1, 2)


def conv2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """Multiply what each weight saw with the gradient of its output, and add up tile by tile."""
    k = shape[0]
    if not are_plain(grad, x) or not fits.convolution(x.shape, shape, grad.shape, geometry, groups):
        return NotImplemented
    if fits_one_tile(x, geometry, k, groups):
        return NotImplemented
    if x.shape[1] == k == groups:
        return depthwise.weight_grad(grad, x, shape, geometry)
    step = winograd.plan(x.shape, geometry, k, x.dtype, groups)
    if step:
        uneven = winograd.uneven_images(x, grad)
        if uneven is None:
            return winograd.weight_grad(grad, x, step)
        total = winograd.weight_grad(winograd.blackened(grad, uneven), winograd.blackened(x, uneven), step)
        return total + direct_weight_grad(grad[uneven], x[uneven], shape, geometry, groups)
    return direct_weight_grad(grad, x, shape, geometry, groups)


def direct_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """Compute the gradient without the Winograd algorithm."""
    k, c, kh, kw = shape
    planned = strips.plan(x.shape, geometry, k, groups, with_weights=True)
    if planned:
        return strips.weight_grad(grad, x, shape, geometry, planned)
    images, matrix = grad.transpose(0, 2, 3, 1), (groups, kh * kw * c, k // groups)
    size = TileSize.choose(x.shape, geometry, k, x.itemsize)

    def make(scratch: Scratch) -> Callable[..., None]:
        windows, product = Windows(x, geometry, size, scratch, groups), scratch(matrix, x.dtype)

        def add(tile: Tile, sums: Array) -> None:
            np.matmul(windows.matrix(tile).transpose(0, 2, 1), by_group(images[tile], groups), out=product)
            sums += product

        return add

    nanoseconds = grad.size * kh * kw * c / MULTIPLY_ADDS
    (sums,) = parallel_sum(make, size.tiles(len(x), grad.shape[2]), [matrix], x.dtype, nanoseconds)
    return sums.reshape(groups, kh, kw, c, k // groups).transpose(0, 4, 3, 1, 2).reshape(shape)


def conv2d_bias_grad(grad: Array) -> Array:
    """Multiply each image with a vector of ones, which BLAS does as fast as it can read memory."""
    images = grad.transpose(0, 2, 3, 1)
    if not images.flags.c_contiguous or not are_plain(grad):
        return NotImplemented
    n, h, w, k = images.shape
    with one_blas_thread():
        return np.matmul(np.ones(h * w, grad.dtype), images.reshape(n, h * w, k)).sum(axis=0)


def are_plain(*arrays: Array) -> bool:
    """Tell whether these are NumPy's own arrays and have the same floating-point dtype."""
    return all(type(a) is np.ndarray and a.dtype == arrays[0].dtype for a in arrays) and arrays[0].dtype.kind == "f"


def fits_one_tile(x: Array, geometry: Any, outputs: int, groups: int) -> bool:
    """Tell whether there is just one tile, for which the plain functions are as fast, except with Winograd."""
    if x.shape[1] <= FEW_CHANNELS or winograd.plan(x.shape, geometry, outputs, x.dtype, groups):
        return False
    images, rows = TileSize.choose(x.shape, geometry, outputs, x.itemsize)
    return images >= len(x) and rows == geometry.output_size(*x.shape[2:])[0]
