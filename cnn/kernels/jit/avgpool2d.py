"""Compiled implementations of the functions in layers/avgpool2d.py."""

from typing import Any

import numpy as np
from numba import types

from cnn.kernels import fits, parallel
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.compilation import FLOATS, INDEX, compiled, floats, floats_from, indices, kernel
from cnn.kernels.jit.engine.image_ops import is_2x2
from cnn.kernels.jit.engine.shapes import batch_parts, pool_geometry
from cnn.kernels.memory import empty

(N, C, H, W, OH, OW, X, Y, AREA, GEOMETRY, BACK, PARTS) = range(12)


@compiled(types.void(FLOATS, FLOATS, FLOATS, types.float32, INDEX, INDEX))
def average_2x2(upper, lower, y, area, c, back):
    """Pool one window of 2 x 2, or backpropagate; ``upper`` and ``lower`` are the addresses of its two rows."""
    for channel in range(c):
        if back:
            share = y[channel] / area
            upper[channel] = share
            upper[c + channel] = share
            lower[channel] = share
            lower[c + channel] = share
        else:
            y[channel] = (upper[channel] + upper[c + channel] + lower[channel] + lower[c + channel]) / area


@kernel
def average(a, part, slot):
    """Compute the means of the windows of a part of the images, or, with BACK, the gradients of their pixels."""
    c, h, w, window, areas = a[C], a[H], a[W], indices(a[GEOMETRY]), floats(a[AREA])
    two_by_two = is_2x2(window)
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        image = floats_from(floats(a[X]), i * h * w * c)
        if a[BACK]:
            for p in range(h * w * c):
                image[p] = 0
        for r in range(a[OH]):
            for s in range(a[OW]):
                y, area = floats_from(floats(a[Y]), ((i * a[OH] + r) * a[OW] + s) * c), areas[r * a[OW] + s]
                if two_by_two and 2 * r + 1 < h and 2 * s + 1 < w:
                    upper = floats_from(image, 2 * (r * w + s) * c)
                    average_2x2(upper, floats_from(upper, w * c), y, area, c, a[BACK])
                    continue
                top, left = r * window[2] - window[6], s * window[3] - window[7]
                if not a[BACK]:
                    for channel in range(c):
                        y[channel] = 0
                for u in range(max(0, top), min(h, top + window[0])):
                    for v in range(max(0, left), min(w, left + window[1])):
                        pixel = floats_from(image, (u * w + v) * c)
                        if a[BACK]:
                            for channel in range(c):
                                pixel[channel] += y[channel] / area
                        else:
                            for channel in range(c):
                                y[channel] += pixel[channel]
                if not a[BACK]:
                    for channel in range(c):
                        y[channel] /= area


def _run(x: Array, y: Array, geometry: Any, area: Array, back: bool) -> None:
    n, h, w, c = x.shape
    parts, (oh, ow) = batch_parts(n, parallel.num_threads), y.shape[1:3]
    arguments = {N: n, C: c, H: h, W: w, OH: oh, OW: ow, X: x, Y: y, BACK: back, PARTS: parts}
    arguments |= {AREA: np.ascontiguousarray(area, np.float32), GEOMETRY: pool_geometry(geometry)}
    thread_pool.run(average, arguments, parts, y.size * geometry.size[0] * geometry.size[1] * 0.3)


def avgpool2d(x: Array, geometry: Any, area: Array) -> Array:
    """(N, C, H, W) -> (N, C, OH, OW)"""
    if x.ndim != 4 or area.ndim != 3 or area.shape[2] != 1:
        return NotImplemented
    if not fits.pool(x.shape, (*x.shape[:2], *area.shape[:2]), geometry):
        return NotImplemented
    x = channels_last(x)
    y = empty((len(x), *area.shape[:2], x.shape[3]))
    _run(x, y, geometry, area, back=False)
    return channels_first(y)


def avgpool2d_input_grad(grad: Array, shape: tuple[int, ...], geometry: Any, area: Array) -> Array:
    """(N, C, OH, OW) -> shape = (N, C, H, W)"""
    if area.shape != (*grad.shape[2:], 1) or not fits.pool(shape, grad.shape, geometry):
        return NotImplemented
    n, c, h, w = shape
    x = empty((n, h, w, c))
    _run(x, channels_last(grad), geometry, area, back=True)
    return channels_first(x)
