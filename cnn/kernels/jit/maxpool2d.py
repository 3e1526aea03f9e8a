"""Compiled implementations of the functions in layers/maxpool2d.py."""

from typing import Any

import numpy as np

from cnn.kernels import fits, parallel
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.compilation import bytes_, bytes_from, floats, floats_from, indices, kernel
from cnn.kernels.jit.engine.image_ops import pool, unpool
from cnn.kernels.jit.engine.shapes import batch_parts, pool_geometry
from cnn.kernels.memory import empty

(N, C, H, W, OH, OW, X, Y, CHOICE, GEOMETRY, PARTS) = range(11)


@kernel
def forward(a, part, slot):
    """Pool a part of the images."""
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        x, start = floats_from(floats(a[X]), i * a[H] * a[W] * a[C]), i * a[OH] * a[OW] * a[C]
        y, argmax = floats_from(floats(a[Y]), start), bytes_from(bytes_(a[CHOICE]), start)
        pool(x, y, argmax, indices(a[GEOMETRY]), a[H], a[W], a[C], 0, a[OH], a[OW], 0)


@kernel
def backward(a, part, slot):
    """Add the gradients of a part of the images to the pixels that were chosen."""
    size = a[H] * a[W] * a[C]
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        x, start = floats_from(floats(a[X]), i * size), i * a[OH] * a[OW] * a[C]
        y, argmax = floats_from(floats(a[Y]), start), bytes_from(bytes_(a[CHOICE]), start)
        for p in range(size):
            x[p] = 0
        unpool(y, argmax, x, indices(a[GEOMETRY]), a[H], a[W], a[W], a[C], a[OH], a[OW])


def maxpool2d(x: Array, geometry: Any, output_size: tuple[int, int]) -> tuple[Array, Array]:
    """(N, C, H, W) -> two of (N, C, OH, OW)"""
    if geometry.size[0] * geometry.size[1] > 255 or x.ndim != 4:
        return NotImplemented
    if not fits.pool(x.shape, (*x.shape[:2], *output_size), geometry):
        return NotImplemented
    x = channels_last(x)
    n, h, w, c = x.shape
    y = empty((n, *output_size, c))
    argmax, parts = empty(y.shape, np.uint8), batch_parts(n, parallel.num_threads)
    arguments = {N: n, C: c, H: h, W: w, X: x, Y: y, CHOICE: argmax, PARTS: parts}
    arguments |= {OH: output_size[0], OW: output_size[1]}
    arguments[GEOMETRY] = pool_geometry(geometry)
    thread_pool.run(forward, arguments, parts, y.size * geometry.size[0] * geometry.size[1] * 0.3)
    return channels_first(y), channels_first(argmax)


def maxpool2d_input_grad(grad: Array, argmax: Array, shape: tuple[int, ...], geometry: Any) -> Array:
    """(N, C, OH, OW) -> shape = (N, C, H, W)"""
    if grad.shape != argmax.shape or not fits.pool(shape, grad.shape, geometry):
        return NotImplemented
    grad, argmax = channels_last(grad), channels_last(argmax)
    n, c, h, w = shape
    x, parts, (_, oh, ow, _) = empty((n, h, w, c)), batch_parts(n, parallel.num_threads), grad.shape
    arguments = {N: n, C: c, H: h, W: w, OH: oh, OW: ow, X: x, Y: grad, CHOICE: argmax, PARTS: parts}
    arguments[GEOMETRY] = pool_geometry(geometry)
    thread_pool.run(backward, arguments, parts, x.size + grad.size * geometry.size[0] * geometry.size[1] * 0.3)
    return channels_first(x)
