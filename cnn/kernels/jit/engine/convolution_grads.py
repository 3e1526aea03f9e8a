"""The gradients of a convolution: the product of tile.py reads the image and the gradient directly.

In the product for the gradient of the weights, the terms of the sums are the output pixels of an image, and the rows
are the numbers of a window. The gradient of the input is in convolution_input_grad.py.
"""

from numba import types

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.channel_sums import sums_with
from cnn.kernels.jit.engine.compilation import (
    DOUBLES,
    FLOATS,
    INDEX,
    INDICES,
    bytes_,
    bytes_from,
    compiled,
    doubles,
    doubles_from,
    floats,
    floats_from,
    indices,
    indices_from,
    kernel,
)
from cnn.kernels.jit.engine.convolution import panels
from cnn.kernels.jit.engine.convolution_input_grad import input_grad, narrow_input_grad
from cnn.kernels.jit.engine.depthwise import add_depthwise_weight_grad, depthwise_input_grad
from cnn.kernels.jit.engine.image_ops import pad, relu_grad, unpool
from cnn.kernels.jit.engine.shapes import CHUNK_PIXELS
from cnn.kernels.jit.engine.tile import LOAD, PANELS, WIDTH, ZERO, multiply_across

FLOAT32_TERMS = 32  # output pixels whose gradients are added up in float32 before the sums are added in float64
MIN_ROWS_TO_COPY = 64  # rows of a product, from which on the columns of the gradient are first copied


@compiled(types.void(INDICES, INDEX, FLOATS, INDEX))
def grad_through_pool_or_relu(a, i, into, width):
    """Backpropagate the gradient of image i through the pool or ReLU, into rows of ``width`` pixels that hold zeros."""
    k, oh, ow = a[at.K], a[at.OH], a[at.OW]
    if a[at.POOL] != 0:
        first = i * a[at.PH] * a[at.PW] * k
        grad, choice = floats_from(floats(a[at.GRAD]), first), bytes_from(bytes_(a[at.CHOICE]), first)
        unpool(grad, choice, into, indices(a[at.POOL]), oh, ow, width, k, a[at.PH], a[at.PW])
        return
    first = i * oh * ow * k
    grad = floats_from(floats(a[at.GRAD]), first)
    if a[at.RELU]:
        relu_grad(
            grad,
            floats_from(floats(a[at.OUTPUT]), first),
            floats(a[at.CENTER]),
            floats(a[at.SCALE]),
            floats(a[at.SHIFT]),
            into,
            width,
            k,
            oh,
            ow,
            a[at.RELU],
        )
        return
    for r in range(oh):
        line, start = floats_from(into, r * width * k), floats_from(grad, r * ow * k)
        for p in range(ow * k):
            line[p] = start[p]


