"""What kernels do with one image while it is in the cache: a rim around it, pools, the gradient of what follows."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine.compilation import BYTES, FLOATS, INDEX, INDICES, bytes_from, compiled, floats_from

BLOCKED = 255  # in place of the number of the chosen pixel: ReLU lets nothing of the window through


@compiled(types.void(FLOATS, FLOATS, *[INDEX] * 8))
def surround(x, padded, height, width, channels, top, left, padded_width, first, last):
    """Copy an image into the middle of zeros: the rows ``first`` to ``last`` of the result."""
    row, whole, before = width * channels, padded_width * channels, left * channels
    for i in range(first * whole, min(top, last) * whole):
        padded[i] = 0
    for i in range(max(top + height, first) * whole, last * whole):
        padded[i] = 0
    for r in range(max(0, first - top), min(height, last - top)):
        line, start = floats_from(padded, (top + r) * whole), floats_from(x, r * row)
        for i in range(before):
            line[i] = 0
        for i in range(before + row, whole):
            line[i] = 0
        inner = floats_from(line, before)
        for i in range(row):
            inner[i] = start[i]


@compiled(types.boolean(INDICES))
def halves(way):
    """Tell whether a pool takes four pixels at a time, side by side, as most pools do."""
    return way[0] == way[1] == way[2] == way[3] == 2 and way[4] == way[5] == 1 and way[6] == way[7] == 0


@compiled(types.void(FLOATS, FLOATS, FLOATS, BYTES, INDEX, INDEX))
def pool_four(upper, lower, best, which, channels, relu):
    """`pool` for one window of 2 x 2, of which the upper two pixels lie side by side, and the lower two.

    The first of equals stays, NaN wins; and sums vectorise where a choice between bytes does not.
    """
    lowest = types.float32(0) if relu else types.float32(-np.inf)
    for c in range(channels):
        value, number = upper[c], types.uint8(0)
        other = upper[channels + c]
        number = types.uint8(number + (types.uint8(other > value) | types.uint8(other != other)))
        value = other if (other > value) | (other != other) else value
        other = lower[c]
        better = types.uint8(other > value) | types.uint8(other != other)
        number = types.uint8(number + better * types.uint8(2 - number))
        value = other if (other > value) | (other != other) else value
        other = lower[channels + c]
        better = types.uint8(other > value) | types.uint8(other != other)
        number = types.uint8(number + better * types.uint8(3 - number))
        value = other if (other > value) | (other != other) else value
        low = types.uint8(value <= lowest) & types.uint8(relu)
        which[c] = types.uint8(number + low * types.uint8(BLOCKED - number))
        best[c] = lowest if value <= lowest else value


@compiled(types.void(FLOATS, FLOATS, BYTES, INDICES, *[INDEX] * 6))
def pool(x, y, choice, way, height, width, channels, places_down, places_across, relu):
    """Write the largest value of each window, and which of its pixels that is, as layers/maxpool2d.py does.

    ``way`` is how the window moves: size, stride, dilation and padding, each down and across.
    """
    four = halves(way)
    for i in range(places_down):
        for j in range(places_across):
            place = (i * places_across + j) * channels
            best, which = floats_from(y, place), bytes_from(choice, place)
            if four and 2 * i + 1 < height and 2 * j + 1 < width:
                upper = floats_from(x, 2 * (i * width + j) * channels)
                pool_four(upper, floats_from(upper, width * channels), best, which, channels, relu)
                continue
            for c in range(channels):
                best[c] = -np.inf
                which[c] = 0
            for u in range(way[0]):
                r = i * way[2] + u * way[4] - way[6]
                for v in range(way[1]):
                    s = j * way[3] + v * way[5] - way[7]
                    if r < 0 or r >= height or s < 0 or s >= width:
                        continue
                    pixel, number = floats_from(x, (r * width + s) * channels), types.uint8(u * way[1] + v)
                    for c in range(channels):
                        value, known = pixel[c], best[c]
                        # the first of equals stays, NaN wins; sums vectorise where a choice between bytes does not
                        better, old = types.uint8(value > known) | types.uint8(value != value), which[c]
                        best[c] = value if (value > known) | (value != value) else known
                        which[c] = types.uint8(old + better * types.uint8(number - old))
            if relu:
                for c in range(channels):
                    low, old = types.uint8(best[c] <= 0), which[c]
                    which[c] = types.uint8(old + low * types.uint8(BLOCKED - old))
                    best[c] = types.float32(0) if best[c] <= 0 else best[c]


@compiled(types.void(FLOATS, BYTES, FLOATS, INDICES, *[INDEX] * 6))
def unpool(grad, choice, into, way, height, width, step, channels, places_down, places_across):
    """Add each gradient to the pixel that was chosen; the rows of ``into`` are ``step`` pixels apart."""
    for i in range(places_down):
        for j in range(places_across):
            place = (i * places_across + j) * channels
            given, which = floats_from(grad, place), bytes_from(choice, place)
            for u in range(way[0]):
                r = i * way[2] + u * way[4] - way[6]
                for v in range(way[1]):
                    s = j * way[3] + v * way[5] - way[7]
                    if r < 0 or r >= height or s < 0 or s >= width:
                        continue
                    pixel, number = floats_from(into, (r * step + s) * channels), types.uint8(u * way[1] + v)
                    for c in range(channels):
                        pixel[c] += given[c] if which[c] == number else types.float32(0)


@compiled(types.void(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, *[INDEX] * 4))
def gate(grad, y, center, scale, shift, into, width, channels, height, across):
    """Let the gradient through where scale (y - center) + shift is above 0, or NaN.

    ``width`` is that of the rows of ``into``.
    """
    for i in range(height):
        for j in range(across):
            given = floats_from(grad, (i * across + j) * channels)
            value = floats_from(y, (i * across + j) * channels)
            pixel = floats_from(into, (i * width + j) * channels)
            for c in range(channels):
                pixel[c] = types.float32(0) if (value[c] - center[c]) * scale[c] + shift[c] <= 0 else given[c]
