"""Depthwise convolution: nothing is summed over channels, so a vector holds adjacent channels.

For each pixel of the window, all channels are multiplied and added at once.
"""

from numba import types

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.compilation import FLOATS, INDEX, INDICES, compiled, floats, floats_from


@compiled(types.void(INDICES, FLOATS, FLOATS, INDEX, INDEX, INDEX))
def depthwise(a, image, y, relu, top, bottom):
    """Compute output rows ``top`` to ``bottom`` of one image; weights are (KH KW, C)."""
    c, weight, bias = a[at.C], floats(a[at.WEIGHT]), floats(a[at.BIAS_VECTOR])
    for i in range(top, bottom):
        for j in range(a[at.OW]):
            out = floats_from(y, (i * a[at.OW] + j) * c)
            for channel in range(c):
                out[channel] = bias[channel]
            for u in range(a[at.KH]):
                for v in range(a[at.KW]):
                    x = floats_from(image, ((i * a[at.SH] + u * a[at.DH]) * a[at.WP] + j * a[at.SW] + v * a[at.DW]) * c)
                    w = floats_from(weight, (u * a[at.KW] + v) * c)
                    for channel in range(c):
                        out[channel] += x[channel] * w[channel]
            if relu:
                for channel in range(c):
                    out[channel] = types.float32(0) if out[channel] <= 0 else out[channel]
            if relu == 6:
                for channel in range(c):
                    out[channel] = types.float32(6) if out[channel] >= 6 else out[channel]


@compiled(types.void(INDICES, FLOATS, FLOATS, FLOATS))
def add_depthwise_weight_grad(a, image, grad, w_grad):
    """Add the contribution of one image, (KH KW, C)."""
    c = a[at.C]
    for i in range(a[at.OH]):
        for j in range(a[at.OW]):
            g = floats_from(grad, (i * a[at.GW] + j) * c)
            for u in range(a[at.KH]):
                for v in range(a[at.KW]):
                    x = floats_from(image, ((i * a[at.SH] + u * a[at.DH]) * a[at.WP] + j * a[at.SW] + v * a[at.DW]) * c)
                    w = floats_from(w_grad, (u * a[at.KW] + v) * c)
                    for channel in range(c):
                        w[channel] += g[channel] * x[channel]


@compiled(types.void(INDICES, FLOATS, FLOATS, FLOATS))
def depthwise_input_grad(a, grad, padded, x_grad):
    """Compute the gradient of one image: add each output gradient times the weights to the pixels of its window."""
    c, weight, wp = a[at.C], floats(a[at.WEIGHT]), a[at.WP]
    for p in range(a[at.HP] * wp * c):
        padded[p] = 0
    for i in range(a[at.OH]):
        for j in range(a[at.OW]):
            g = floats_from(grad, (i * a[at.GW] + j) * c)
            for u in range(a[at.KH]):
                for v in range(a[at.KW]):
                    x = floats_from(padded, ((i * a[at.SH] + u * a[at.DH]) * wp + j * a[at.SW] + v * a[at.DW]) * c)
                    w = floats_from(weight, (u * a[at.KW] + v) * c)
                    for channel in range(c):
                        x[channel] += g[channel] * w[channel]
    for r in range(a[at.H]):
        into, line = floats_from(x_grad, r * a[at.W] * c), floats_from(padded, ((r + a[at.TOP]) * wp + a[at.LEFT]) * c)
        for p in range(a[at.W] * c):
            into[p] = line[p]
