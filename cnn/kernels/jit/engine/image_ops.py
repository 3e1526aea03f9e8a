"""What kernels do with one image while it is in the cache: padding, pooling, and the gradients of pools and ReLU."""

import numpy as np
from numba import types

from cnn.kernels.jit.engine.compilation import (
    BYTES,
    FLOATS,
    INDEX,
    INDICES,
    bits,
    bytes_from,
    compiled,
    floats_from,
)

BLOCKED = 255  # instead of the index of the chosen pixel: the output of ReLU is 0, so no pixel gets a gradient

# Of 2, between the largest pixel of an even image and the geometric mean of its pixels. The size of a pixel is that of
# its largest channel here, which needs integers alone, and the norm of its channels in array/winograd.py, which is one
# call of NumPy. So the two backends may disagree about an image near the limit.
MAX_POWERS = 6
NOT_FINITE = 255  # the exponent of infinity and NaN


@compiled(types.boolean(INDEX, INDEX, INDEX))
def is_uneven(address, pixels, channels):
    """Tell whether an image holds infinity, NaN, or a pixel much larger than most.

    Its convolution then goes the direct way: the sums of the Winograd algorithm would spread the rounding errors of
    such a pixel to outputs that do not see it. The size of a pixel is that of its largest channel, rounded down to a
    power of 2: its exponent. The mean of the exponents is hardly changed by a few large pixels; black pixels, of which
    there are many after ReLU, do not count. All are integers: the result does not depend on the order of the sum.
    """
    total, counted, largest = 0, 0, types.int32(0)
    for p in range(pixels):
        pixel, size = bits(address + 4 * p * channels), types.int32(0)
        for c in range(channels):
            value = types.int32(pixel[c] & 0x7FFFFFFF)  # without the sign; the order is that of the numbers
            size = value if value > size else size
        exponent = size >> 23
        total += exponent
        counted += exponent != 0
        largest = exponent if exponent > largest else largest
    return largest == NOT_FINITE or largest * counted - total > MAX_POWERS * counted


@compiled(types.void(FLOATS, FLOATS, *[INDEX] * 8))
def pad(x, padded, height, width, channels, top, left, padded_width, first, last):
    """Pad an image with zeros: write the rows ``first`` to ``last`` of the padded image."""
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
def is_2x2(window):
    """Tell whether the windows of a pool are 2 x 2 pixels, adjacent and without padding, as in most pools.

    ``window`` is the window geometry, see `pool`.
    """
    return (
        window[0] == window[1] == window[2] == window[3] == 2
        and window[4] == window[5] == 1
        and window[6] == window[7] == 0
    )


@compiled(types.void(FLOATS, FLOATS, FLOATS, BYTES, INDEX, INDEX))
def pool_2x2(upper, lower, best, chosen, channels, relu):
    """`pool` for one window of 2 x 2; ``upper`` and ``lower`` are the addresses of its two rows.

    The first of equal values stays, and NaN wins. Sums are vectorised, where a choice between bytes is not.
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
        blocked = types.uint8(value <= lowest) & types.uint8(relu)
        chosen[c] = types.uint8(number + blocked * types.uint8(BLOCKED - number))
        best[c] = lowest if value <= lowest else value


@compiled(types.int64(*[INDEX] * 4))
def first_inside(start, dilation, size, pixels):
    """Return the number of the first row (or column) of a window that is not padding; 0 if there is none."""
    for u in range(size):
        if 0 <= start + u * dilation < pixels:
            return u
    return 0


@compiled(types.void(FLOATS, FLOATS, BYTES, INDICES, *[INDEX] * 7))
def pool(x, y, choice, window, height, width, channels, first, last, ow, relu):
    """Write the largest value of each window, and which of its pixels that is, as layers/maxpool2d.py does; of an
    image, compute the rows ``first`` to ``last`` of the output.

    ``window`` is the window geometry: size, stride, dilation and padding, each vertical and horizontal.
    """
    two_by_two = is_2x2(window)
    for i in range(first, last):
        for j in range(ow):
            start = (i * ow + j) * channels
            best, chosen = floats_from(y, start), bytes_from(choice, start)
            if two_by_two and 2 * i + 1 < height and 2 * j + 1 < width:
                upper = floats_from(x, 2 * (i * width + j) * channels)
                pool_2x2(upper, floats_from(upper, width * channels), best, chosen, channels, relu)
                continue
            top, left = i * window[2] - window[6], j * window[3] - window[7]
            u, v = (
                first_inside(top, window[4], window[0], height),
                first_inside(left, window[5], window[1], width),
            )
            for c in range(channels):
                best[c] = -np.inf
                chosen[c] = u * window[1] + v  # if all values are -inf, it stays
            for u in range(window[0]):
                r = top + u * window[4]
                for v in range(window[1]):
                    s = left + v * window[5]
                    if r < 0 or r >= height or s < 0 or s >= width:
                        continue
                    pixel, number = floats_from(x, (r * width + s) * channels), types.uint8(u * window[1] + v)
                    for c in range(channels):
                        value, largest = pixel[c], best[c]
                        # the first of equal values stays, NaN wins; sums are vectorised, a choice between bytes is not
                        better, old = types.uint8(value > largest) | types.uint8(value != value), chosen[c]
                        best[c] = value if (value > largest) | (value != value) else largest
                        chosen[c] = types.uint8(old + better * types.uint8(number - old))
            if relu:
                for c in range(channels):
                    blocked, old = types.uint8(best[c] <= 0), chosen[c]
                    chosen[c] = types.uint8(old + blocked * types.uint8(BLOCKED - old))
                    best[c] = types.float32(0) if best[c] <= 0 else best[c]


@compiled(types.void(FLOATS, BYTES, FLOATS, INDICES, *[INDEX] * 6))
def unpool(grad, choice, into, window, height, width, step, channels, oh, ow):
    """Add each gradient to the pixel that was chosen; the rows of ``into`` are ``step`` pixels apart."""
    for i in range(oh):
        for j in range(ow):
            start = (i * ow + j) * channels
            g, chosen = floats_from(grad, start), bytes_from(choice, start)
            for u in range(window[0]):
                r = i * window[2] + u * window[4] - window[6]
                for v in range(window[1]):
                    s = j * window[3] + v * window[5] - window[7]
                    if r < 0 or r >= height or s < 0 or s >= width:
                        continue
                    pixel, number = floats_from(into, (r * step + s) * channels), types.uint8(u * window[1] + v)
                    for c in range(channels):
                        pixel[c] += g[c] if chosen[c] == number else types.float32(0)


@compiled(types.void(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, *[INDEX] * 5))
def relu_grad(grad, y, center, scale, shift, into, width, channels, height, image_width, relu):
    """The gradient of ReLU: pass it where scale (y - center) + shift is above 0 or NaN, and write 0 elsewhere.

    ``width`` is the length of the rows of ``into`` in pixels. If ``relu`` is 6, that of ReLU6: pass it between 0 and 6.
    """
    for i in range(height):
        for j in range(image_width):
            g = floats_from(grad, (i * image_width + j) * channels)
            value = floats_from(y, (i * image_width + j) * channels)
            pixel = floats_from(into, (i * width + j) * channels)
            if relu == 6:
                for c in range(channels):
                    z = (value[c] - center[c]) * scale[c] + shift[c]
                    pixel[c] = g[c] if (z > 0) & (z < 6) else types.float32(0)
                continue
            for c in range(channels):
                pixel[c] = types.float32(0) if (value[c] - center[c]) * scale[c] + shift[c] <= 0 else g[c]