@kernel
def grad_sums(a, part, slot):
    """For a norm: the sums of the gradient and of gradient times output, for each image and channel."""
    n, k, oh, ow = a[at.N], a[at.K], a[at.OH], a[at.OW]
    scratch = floats_from(floats(a[at.SCRATCH]), slot * a[at.SCRATCH_SIZE])
    for i in range(part * n // a[at.PARTS], (part + 1) * n // a[at.PARTS]):
        if a[at.POOL] != 0:
            for p in range(oh * ow * k):
                scratch[p] = 0
        grad_through_pool_or_relu(a, i, scratch, ow)
        output = floats_from(floats(a[at.OUTPUT]), i * oh * ow * k)
        plain, product = doubles_from(doubles(a[at.MEANS]), i * k), doubles_from(doubles(a[at.SQUARES]), i * k)
        sums_with(scratch, output, plain, product, oh * ow, k)


@compiled(types.void(INDICES, INDEX, FLOATS))
def grad_through_norm(a, i, grad):
    """Backpropagate a gradient through a norm; the result is linear in the gradient and in the norm's input."""
    k, center, grad_factor, output_factor = (
        a[at.K],
        floats(a[at.CENTER]),
        floats(a[at.GRAD_FACTOR]),
        floats(a[at.OUTPUT_FACTOR]),
    )
    constant = floats(a[at.CONSTANT])
    for r in range(a[at.OH]):
        for j in range(a[at.OW]):
            g = floats_from(grad, (r * a[at.GW] + j) * k)
            o = floats_from(floats(a[at.OUTPUT]), ((i * a[at.OH] + r) * a[at.OW] + j) * k)
            for channel in range(k):
                g[channel] = grad_factor[channel] * g[channel] + (
                    output_factor[channel] * (o[channel] - center[channel]) + constant[channel]
                )


@compiled(types.void(FLOATS, DOUBLES, FLOATS, INDEX, INDEX, INDEX, INDEX))
def add_bias_grad(grad, sums, scratch, width, k, oh, ow):
    """Add up the gradient of each channel: up to `FLOAT32_TERMS` pixels of a row in float32, these sums in float64."""
    for r in range(oh):
        for first in range(0, ow, FLOAT32_TERMS):
            for channel in range(k):
                scratch[channel] = 0
            for j in range(first, min(first + FLOAT32_TERMS, ow)):
                g = floats_from(grad, (r * width + j) * k)
                for channel in range(k):
                    scratch[channel] += g[channel]
            for channel in range(k):
                sums[channel] += scratch[channel]


@compiled(types.void(FLOATS, FLOATS, *[INDEX] * 5))
def copy_columns(source, into, columns, step, skip, runs, length):
    """Copy some columns of all terms into contiguous memory.

    Where they were, often 1024 or 4096 bytes apart, they share few sets of the L1 cache, and would not stay in it until
    they are multiplied with all rows.
    """
    for t in range(runs):
        for p in range(length):
            x, line = floats_from(source, t * (length * step + skip) + p * step), floats_from(into, p * columns)
            for column in range(columns):
                line[column] = x[column]
        into = floats_from(into, length * columns)


@compiled(types.void(INDICES, INDEX, INDEX, *[FLOATS] * 4))
def add_weight_grad(a, images, is_first, image, grad, w_grad, scratch):
    """Add the contribution of images: each number that a window sees, times the gradient of the window's output.

    The contribution of the first ones is written, not added. ``images`` of them lie one after the other in memory, and
    so do their gradients. More than one have at most `CHUNK_PIXELS` together: the gradient of large weights does not
    stay in the cache from image to image.
    """
    c, k, oh, ow, groups, wp, width = a[at.C], a[at.K], a[at.OH], a[at.OW], a[at.GROUPS], a[at.WP], a[at.GW]
    cg, kg = c // groups, k // groups
    joined = a[at.DW] == 1 and groups == 1
    runs, length = (a[at.KH], a[at.KW] * c) if joined else (a[at.KH] * a[at.KW], cg)
    lines, size = indices_from(indices(a[at.RUNS]), runs), runs * length * WIDTH  # where the windows of rows start
    chunk, grad_size = max(1, CHUNK_PIXELS // ow), a[at.GH] * width * k
    for first in range(0, oh, chunk):
        count, start = min(chunk, oh - first), ZERO if is_first and first == 0 else LOAD
        for group in range(groups):
            for q in range(0, panels(kg), PANELS):
                columns = min(PANELS, panels(kg) - q) * WIDTH
                b, step, skip = floats_from(grad, first * width * k + group * kg + q * WIDTH), k, (width - ow) * k
                if images > 1 or runs * length >= MIN_ROWS_TO_COPY:
                    for i in range(images):
                        copy, source = floats_from(scratch, i * count * ow * columns), floats_from(b, i * grad_size)
                        copy_columns(source, copy, columns, step, skip, count, ow)
                    b, step, skip = scratch, columns, 0
                for run in range(runs):
                    x = floats_from(image, indices(a[at.RUNS])[run] + group * cg + first * a[at.SH] * wp * c)
                    into = floats_from(w_grad, (group * panels(kg) + q) * size + run * length * WIDTH)
                    multiply_across(
                        *(length, x, a[at.SW] * c, lines, images * count, ow, b, step, skip, WIDTH),
                        *(into, WIDTH, size, start, into, columns, 0),
                    )


@kernel
def backward(a, part, slot):
    """Compute all gradients for a part of the images; those of weights and bias are sums over the part."""
    n, c, h, w, k, oh, ow, groups = a[at.N], a[at.C], a[at.H], a[at.W], a[at.K], a[at.OH], a[at.OW], a[at.GROUPS]
    padded_size, grad_size, is_depthwise = a[at.HP] * a[at.WP] * c, a[at.GH] * a[at.GW] * k, groups == c == k
    merged = 1 if is_depthwise or not a[at.W_GRAD] else a[at.CHUNK_IMAGES]
    all_padded = floats_from(floats(a[at.SCRATCH]), slot * a[at.SCRATCH_SIZE])
    all_grads = floats_from(all_padded, merged * padded_size)
    scratch = floats_from(all_grads, merged * grad_size + WIDTH)
    size = groups * panels(k // groups) * a[at.KH] * a[at.KW] * (c // groups) * WIDTH
    if is_depthwise:
        size = a[at.KH] * a[at.KW] * c
    w_grad = floats_from(floats(a[at.W_GRAD]), part * size)
    sums = doubles_from(doubles(a[at.SUMS]), part * k)
    # the gradient is not copied if it needs no pool, ReLU or norm, no padding, and no space after the last pixel
    changed = a[at.POOL] != 0 or a[at.RELU] != 0 or a[at.GRAD_FACTOR] != 0
    copied = changed or a[at.GH] != oh or a[at.GW] != ow or (not is_depthwise and k // groups % WIDTH != 0)
    for p in range(merged * grad_size + WIDTH if copied else 0):
        all_grads[p] = 0
    start, end = part * n // a[at.PARTS], (part + 1) * n // a[at.PARTS]
    if a[at.W_GRAD]:
        for p in range(size if is_depthwise or start == end else 0):
            w_grad[p] = 0
        for channel in range(k if a[at.SUMS] else 0):
            sums[channel] = 0
    for i in range(start, end):
        place = (i - start) % merged
        padded, grad = floats_from(all_padded, place * padded_size), floats_from(all_grads, place * grad_size)
        inner = floats_from(grad, (a[at.GTOP] * a[at.GW] + a[at.GLEFT]) * k)
        if a[at.POOL] != 0:
            for p in range(grad_size):
                grad[p] = 0
        if copied:
            grad_through_pool_or_relu(a, i, inner, a[at.GW])
        else:
            grad = floats_from(floats(a[at.GRAD]), i * oh * ow * k)
            inner = grad
        if a[at.GRAD_FACTOR]:
            grad_through_norm(a, i, inner)
        if a[at.W_GRAD]:
            if a[at.SUMS]:
                add_bias_grad(inner, sums, scratch, a[at.GW], k, oh, ow)
            image = floats_from(floats(a[at.X]), i * h * w * c)
            if a[at.HP] != h or a[at.WP] != w:
                pad(image, padded, h, w, c, a[at.TOP], a[at.LEFT], a[at.WP], 0, a[at.HP])
                image = padded
            if is_depthwise:
                add_depthwise_weight_grad(a, image, inner, w_grad)
            elif place == merged - 1 or i == end - 1:
                first, first_grad = floats_from(image, -place * padded_size), floats_from(inner, -place * grad_size)
                add_weight_grad(a, place + 1, i - place == start, first, first_grad, w_grad, scratch)
        if a[at.X_GRAD]:
            x_grad = floats_from(floats(a[at.X_GRAD]), i * h * w * c)
            if is_depthwise:
                depthwise_input_grad(a, inner, padded, x_grad)
            elif a[at.NARROW]:
                narrow_input_grad(a, grad, x_grad, scratch)
            else:
                input_grad(a, grad, x_grad)


@kernel
def unpack(a, part, slot):
    """Add up the weight gradients of the parts, in the memory layout of the weights."""
    k, cg, area, groups = a[at.K], a[at.C] // a[at.GROUPS], a[at.KH] * a[at.KW], a[at.GROUPS]
    kg = k // groups
    group, q = part // panels(kg), part % panels(kg)
    size = groups * panels(kg) * area * cg * WIDTH
    partial = floats_from(floats(a[at.W_GRAD]), part * area * cg * WIDTH)
    out = floats_from(floats(a[at.Y]), (group * kg + q * WIDTH) * cg * area)
    columns, step, parts = min(WIDTH, kg - q * WIDTH), cg * area, a[at.PARTS]
    sums = floats_from(floats(a[at.SCRATCH]), slot * WIDTH)
    for channel in range(cg):  # outside, as in `pack`
        for tap in range(area):
            line, into = floats_from(partial, (tap * cg + channel) * WIDTH), floats_from(out, channel * area + tap)
            for column in range(WIDTH):
                sums[column] = line[column]
            for other in range(1, parts):
                more = floats_from(line, other * size)
                for column in range(WIDTH):
                    sums[column] += more[column]
            if columns == WIDTH:  # as in `gather`
                for column in range(WIDTH):
                    into[column * step] = sums[column]
            else:
                for column in range(columns):
                    into[column * step] = sums[column]
