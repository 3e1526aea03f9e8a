"""Depthwise convolution: nothing is summed over channels, so a vector holds adjacent channels.

In the forward pass the sums of 16 channels of a few adjacent pixels stay in registers from the first pixel of the
window to the last, as in tile.py; each weight that is loaded serves all these pixels. Channels that do not fill a
vector, and gradients, are computed for each pixel of the window at once.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.compilation import (
    AVX512,
    FLOATS,
    INDEX,
    INDICES,
    compiled,
    floats,
    floats_from,
    indices,
)
from cnn.kernels.jit.engine.tile import WIDTH

PIXELS = 8 if AVX512 else 6  # at most, whose sums are in registers

_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_SIGNATURE = types.void(INDEX, FLOATS, INDEX, INDICES, INDEX, FLOATS, INDEX, FLOATS, FLOATS, INDEX)


@intrinsic
def _pixels(context, count, x, step, offsets, taps, weight, channels, y, bias, relu):
    """Compute 16 channels of 1 to `PIXELS` adjacent pixels.

    x, step : where the window of the first pixel starts, and the distance to the next window
    offsets, taps : where in a window its pixels start, and how many they are
    weight, channels : 16 weights of the first pixel of the window; those of the next follow after ``channels`` numbers
    y, bias : where the result is written, in steps of ``channels``, and 16 numbers that are added
    relu : 0, 1 for ReLU or 6 for ReLU6
    """

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count, *rest = values
        end = builder.append_basic_block("end")
        switch = builder.switch(count, end)
        for pixels in range(1, PIXELS + 1):
            block = builder.append_basic_block(f"pixels_{pixels}")
            switch.add_case(ir.Constant(_INT, pixels), block)
            builder.position_at_end(block)
            _emit(builder, pixels, *rest)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return _SIGNATURE, emit


def _emit(
    builder: Any,
    pixels: int,
    x: Any,
    step: Any,
    offsets: Any,
    taps: Any,
    weight: Any,
    channels: Any,
    y: Any,
    bias: Any,
    relu: Any,
) -> None:
    """Emit the sums for one number of pixels."""
    fused = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fmuladd.v{WIDTH}f32")
    zero, one = ir.Constant(_INT, 0), ir.Constant(_INT, 1)

    def load(pointer: Any) -> Any:
        value = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
        value.align = 4
        return value

    entry, tap, done = builder.block, builder.append_basic_block("tap"), builder.append_basic_block("done")
    first = load(bias)
    starts = [builder.mul(step, ir.Constant(_INT, p)) for p in range(pixels)]
    builder.branch(tap)

    builder.position_at_end(tap)  # for t in range(taps), at least one
    t, w = builder.phi(_INT), builder.phi(weight.type)
    sums = [builder.phi(_VECTOR) for _ in range(pixels)]
    window, factor = builder.gep(x, [builder.load(builder.gep(offsets, [t]))]), load(w)
    more = [
        builder.call(multiply_add, [load(builder.gep(window, [start])), factor, total])
        for start, total in zip(starts, sums, strict=True)
    ]
    t_next, w_next = builder.add(t, one), builder.gep(w, [channels])
    pairs = [(t, zero, t_next), (w, weight, w_next), *((a, first, b) for a, b in zip(sums, more, strict=True))]
    for phi, first_value, next_value in pairs:
        phi.add_incoming(first_value, entry)
        phi.add_incoming(next_value, tap)
    builder.cbranch(builder.icmp_signed("<", t_next, taps), tap, done)

    builder.position_at_end(done)
    bounds = [ir.Constant(_VECTOR, [bound] * WIDTH) for bound in (-float("inf"), 0.0, 6.0, float("inf"))]
    floor = builder.select(builder.icmp_signed("!=", relu, zero), bounds[1], bounds[0])
    ceiling = builder.select(builder.icmp_signed("==", relu, ir.Constant(_INT, 6)), bounds[2], bounds[3])
    for p, total in enumerate(more):
        total = builder.select(builder.fcmp_ordered("<=", total, floor), floor, total)  # NaN stays
        total = builder.select(builder.fcmp_ordered(">", total, ceiling), ceiling, total)
        pointer = builder.gep(y, [builder.mul(channels, ir.Constant(_INT, p))])
        builder.store(total, builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4


@compiled(types.void(INDICES, FLOATS, FLOATS, INDEX, INDEX, INDEX))
def depthwise(a, image, y, relu, top, bottom):
    """Compute output rows ``top`` to ``bottom`` of one image; weights are (KH KW, C)."""
    c, ow, weight, bias = a[at.C], a[at.OW], floats(a[at.WEIGHT]), floats(a[at.BIAS_VECTOR])
    step, taps, blocks, whole = a[at.SW] * c, a[at.KH] * a[at.KW], (ow + PIXELS - 1) // PIXELS, c // WIDTH * WIDTH
    for i in range(top, bottom):
        x, line = floats_from(image, i * a[at.SH] * a[at.WP] * c), floats_from(y, i * ow * c)
        for block in range(blocks):
            j, end = block * ow // blocks, (block + 1) * ow // blocks
            for first in range(0, whole, WIDTH):
                start, out = floats_from(x, j * step + first), floats_from(line, j * c + first)
                w, b = floats_from(weight, first), floats_from(bias, first)
                _pixels(end - j, start, step, indices(a[at.RUNS]), taps, w, c, out, b, relu)
        for j in range(ow if whole < c else 0):
            out = floats_from(line, j * c)
            for channel in range(whole, c):
                out[channel] = bias[channel]
            for tap in range(taps):
                u, v = tap // a[at.KW], tap % a[at.KW]
                pixel = floats_from(x, j * step + (u * a[at.DH] * a[at.WP] + v * a[at.DW]) * c)
                w = floats_from(weight, tap * c)
                for channel in range(whole, c):
                    out[channel] += pixel[channel] * w[channel]
            for channel in range(whole, c if relu else whole):
                out[channel] = types.float32(0) if out[channel] <= 0 else out[channel]
            for channel in range(whole, c if relu == 6 else whole):
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
