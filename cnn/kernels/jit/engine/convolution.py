"""Convolution without a window matrix (im2col): the product of tile.py reads the image directly.

Each image is copied and padded with zeros; the copy is small enough to stay in the cache. In it the pixels of a row of
the window are contiguous, channels last: a window is KH runs of KW C numbers (with groups or dilation KH KW runs of
C / groups). Adjacent windows are rows of the product, and output channels are its columns.
"""

from numba import types

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.channel_sums import moments
from cnn.kernels.jit.engine.compilation import (
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
    kernel,
)
from cnn.kernels.jit.engine.depthwise import depthwise
from cnn.kernels.jit.engine.image_ops import pad, pool
from cnn.kernels.jit.engine.tile import BIAS, PANELS, WIDTH, multiply


@compiled(types.int64(INDEX))
def panels(channels):
    """Return how many panels of 16 columns the channels fill."""
    return (channels + WIDTH - 1) // WIDTH


@compiled(types.int64(INDEX))
def panel_blocks(channels):
    """Return how many blocks of `PANELS` panels, which are multiplied at once, the channels fill."""
    return (panels(channels) + PANELS - 1) // PANELS


MIN_PIXELS = 48  # of the output, at the least, for each panel that is loaded
SMALL_WEIGHTS = 2048  # rows of panels, 128 KB: weights that stay in the L2 cache


