"""3x3 convolutions with the Winograd algorithm: map pixels to values at 36 points, compute a product over the channels
for each point, and map the results back. Some images at a time, so that the weights of a point are loaded once for many
tiles.

An image of values of very different size is only marked as uneven: kernels/jit/conv2d.py computes it the direct way.

Values are (36, tiles, C) or (36, tiles, K), with some space between the points: see `point_stride`.
"""

from numba import types

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.compilation import (
    FLOATS,
    INDEX,
    INDICES,
    bytes_,
    compiled,
    doubles,
    doubles_from,
    floats,
    floats_from,
    indices,
    kernel,
)
from cnn.kernels.jit.engine.convolution import finish
from cnn.kernels.jit.engine.convolution_grads import add_bias_grad, grad_through_norm, grad_through_pool_or_relu
from cnn.kernels.jit.engine.image_ops import is_uneven, pad
from cnn.kernels.jit.engine.tile import LOAD, PANELS, WIDTH, ZERO, multiply, multiply_across
from cnn.kernels.jit.engine.winograd import (
    INPUT_TILE,
    LANES,
    OUTPUT_TILE,
    POINTS,
    outputs_to_points,
    pixels_to_points,
    points_to_outputs,
    points_to_weights,
    weights_to_points,
)


@compiled(types.int64(INDEX, INDEX))
def point_stride(tiles, channels):
    """Return the distance from the values at one point to those at the next: a cache line more than they need.

    Otherwise they would often be a multiple of 4096 bytes apart, and the values of a tile at all points would be in one
    set of the L1 cache, which holds 8 or 12 lines.
    """
    return tiles * channels + WIDTH


@compiled(types.void(FLOATS, INDEX, INDEX, FLOATS, *[INDEX] * 4))
def to_points(image, width, channels, values, first, tiles, down, across):
    """Compute the values of an image's tiles, written from tile ``first`` on: (36, tiles, C)."""
    plane = point_stride(tiles, channels)
    for i in range(down):
        for j in range(across):
            pixel = floats_from(image, (OUTPUT_TILE * i * width + OUTPUT_TILE * j) * channels)
            value = floats_from(values, (first + i * across + j) * channels)
            for c in range(0, channels, LANES):
                x, y = floats_from(pixel, c), floats_from(value, c)
                pixels_to_points(x, width * channels, channels, y, INPUT_TILE * plane, plane)


@compiled(types.void(FLOATS, INDEX, INDEX, FLOATS, *[INDEX] * 4))
def grad_to_points(grad, width, channels, values, first, tiles, down, across):
    """Compute the values of the gradient's tiles, written from tile ``first`` on: (36, tiles, K)."""
    plane = point_stride(tiles, channels)
    for i in range(down):
        for j in range(across):
            pixel = floats_from(grad, (OUTPUT_TILE * i * width + OUTPUT_TILE * j) * channels)
            value = floats_from(values, (first + i * across + j) * channels)
            for c in range(0, channels, LANES):
                x, y = floats_from(pixel, c), floats_from(value, c)
                outputs_to_points(x, width * channels, channels, y, INPUT_TILE * plane, plane)


@compiled(types.void(FLOATS, FLOATS, FLOATS, INDICES, INDEX, INDEX, INDEX))
def products(values, weight, results, start, tiles, channels, outputs):
    """Multiply values with weights at each point: (36, tiles, C), (36, K/16, C, 16) -> (36, tiles, K)."""
    panels = outputs // WIDTH
    for point in range(POINTS):
        for q in range(0, panels, PANELS):
            panel, size = floats_from(weight, (point * panels + q) * channels * WIDTH), channels * WIDTH
            a = floats_from(values, point * point_stride(tiles, channels))
            c = floats_from(results, point * point_stride(tiles, outputs) + q * WIDTH)
            columns = min(PANELS, panels - q) * WIDTH
            multiply(tiles, a, channels, start, 1, channels, panel, size, c, outputs, WIDTH, ZERO, panel, columns, 0)


