"""Sums over the pixels of an image, for each channel, in float64: 16 channels at a time, with sums in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnn.kernels.jit.engine.compilation import DOUBLES, FLOATS, INDEX, compiled, doubles_from, floats_from

LANES = 16

_SINGLES, _DOUBLES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
_SIGNATURE = types.void(FLOATS, FLOATS, INDEX, INDEX, DOUBLES, DOUBLES)


def _sums_of(with_other: bool) -> Any:
    """Make the function that adds up x and x other, or, without the other, x - x[0] and its square."""

    @intrinsic
    def sums(context: Any, x: Any, other: Any, row: Any, pixels: Any, plain: Any, product: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            x, other, row, pixels, plain, product = values
            zeros = ir.Constant(_DOUBLES, [0.0] * LANES)

            def load(start: Any, at: Any) -> Any:
                value = builder.load(builder.bitcast(builder.gep(start, [at]), _SINGLES.as_pointer()))
                value.align = 4
                return builder.fpext(value, _DOUBLES)

            first = load(x, ir.Constant(row.type, 0))
            totals = [cgutils.alloca_once_value(builder, zeros) for _ in range(2)]
            with cgutils.for_range(builder, pixels) as pixel:
                at = builder.mul(pixel.index, row)
                value = load(x, at)
                if not with_other:
                    value = builder.fsub(value, first)
                factor = load(other, at) if with_other else value
                for total, more in zip(totals, (value, builder.fmul(value, factor, flags=["contract"])), strict=True):
                    builder.store(builder.fadd(builder.load(total), more, flags=["contract"]), total)
            for total, result in zip(totals, (plain, product), strict=True):
                builder.store(builder.load(total), builder.bitcast(result, _DOUBLES.as_pointer())).align = 8
            return context.get_dummy_value()

        return _SIGNATURE, emit

    return sums


_moments, _products = _sums_of(with_other=False), _sums_of(with_other=True)


@compiled(types.void(FLOATS, DOUBLES, DOUBLES, INDEX, INDEX))
def moments(x, mean, squares, pixels, channels):
    """Compute mean and sum of squared deviations of the channels of one image.

    Sums of the differences from the image's first pixel, in float64, lose no digits where the mean is large.
    """
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        start = floats_from(x, c)
        _moments(start, start, channels, pixels, doubles_from(mean, c), doubles_from(squares, c))
    for c in range(whole, channels):
        mean[c] = 0
        squares[c] = 0
    for p in range(pixels if whole < channels else 0):
        pixel = floats_from(x, p * channels)
        for c in range(whole, channels):
            deviation = types.float64(pixel[c]) - types.float64(x[c])
            mean[c] += deviation
            squares[c] += deviation * deviation
    for c in range(channels):
        squares[c] -= mean[c] * mean[c] / pixels
        mean[c] = x[c] + mean[c] / pixels


@compiled(types.void(FLOATS, FLOATS, DOUBLES, DOUBLES, INDEX, INDEX))
def sums_with(grad, x, plain, product, pixels, channels):
    """Compute the sums of a gradient, and of gradient times x, for each channel of one image."""
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        g_start, x_start = floats_from(grad, c), floats_from(x, c)
        _products(g_start, x_start, channels, pixels, doubles_from(plain, c), doubles_from(product, c))
    for c in range(whole, channels):
        plain[c] = 0
        product[c] = 0
    for p in range(pixels if whole < channels else 0):
        g, o = floats_from(grad, p * channels), floats_from(x, p * channels)
        for c in range(whole, channels):
            plain[c] += g[c]
            product[c] += types.float64(g[c]) * types.float64(o[c])