@compiled(types.int64(INDEX, INDEX, INDEX))
def rows_at_a_time(rows, columns, panel_rows):
    """Return how many output rows are multiplied with one panel after another.

    Few, so that all channels of an output pixel are written before the next; all rows, if the weights are too large to
    be loaded again and again.
    """
    return max(1, MIN_PIXELS // columns) if panel_rows <= SMALL_WEIGHTS else max(1, rows)


@compiled(types.void(INDICES, INDEX, FLOATS, INDEX, INDEX))
def finish(a, i, y, first_row, last_row):
    """Compute these rows of the pool of image i, which is convolved, or the image's moments for a norm."""
    k = a[at.K]
    if a[at.POOL] != 0:
        start, window = i * a[at.PH] * a[at.PW] * k, indices(a[at.POOL])
        into, choice = floats_from(floats(a[at.Y]), start), bytes_from(bytes_(a[at.CHOICE]), start)
        pool(y, into, choice, window, a[at.OH], a[at.OW], k, first_row, last_row, a[at.PW], a[at.RELU])
    if a[at.MEANS]:
        means, squares = doubles_from(doubles(a[at.MEANS]), i * k), doubles_from(doubles(a[at.SQUARES]), i * k)
        moments(y, means, squares, a[at.OH] * a[at.OW], k)


@kernel
def forward(a, part, slot):
    """Convolve a part of the images; then ReLU, or a pool, or mean and squared deviations of each image."""
    n, c, h, w, k, oh, ow, groups = a[at.N], a[at.C], a[at.H], a[at.W], a[at.K], a[at.OH], a[at.OW], a[at.GROUPS]
    cg, kg = c // groups, k // groups
    joined = a[at.DW] == 1 and groups == 1
    runs, length = (a[at.KH], a[at.KW] * c) if joined else (a[at.KH] * a[at.KW], cg)
    chunk = rows_at_a_time(oh, ow, groups * panels(kg) * runs * length)
    has_pool, is_depthwise = a[at.POOL] != 0, groups == c == k
    relu = a[at.RELU] if not has_pool else 0
    padded = floats_from(floats(a[at.SCRATCH]), slot * a[at.SCRATCH_SIZE])
    conv_out = floats_from(padded, a[at.HP] * a[at.WP] * c)
    start, end, top, bottom = part * n // a[at.PARTS], (part + 1) * n // a[at.PARTS], 0, oh
    first_row, last_row = 0, a[at.PH]  # of the pool's output
    blocks = groups * panel_blocks(kg)
    first_block, last_block = 0, blocks
    if a[at.BANDS] > 1:
        start, end, band = part // a[at.BANDS], part // a[at.BANDS] + 1, part % a[at.BANDS]
        if a[at.BY_CHANNELS]:
            first_block, last_block = band * blocks // a[at.BANDS], (band + 1) * blocks // a[at.BANDS]
        else:
            top, bottom = band * oh // a[at.BANDS], (band + 1) * oh // a[at.BANDS]
        if has_pool:
            window = indices(a[at.POOL])
            first_row, last_row = band * a[at.PH] // a[at.BANDS], (band + 1) * a[at.PH] // a[at.BANDS]
            top, beyond = first_row * window[2] - window[6], (last_row - 1) * window[2] - window[6]
            top, bottom = max(0, top), min(oh, beyond + (window[0] - 1) * window[4] + 1)
    for i in range(start, end):
        image = floats_from(floats(a[at.X]), i * h * w * c)
        if a[at.HP] != h or a[at.WP] != w:
            first, last = top * a[at.SH], min(a[at.HP], (bottom - 1) * a[at.SH] + (a[at.KH] - 1) * a[at.DH] + 1)
            pad(image, padded, h, w, c, a[at.TOP], a[at.LEFT], a[at.WP], first, last)
            image = padded
        y = conv_out if has_pool else floats_from(floats(a[at.Y]), i * oh * ow * k)
        if is_depthwise:
            depthwise(a, image, y, relu, top, bottom)
        for first in range(top, top if is_depthwise else bottom, chunk):
            for block in range(first_block, last_block):
                group, q = block // panel_blocks(kg), block % panel_blocks(kg) * PANELS
                size, columns = runs * length * WIDTH, min(PANELS * WIDTH, kg - q * WIDTH)
                panel = floats_from(floats(a[at.WEIGHT]), (group * panels(kg) + q) * size)
                bias = floats_from(floats(a[at.BIAS_VECTOR]), (group * panels(kg) + q) * WIDTH)
                step, offsets = a[at.SW] * c, indices(a[at.RUNS])
                for r in range(first, min(first + chunk, bottom)):
                    x = floats_from(image, r * a[at.SH] * a[at.WP] * c + group * cg)
                    y_row = floats_from(y, r * ow * k + group * kg + q * WIDTH)
                    multiply(
                        ow, x, step, offsets, runs, length, panel, size, y_row, k, WIDTH, BIAS, bias, columns, relu
                    )
        finish(a, i, y, first_row, last_row)


@compiled(types.void(FLOATS, FLOATS, INDEX, INDEX))
def gather(line, source, step, columns):
    """Fill a line of a panel with every ``step``-th number, and with zeros after ``columns`` of them."""
    if columns == WIDTH:  # a loop of fixed length takes a third of the time
        for column in range(WIDTH):
            line[column] = source[column * step]
    else:
        for column in range(columns):
            line[column] = source[column * step]
        for column in range(columns, WIDTH):
            line[column] = 0


@kernel
def pack(a, part, slot):
    """Pack weights for `forward`: a panel for 16 output channels, with the numbers of a window in order."""
    k, cg, area, groups = a[at.K], a[at.C] // a[at.GROUPS], a[at.KH] * a[at.KW], a[at.GROUPS]
    kg = k // groups
    group, q = part // panels(kg), part % panels(kg)
    out, columns = floats_from(floats(a[at.Y]), part * area * cg * WIDTH), min(WIDTH, kg - q * WIDTH)
    weight = floats_from(floats(a[at.WEIGHT]), (group * kg + q * WIDTH) * cg * area)
    for channel in range(cg):  # outside, so that a line of the cache with numbers of several taps is read once
        for tap in range(area):
            line = floats_from(out, (tap * cg + channel) * WIDTH)
            gather(line, floats_from(weight, channel * area + tap), cg * area, columns)
    if a[at.SCALE]:
        scale = floats_from(floats(a[at.SCALE]), group * kg + q * WIDTH)
        for row in range(area * cg):
            line = floats_from(out, row * WIDTH)
            for column in range(columns):
                line[column] *= scale[column]
