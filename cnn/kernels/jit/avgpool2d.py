"""Compiled implementations of the functions in layers/avgpool2d.py."""

from typing import Any

import numpy as np
from numba import types

from cnn.kernels import parallel
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.compilation import FLOATS, INDEX, compiled, floats, floats_from, indices, kernel
from cnn.kernels.jit.engine.image_ops import halves
from cnn.kernels.jit.engine.shapes import parts_of, pool_geometry
from cnn.kernels.memory import empty

(N, C, H, W, OH, OW, X, Y, AREA, WAY, BACK, PARTS) = range(12)


@compiled(types.void(FLOATS, FLOATS, FLOATS, types.float32, INDEX, INDEX))
def average_four(upper, lower, y, area, c, back):
    """One window of 2 x 2, of which the upper two pixels lie side by side, and the lower two."""
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
    """A part of the images: means of windows, or, backwards, each pixel's shares of them."""
    c, h, w, way, areas = a[C], a[H], a[W], indices(a[WAY]), floats(a[AREA])
    four = halves(way)
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        image = floats_from(floats(a[X]), i * h * w * c)
        if a[BACK]:
            for p in range(h * w * c):
                image[p] = 0
        for r in range(a[OH]):
            for s in range(a[OW]):
                y, area = floats_from(floats(a[Y]), ((i * a[OH] + r) * a[OW] + s) * c), areas[r * a[OW] + s]
                if four and 2 * r + 1 < h and 2 * s + 1 < w:
                    upper = floats_from(image, 2 * (r * w + s) * c)
                    average_four(upper, floats_from(upper, w * c), y, area, c, a[BACK])
                    continue
                top, left = r * way[2] - way[6], s * way[3] - way[7]
                if not a[BACK]:
                    for channel in range(c):
                        y[channel] = 0
                for u in range(max(0, top), min(h, top + way[0])):
                    for v in range(max(0, left), min(w, left + way[1])):
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
    parts, (oh, ow) = parts_of(n, parallel.num_threads), y.shape[1:3]
    arguments = {N: n, C: c, H: h, W: w, OH: oh, OW: ow, X: x, Y: y, BACK: back, PARTS: parts}
    arguments |= {AREA: np.ascontiguousarray(area, np.float32), WAY: pool_geometry(geometry)}
    thread_pool.run(average, arguments, parts, y.size * geometry.size[0] * geometry.size[1] * 0.3)


def avgpool2d(x: Array, geometry: Any, area: Array) -> Array:
    """(N, C, H, W) -> (N, C, OH, OW)"""
    x = channels_last(x)
    y = empty((len(x), *area.shape[:2], x.shape[3]))
    _run(x, y, geometry, area, back=False)
    return channels_first(y)


def avgpool2d_input_grad(grad: Array, shape: tuple[int, ...], geometry: Any, area: Array) -> Array:
    """(N, C, OH, OW) -> shape = (N, C, H, W)"""
    n, c, h, w = shape
    x = empty((n, h, w, c))
    _run(x, channels_last(grad), geometry, area, back=True)
    return channels_first(x)