@compiled(types.void(FLOATS, FLOATS, FLOATS, FLOATS, *[INDEX] * 8))
def from_points(values, bias, scratch, y, first, tiles, channels, down, across, height, width, relu):
    """Compute an image's outputs from the values of its tiles; ``scratch`` has space for a tile."""
    plane = point_stride(tiles, channels)
    for i in range(down):
        for j in range(across):
            value = floats_from(values, (first + i * across + j) * channels)
            for c in range(0, channels, LANES):
                out = floats_from(scratch, c)
                points_to_outputs(
                    floats_from(value, c), INPUT_TILE * plane, plane, out, OUTPUT_TILE * channels, channels
                )
            for u in range(min(OUTPUT_TILE, height - OUTPUT_TILE * i)):
                for v in range(min(OUTPUT_TILE, width - OUTPUT_TILE * j)):
                    result = floats_from(scratch, (u * OUTPUT_TILE + v) * channels)
                    out = floats_from(y, ((OUTPUT_TILE * i + u) * width + OUTPUT_TILE * j + v) * channels)
                    if relu:
                        for c in range(channels):
                            total = result[c] + bias[c]
                            out[c] = types.float32(0) if total <= 0 else total
                        for c in range(channels if relu == 6 else 0):
                            out[c] = types.float32(6) if out[c] >= 6 else out[c]
                    else:
                        for c in range(channels):
                            out[c] = result[c] + bias[c]


@compiled(types.void(INDICES, INDEX, types.boolean))
def mark(a, i, uneven):
    """Write down whether image i is uneven."""
    bytes_(a[at.UNEVEN])[i] = uneven
    if uneven:
        a[at.ANY_UNEVEN] = 1


@kernel
def weights(a, part, slot):
    """Map packed weights to values, panel by panel: (9, C, 16) of each panel -> (36, panels, C, 16)"""
    c, packed, out = a[at.C], floats(a[at.WEIGHT]), floats(a[at.Y])
    plane = a[at.PARTS] * c * WIDTH
    for channel in range(c):
        for lane in range(0, WIDTH, LANES):
            x = floats_from(packed, (part * 9 * c + channel) * WIDTH + lane)
            y = floats_from(out, (part * c + channel) * WIDTH + lane)
            weights_to_points(x, 3 * c * WIDTH, c * WIDTH, y, INPUT_TILE * plane, plane)


@compiled(types.void(INDICES, INDEX, *[FLOATS] * 5))
def band(a, part, padded, values, results, scratch, conv_out):
    """Convolve some rows of tiles of one image, and pool them; used where there are fewer images than threads."""
    c, h, w, k, oh, ow, bands = a[at.C], a[at.H], a[at.W], a[at.K], a[at.OH], a[at.OW], a[at.BANDS]
    i, at_band, across = part // bands, part % bands, a[at.TILE_COLUMNS]
    top, bottom = at_band * a[at.TILE_ROWS] // bands, (at_band + 1) * a[at.TILE_ROWS] // bands
    tiles = (bottom - top) * across
    x, start = floats_from(floats(a[at.X]), i * h * w * c), floats_from(padded, OUTPUT_TILE * top * a[at.WP] * c)
    has_pool = a[at.POOL] != 0
    image = conv_out if has_pool else floats_from(floats(a[at.Y]), i * oh * ow * k)
    y = floats_from(image, OUTPUT_TILE * top * ow * k)
    if at_band == 0:
        mark(a, i, is_uneven(a[at.X] + 4 * i * h * w * c, h * w, c))
    pad(x, padded, h, w, c, a[at.TOP], a[at.LEFT], a[at.WP], OUTPUT_TILE * top, OUTPUT_TILE * bottom + 2)
    to_points(start, a[at.WP], c, values, 0, tiles, bottom - top, across)
    products(values, floats(a[at.WEIGHT]), results, indices(a[at.RUNS]), tiles, c, k)
    bias, height = floats(a[at.BIAS_VECTOR]), oh - OUTPUT_TILE * top
    relu = a[at.RELU] if not has_pool else 0
    from_points(results, bias, scratch, y, 0, tiles, k, bottom - top, across, height, ow, relu)
    if has_pool:  # its windows do not reach from one row of tiles to the next, see conv_plan.py
        rows = OUTPUT_TILE // indices(a[at.POOL])[2]
        finish(a, i, image, rows * top, a[at.PH] if at_band == bands - 1 else rows * bottom)


