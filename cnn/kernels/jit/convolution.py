"""Convolution without a matrix of windows: the product of tile.py looks straight into the picture.

Of each picture a copy with its rim of zeros is made, small enough to stay in the cache. In it the pixels of a row of
the window lie side by side, channels last: a window is KH runs of KW C numbers (with groups or dilation KH KW runs of
C / groups). Six windows beside each other are six rows of the product, 16 channels of the output its columns.
"""

from numba import types

from cnn.kernels.jit.compiled import (
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
from cnn.kernels.jit.pictures import moments, pool, surround
from cnn.kernels.jit.tile import BIAS, ROWS, WIDTH, tile

# Places in the arguments. What a convolution is made of:
(N, C, H, W, K, OH, OW, KH, KW, SH, SW, DH, DW, TOP, LEFT, GROUPS) = range(16)
# the padded picture, the padded gradient, and the rim around that; places of runs in the padded picture, and in the gradient
(HP, WP, GH, GW, GTOP, GLEFT, RUNS, G_RUNS) = range(16, 24)
# a pool behind it, and ReLU
(PH, PW, POOL, RELU) = range(24, 28)  # POOL: where size, stride, dilation and padding are, 0 without one
# arrays
(X, WEIGHT, BIAS_VECTOR, Y, CHOICE, MEANS, SQUARES) = range(28, 35)
(GRAD, OUTPUT, CENTER, SCALE, SHIFT, OF_GRAD, OF_OUTPUT, CONSTANT, X_GRAD, W_GRAD, SUMS) = range(35, 46)
(SCRATCH, SCRATCH_SIZE, PARTS) = range(46, 49)
COUNT = 49


@compiled(types.int64(INDEX))
def panels(channels):  # type: ignore[no-untyped-def]
    """How many panels of 16 columns the channels fill."""
    return (channels + WIDTH - 1) // WIDTH


@compiled(types.void(FLOATS, INDEX, INDEX, INDICES, INDEX, INDEX, FLOATS, FLOATS, INDEX, INDEX, INDEX, FLOATS, INDEX))
def row_of_places(x, step, count, offsets, runs, length, panel, y, y_step, columns, start, bias, relu):  # type: ignore[no-untyped-def]
    """One row of the picture: ``count`` windows, each ``step`` numbers further, times a panel."""
    blocks, done = (count + ROWS - 1) // ROWS, 0
    for block in range(blocks):
        rows = (count - done + blocks - block - 1) // (blocks - block)  # as even as can be
        a, c = floats_from(x, done * step), floats_from(y, done * y_step)
        tile(rows, a, step, 1, offsets, runs, length, panel, WIDTH, 0, c, y_step, start, bias, columns, relu)
        done += rows


@kernel
def forward(a, part):  # type: ignore[no-untyped-def]
    """Convolve a part of the pictures; then ReLU, or a pool, or mean and squared deviations of each picture."""
    n, c, h, w, k, oh, ow, groups = a[N], a[C], a[H], a[W], a[K], a[OH], a[OW], a[GROUPS]
    cg, kg = c // groups, k // groups
    joined = a[DW] == 1 and groups == 1
    runs, length = (a[KH], a[KW] * c) if joined else (a[KH] * a[KW], cg)
    pooled = a[POOL] != 0
    scratch = floats_from(floats(a[SCRATCH]), part * a[SCRATCH_SIZE])
    made = floats_from(scratch, a[HP] * a[WP] * c)
    for i in range(part * n // a[PARTS], (part + 1) * n // a[PARTS]):
        image = floats_from(floats(a[X]), i * h * w * c)
        if a[HP] != h or a[WP] != w:
            surround(image, scratch, h, w, c, a[TOP], a[LEFT], a[HP], a[WP])
            image = scratch
        y = made if pooled else floats_from(floats(a[Y]), i * oh * ow * k)
        for group in range(groups):
            for q in range(panels(kg)):
                which, columns = group * panels(kg) + q, min(WIDTH, kg - q * WIDTH)
                panel = floats_from(floats(a[WEIGHT]), which * runs * length * WIDTH)
                bias = floats_from(floats(a[BIAS_VECTOR]), which * WIDTH)
                for r in range(oh):
                    row_of_places(
                        floats_from(image, r * a[SH] * a[WP] * c + group * cg),
                        a[SW] * c,
                        ow,
                        indices(a[RUNS]),
                        runs,
                        length,
                        panel,
                        floats_from(y, r * ow * k + group * kg + q * WIDTH),
                        k,
                        columns,
                        BIAS,
                        bias,
                        a[RELU] if not pooled else 0,
                    )
        if pooled:
            place = i * a[PH] * a[PW] * k
            pool(
                made,
                floats_from(floats(a[Y]), place),
                bytes_from(bytes_(a[CHOICE]), place),
                indices(a[POOL]),
                oh,
                ow,
                k,
                a[PH],
                a[PW],
                a[RELU],
            )
        if a[MEANS]:
            moments(
                y, made, doubles_from(doubles(a[MEANS]), i * k), doubles_from(doubles(a[SQUARES]), i * k), oh * ow, k
            )


@kernel
def pack(a, part):  # type: ignore[no-untyped-def]
    """Lay out weights for `forward`: a panel for 16 output channels, in it the numbers of a window in order."""
    k, cg, area, groups = a[K], a[C] // a[GROUPS], a[KH] * a[KW], a[GROUPS]
    kg = k // groups
    group, q = part // panels(kg), part % panels(kg)
    out, columns = floats_from(floats(a[Y]), part * area * cg * WIDTH), min(WIDTH, kg - q * WIDTH)
    weight = floats_from(floats(a[WEIGHT]), (group * kg + q * WIDTH) * cg * area)
    for tap in range(area):
        for channel in range(cg):
            line, start = floats_from(out, (tap * cg + channel) * WIDTH), floats_from(weight, channel * area + tap)
            for column in range(columns):
                line[column] = start[column * cg * area]
            for column in range(columns, WIDTH):
                line[column] = 0
