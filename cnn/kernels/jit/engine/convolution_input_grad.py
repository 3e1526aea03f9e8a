"""The gradient of a convolution's input: a convolution of the gradient, with the window rotated by 180 degrees.

With stride s, only every s-th pixel of the window is multiplied with a given pixel of the image: there are s s kinds of
pixels (phases), each with a smaller window. If the input has few channels, another algorithm fills the panels better.
"""

from numba import types

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.compilation import (
    FLOATS,
    INDICES,
    compiled,
    floats,
    floats_from,
    indices,
    indices_from,
    kernel,
)
from cnn.kernels.jit.engine.convolution import gather, panel_blocks, panels, rows_at_a_time
from cnn.kernels.jit.engine.tile import PANELS, WIDTH, ZERO, multiply


@compiled(types.void(INDICES, FLOATS, FLOATS))
def input_grad(a, grad, x_grad):
    """Compute the gradient of one image, phase by phase."""
    c, h, w, k, groups, width = a[at.C], a[at.H], a[at.W], a[at.K], a[at.GROUPS], a[at.GW]
    cg, kg = c // groups, k // groups
    joined = a[at.DW] == 1 and groups == 1
    weight, offsets = floats(a[at.WEIGHT]), indices(a[at.G_RUNS])
    step_y, step_x = (a[at.DH] if a[at.SH] == 1 else 1), (a[at.DW] if a[at.SW] == 1 else 1)
    for phase_y in range(a[at.SH]):
        for phase_x in range(a[at.SW]):
            kernel_h, kernel_w = (
                (a[at.KH] - phase_y + a[at.SH] - 1) // a[at.SH],
                (a[at.KW] - phase_x + a[at.SW] - 1) // a[at.SW],
            )
            kernel_h, kernel_w = max(0, kernel_h), max(0, kernel_w)
            runs, length = (kernel_h, kernel_w * k) if joined else (kernel_h * kernel_w, kg)
            runs = runs if length else 0
            top, left = (phase_y - a[at.TOP]) % a[at.SH], (phase_x - a[at.LEFT]) % a[at.SW]
            count = (w - left + a[at.SW] - 1) // a[at.SW]
            column = (left + a[at.LEFT]) // a[at.SW] - (kernel_w - 1) * step_x + a[at.GLEFT]
            lines = (h - top + a[at.SH] - 1) // a[at.SH]
            chunk = rows_at_a_time(lines, max(count, 1), groups * panels(cg) * runs * length)
            for first in range(0, lines, chunk):
                for block in range(groups * panel_blocks(cg)):
                    group, q = block // panel_blocks(cg), block % panel_blocks(cg) * PANELS
                    size, step, columns = runs * length * WIDTH, a[at.SW] * c, min(PANELS * WIDTH, cg - q * WIDTH)
                    panel = floats_from(weight, (group * panels(cg) + q) * size)
                    for m in range(first, min(first + chunk, lines) if count else 0):
                        r = top + m * a[at.SH]
                        line = (r + a[at.TOP]) // a[at.SH] - (kernel_h - 1) * step_y + a[at.GTOP]
                        g = floats_from(grad, (line * width + column) * k + group * kg)
                        out = floats_from(x_grad, (r * w + left) * c + group * cg + q * WIDTH)
                        multiply(
                            count, g, k, offsets, runs, length, panel, size, out, step, WIDTH, ZERO, panel, columns, 0
                        )
            weight = floats_from(weight, groups * panels(cg) * runs * length * WIDTH)
            offsets = indices_from(offsets, a[at.KH] * a[at.KW])


@compiled(types.void(INDICES, *[FLOATS] * 3))
def narrow_input_grad(a, grad, x_grad, scratch):
    """Compute the gradient of one image of few channels, which alone would leave a panel almost empty.

    The columns of the panel are the channels of all pixels in a row of the window: the contributions of each output
    pixel to these are computed at once, and then added up for each pixel.
    """
    c, w, k, ow, width, row_length = a[at.C], a[at.W], a[at.K], a[at.OW], a[at.GW], a[at.KW] * a[at.C]
    panel, products, line = floats(a[at.WEIGHT]), scratch, floats_from(scratch, ow * WIDTH)
    length = (ow + a[at.KW] - 1) * c
    for r in range(a[at.H]):
        top = r + a[at.TOP] - (a[at.KH] - 1) * a[at.DH] + a[at.GTOP]
        g, runs = floats_from(grad, (top * width + a[at.GLEFT]) * k), indices(a[at.G_RUNS])
        multiply(ow, g, k, runs, a[at.KH], k, panel, 0, products, WIDTH, 0, ZERO, panel, WIDTH, 0)
        for p in range(length):
            line[p] = 0
        for q in range(ow):
            pixels, source = floats_from(line, q * c), floats_from(products, q * WIDTH)
            for p in range(row_length):
                pixels[p] += source[p]
        out, start = floats_from(x_grad, r * w * c), floats_from(line, a[at.LEFT] * c)
        for p in range(w * c):
            out[p] = start[p]


@compiled(types.void(INDICES, FLOATS))
def pack_narrow(a, out):
    """Pack weights for `narrow_input_grad`: rows of the window from the last to the first."""
    c, k, kh, kw, weight = a[at.C], a[at.K], a[at.KH], a[at.KW], floats(a[at.WEIGHT])
    for p in range(kh * k * WIDTH):
        out[p] = 0
    for t in range(kh):
        for channel in range(k):
            line = floats_from(out, (t * k + channel) * WIDTH)
            for v in range(kw):
                for ch in range(c):
                    line[v * c + ch] = weight[((channel * c + ch) * kh + kh - 1 - t) * kw + v]


@kernel
def pack_rotated(a, part, slot):
    """Pack weights for `input_grad`: for each phase its rotated window, a panel for 16 input channels.

    Or for `narrow_input_grad`.
    """
    k, cg, kh, kw, groups = a[at.K], a[at.C] // a[at.GROUPS], a[at.KH], a[at.KW], a[at.GROUPS]
    kg = k // groups
    group, q = part // panels(cg), part % panels(cg)
    columns = min(WIDTH, cg - q * WIDTH)
    out = floats(a[at.Y])
    if a[at.NARROW]:
        pack_narrow(a, out)
        return
    for phase_y in range(a[at.SH]):
        for phase_x in range(a[at.SW]):
            kernel_h = max(0, (kh - phase_y + a[at.SH] - 1) // a[at.SH])
            kernel_w = max(0, (kw - phase_x + a[at.SW] - 1) // a[at.SW])
            panel = floats_from(out, part * kernel_h * kernel_w * kg * WIDTH)
            for channel in range(kg):  # outside, as in `pack`
                for t in range(kernel_h * kernel_w):
                    u = phase_y + (kernel_h - 1 - t // kernel_w) * a[at.SH]
                    v = phase_x + (kernel_w - 1 - t % kernel_w) * a[at.SW]
                    start = floats_from(
                        floats(a[at.WEIGHT]), (((group * kg + channel) * cg + q * WIDTH) * kh + u) * kw + v
                    )
                    gather(floats_from(panel, (t * kg + channel) * WIDTH), start, kh * kw, columns)
            out = floats_from(out, groups * panels(cg) * kernel_h * kernel_w * kg * WIDTH)