@kernel
def forward(a, part, slot):
    """Convolve a part of the images; then ReLU, or a pool, or mean and squared deviations of each image."""
    n, c, h, w, k, oh, ow = a[at.N], a[at.C], a[at.H], a[at.W], a[at.K], a[at.OH], a[at.OW]
    down, across, chunk, has_pool = a[at.TILE_ROWS], a[at.TILE_COLUMNS], a[at.CHUNK_IMAGES], a[at.POOL] != 0
    padded = floats_from(floats(a[at.SCRATCH]), slot * a[at.SCRATCH_SIZE])
    values = floats_from(padded, a[at.HP] * a[at.WP] * c)
    results = floats_from(values, POINTS * point_stride(chunk * down * across, c))
    scratch = floats_from(results, POINTS * point_stride(chunk * down * across, k))
    conv_out = floats_from(scratch, OUTPUT_TILE * OUTPUT_TILE * k)
    if a[at.BANDS] > 1:
        band(a, part, padded, values, results, scratch, conv_out)
        return
    last = (part + 1) * n // a[at.PARTS]
    for base in range(part * n // a[at.PARTS], last, chunk):
        count = min(chunk, last - base)
        tiles = count * down * across
        for m in range(count):
            x = floats_from(floats(a[at.X]), (base + m) * h * w * c)
            mark(a, base + m, is_uneven(a[at.X] + 4 * (base + m) * h * w * c, h * w, c))
            pad(x, padded, h, w, c, a[at.TOP], a[at.LEFT], a[at.WP], 0, a[at.HP])
            to_points(padded, a[at.WP], c, values, m * down * across, tiles, down, across)
        products(values, floats(a[at.WEIGHT]), results, indices(a[at.RUNS]), tiles, c, k)
        for m in range(count):
            i = base + m
            y = conv_out if has_pool else floats_from(floats(a[at.Y]), i * oh * ow * k)
            relu = a[at.RELU] if not has_pool else 0
            bias = floats(a[at.BIAS_VECTOR])
            from_points(results, bias, scratch, y, m * down * across, tiles, k, down, across, oh, ow, relu)
            finish(a, i, y, 0, a[at.PH])


@compiled(types.void(FLOATS, *[INDEX] * 4))
def clear(values, first, count, tiles, channels):
    """Write zeros for some of the tiles."""
    for point in range(POINTS):
        line = floats_from(values, point * point_stride(tiles, channels) + first * channels)
        for p in range(count * channels):
            line[p] = 0


@compiled(types.void(INDICES, FLOATS, FLOATS, FLOATS, INDEX))
def add_products(a, values, grad_values, sums, tiles):
    """Add the products of pixels and gradients over all tiles, for each point: -> (36, K/16, C, 16)"""
    c, k, start = a[at.C], a[at.K], indices(a[at.RUNS])
    panels = k // WIDTH
    for point in range(POINTS):
        for q in range(0, panels, PANELS):
            x = floats_from(values, point * point_stride(tiles, c))
            b = floats_from(grad_values, point * point_stride(tiles, k))
            b, into = floats_from(b, q * WIDTH), floats_from(sums, (point * panels + q) * c * WIDTH)
            columns = min(PANELS, panels - q) * WIDTH
            multiply_across(c, x, c, start, 1, tiles, b, k, 0, WIDTH, into, WIDTH, c * WIDTH, LOAD, into, columns, 0)


@kernel
def backward(a, part, slot):
    """Compute all gradients for a part of the images; those of weights and bias are sums over the part."""
    n, c, h, w, k, oh, ow, chunk = a[at.N], a[at.C], a[at.H], a[at.W], a[at.K], a[at.OH], a[at.OW], a[at.CHUNK_IMAGES]
    down, across, x_down, x_across = a[at.TILE_ROWS], a[at.TILE_COLUMNS], a[at.X_TILE_ROWS], a[at.X_TILE_COLUMNS]
    max_tiles = chunk * max(down * across, x_down * x_across)
    padded = floats_from(floats(a[at.SCRATCH]), slot * a[at.SCRATCH_SIZE])
    grad = floats_from(padded, a[at.HP] * a[at.WP] * c)
    values = floats_from(grad, a[at.GH] * a[at.GW] * k)  # of x, then of its gradient
    grad_values = floats_from(values, POINTS * point_stride(max_tiles, c))
    rotated_values = floats_from(grad_values, POINTS * point_stride(max_tiles, k))
    scratch = floats_from(rotated_values, POINTS * point_stride(max_tiles, k))
    inner = floats_from(grad, (a[at.GTOP] * a[at.GW] + a[at.GLEFT]) * k)
    sums, bias_sums = (
        floats_from(floats(a[at.W_GRAD]), part * POINTS * c * k),
        doubles_from(doubles(a[at.SUMS]), part * k),
    )
    for p in range(a[at.GH] * a[at.GW] * k):
        grad[p] = 0
    if a[at.W_GRAD]:
        for p in range(POINTS * c * k):
            sums[p] = 0
        for channel in range(k if a[at.SUMS] else 0):
            bias_sums[channel] = 0
    last = (part + 1) * n // a[at.PARTS]
    for base in range(part * n // a[at.PARTS], last, chunk):
        count = min(chunk, last - base)
        tiles, x_tiles = count * down * across, count * x_down * x_across
        for m in range(count):
            i = base + m
            if a[at.POOL] != 0:
                for p in range(a[at.GH] * a[at.GW] * k):
                    grad[p] = 0
            grad_through_pool_or_relu(a, i, inner, a[at.GW])
            if a[at.GRAD_FACTOR]:
                grad_through_norm(a, i, inner)
            first = a[at.SCRATCH] + 4 * (slot * a[at.SCRATCH_SIZE] + a[at.HP] * a[at.WP] * c)
            uneven = is_uneven(first, a[at.GH] * a[at.GW], k)
            if a[at.W_GRAD]:
                uneven = uneven or is_uneven(a[at.X] + 4 * i * h * w * c, h * w, c)
            mark(a, i, uneven)
            if a[at.W_GRAD]:
                if a[at.SUMS]:
                    add_bias_grad(inner, bias_sums, scratch, a[at.GW], k, oh, ow)
                x = floats_from(floats(a[at.X]), i * h * w * c)
                pad(x, padded, h, w, c, a[at.TOP], a[at.LEFT], a[at.WP], 0, a[at.HP])
                to_points(padded, a[at.WP], c, values, m * down * across, tiles, down, across)
                grad_to_points(inner, a[at.GW], k, grad_values, m * down * across, tiles, down, across)
                if uneven:
                    clear(values, m * down * across, down * across, tiles, c)
                    clear(grad_values, m * down * across, down * across, tiles, k)
            if a[at.X_GRAD]:
                start = floats_from(grad, (a[at.TOP] * a[at.GW] + a[at.LEFT]) * k)
                to_points(start, a[at.GW], k, rotated_values, m * x_down * x_across, x_tiles, x_down, x_across)
        if a[at.W_GRAD]:
            add_products(a, values, grad_values, sums, tiles)
        if a[at.X_GRAD]:
            products(rotated_values, floats(a[at.WEIGHT]), values, indices(a[at.RUNS]), x_tiles, k, c)
            for m in range(count):
                y, first = floats_from(floats(a[at.X_GRAD]), (base + m) * h * w * c), m * x_down * x_across
                zero = floats(a[at.BIAS_VECTOR])
                from_points(values, zero, scratch, y, first, x_tiles, c, x_down, x_across, h, w, 0)


@kernel
def gather(a, part, slot):
    """Add up the parts' sums at the points and map them to packed weights: (36, panels, C, 16) -> (9, C, 16)"""
    c, k, parts = a[at.C], a[at.K], a[at.PARTS]
    sums, out = floats(a[at.W_GRAD]), floats_from(floats(a[at.Y]), part * 9 * c * WIDTH)
    plane = c * k
    for point in range(POINTS):
        line = floats_from(sums, point * plane + part * c * WIDTH)
        for other in range(1, parts):
            more = floats_from(line, other * POINTS * plane)
            for p in range(c * WIDTH):
                line[p] += more[p]
    for channel in range(c):
        for lane in range(0, WIDTH, LANES):
            x = floats_from(sums, (part * c + channel) * WIDTH + lane)
            y = floats_from(out, channel * WIDTH + lane)
            points_to_weights(x, INPUT_TILE * plane, plane, y, 3 * c * WIDTH, c * WIDTH)
