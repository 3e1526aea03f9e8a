"""The three linear maps of the Winograd algorithm F(4x4, 3x3): 16 outputs of a 3x3 window from 36 products, not 144.

    y = A' ((G w G') * (B' d B)) A        d: 6x6 pixels, w: 3x3 weights, y: 4x4 outputs, * element by element

A product of polynomials is the product of their values at as many points as it has coefficients; here the points are 0,
1, -1, 2, -2 and infinity. B maps pixels to values at the points, G maps the weights, and A maps the values to outputs.
The gradients use the transposed maps: dL/dw = G' ((B' d B) * (A g A')) G, and the gradient of the pixels is itself a
convolution.

More points would save more and lose more digits: the largest error against float64, relative to the largest result, is
up to 1.3e-5 here and 1e-6 for direct sums (`pytest tests/kernels/test_jit.py -rP` prints them). The limit for float32
is 3e-5. An image with a pixel much larger than the others goes the direct way: see `is_uneven` in image_ops.py.

Source: Winograd 1980, Arithmetic complexity of computations; Lavin and Gray 2016, Fast algorithms for convolutional
neural networks, arXiv 1509.09308, section 4.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnn.kernels.jit.engine.compilation import AVX512, FLOATS, INDEX

LANES = 16 if AVX512 else 8  # numbers in a vector; the results have the same bits
OUTPUT_TILE, INPUT_TILE, POINTS = 4, 6, 36  # of a tile: outputs in a row, pixels in a row, and values at the points

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_SIGNATURE = types.void(FLOATS, INDEX, INDEX, FLOATS, INDEX, INDEX)
Line = list[Any]


class _Arithmetic:
    """Sums and products of vectors, as LLVM instructions."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=["contract"])

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=["contract"])

    def times(self, factor: float, a: Any) -> Any:
        return self.builder.fmul(ir.Constant(_VECTOR, [factor] * LANES), a, flags=["contract"])


def _pixels_to_points(m: _Arithmetic, d: Line) -> Line:
    """B' d: 6 -> 6"""
    a, b = m.sub(d[4], m.times(4, d[2])), m.sub(d[3], m.times(4, d[1]))
    c, e = m.sub(d[4], d[2]), m.times(2, m.sub(d[3], d[1]))
    first = m.add(m.sub(m.times(4, d[0]), m.times(5, d[2])), d[4])
    last = m.add(m.sub(m.times(4, d[1]), m.times(5, d[3])), d[5])
    return [first, m.add(b, a), m.sub(a, b), m.add(c, e), m.sub(c, e), last]


def _points_to_outputs(m: _Arithmetic, v: Line) -> Line:
    """A' v: 6 -> 4"""
    s, t, u, w = m.add(v[1], v[2]), m.sub(v[1], v[2]), m.add(v[3], v[4]), m.sub(v[3], v[4])
    return [
        m.add(m.add(v[0], s), u),
        m.add(t, m.times(2, w)),
        m.add(s, m.times(4, u)),
        m.add(m.add(t, m.times(8, w)), v[5]),
    ]


def _outputs_to_points(m: _Arithmetic, g: Line) -> Line:
    """A g: 4 -> 6"""
    even, odd = m.add(g[0], g[2]), m.add(g[1], g[3])
    far_even, far_odd = m.add(g[0], m.times(4, g[2])), m.add(m.times(2, g[1]), m.times(8, g[3]))
    return [g[0], m.add(even, odd), m.sub(even, odd), m.add(far_even, far_odd), m.sub(far_even, far_odd), g[3]]


def _weights_to_points(m: _Arithmetic, w: Line) -> Line:
    """G w: 3 -> 6"""
    outer, quarter = m.times(-1 / 6, m.add(w[0], w[2])), m.times(1 / 24, w[0])
    far, middle = m.add(quarter, m.times(1 / 6, w[2])), m.times(1 / 6, w[1])
    half = m.times(1 / 12, w[1])
    return [m.times(1 / 4, w[0]), m.sub(outer, middle), m.add(outer, middle), m.add(far, half), m.sub(far, half), w[2]]


def _points_to_weights(m: _Arithmetic, v: Line) -> Line:
    """G' v: 6 -> 3"""
    s, t, u, w = m.add(v[1], v[2]), m.sub(v[2], v[1]), m.add(v[3], v[4]), m.sub(v[3], v[4])
    first = m.sub(m.add(m.times(1 / 4, v[0]), m.times(1 / 24, u)), m.times(1 / 6, s))
    middle = m.add(m.times(1 / 6, t), m.times(1 / 12, w))
    return [first, middle, m.add(m.times(1 / 6, m.sub(u, s)), v[5])]


def _on_squares(line: Callable[[_Arithmetic, Line], Line], size_in: int, size_out: int) -> Any:
    """Make the function that maps a square of ``size_in`` x ``size_in`` vectors to one of ``size_out`` x ``size_out``.

    It reads a vector of `LANES` numbers at each x + i x_down + j x_across, and writes one at each y + i y_down +
    j y_across. ``line`` maps a row or a column.
    """

    @intrinsic
    def square(context: Any, x: Any, x_down: Any, x_across: Any, y: Any, y_down: Any, y_across: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            x, x_down, x_across, y, y_down, y_across = values
            m = _Arithmetic(builder)

            def pointer(start: Any, down: Any, across: Any, i: int, j: int) -> Any:
                steps = [builder.mul(step, ir.Constant(step.type, n)) for step, n in ((down, i), (across, j))]
                return builder.bitcast(builder.gep(start, [builder.add(*steps)]), _VECTOR.as_pointer())

            columns = []
            for j in range(size_in):
                read = [builder.load(pointer(x, x_down, x_across, i, j)) for i in range(size_in)]
                for value in read:
                    value.align = 4
                columns.append(line(m, read))
            for i in range(size_out):
                for j, value in enumerate(line(m, [column[i] for column in columns])):
                    builder.store(value, pointer(y, y_down, y_across, i, j)).align = 4
            return context.get_dummy_value()

        return _SIGNATURE, emit

    return square


pixels_to_points = _on_squares(_pixels_to_points, INPUT_TILE, INPUT_TILE)
points_to_outputs = _on_squares(_points_to_outputs, INPUT_TILE, OUTPUT_TILE)
outputs_to_points = _on_squares(_outputs_to_points, OUTPUT_TILE, INPUT_TILE)
weights_to_points = _on_squares(_weights_to_points, 3, INPUT_TILE)
points_to_weights = _on_squares(_points_to_weights, INPUT_TILE, 3)
