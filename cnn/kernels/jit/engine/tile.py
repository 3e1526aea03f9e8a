"""The one product that all heavy arithmetic is made of: a few rows of numbers times one or two panels of 16 columns.

    c[i, j] (+)= sum over t, p of  a[offsets[t] + i row + p step]  b[(t, p), j]        i < rows, j < 16 or 32

The sums stay in registers from the first term to the last, a vector of 16 columns for each row and panel; each turn of
the inner loop loads 16 numbers of each panel and one of a for each row. A convolution is that with a looking straight
into the image (the offsets are the rows of the window, so no matrix of windows is ever written), its gradients are
that with other offsets and steps, and so is a matrix product. It is written in LLVM's own language because Numba has no
vectors; LLVM turns a vector of 16 into what the processor has.

Source: Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication, section 4; Georganas et al. 2018,
Anatomy of high-performance deep learning convolutions on SIMD architectures, arXiv 1808.05567, section II.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnn.kernels.jit.engine.compilation import AVX512, FLOATS, INDEX, INDICES, floats_from, shared

WIDTH = 16  # columns of a panel
# As many rows as registers hold sums for: 16 registers of 8 numbers without AVX-512, 32 of 16 with it. There 8 sums at
# the least keep the processor's two units busy, each of which waits 4 cycles for its last result; and from 12 on, the
# registers for the addresses of rows are too few.
ROWS = 10 if AVX512 else 6
# How many panels are met at once. Of one, each multiplication loads a number of a, and two loads a cycle are all there
# are for two multiplications; with two, each number is loaded for both.
PANELS = 2 if AVX512 else 1
ROWS_OF_TWO = 8  # 10 or 12 are no faster

# What the sums start with
ZERO, LOAD, BIAS = 0, 1, 2

_FLOAT, _INT, _LANE = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_BYTE = ir.IntType(8).as_pointer()
_WINDOW = INDICES, INDEX, INDEX  # offsets, runs, length
_RESULT = FLOATS, INDEX, INDEX, INDEX, FLOATS, INDEX, INDEX  # c, row, other, start, bias, columns, relu
_SIGNATURE = types.void(
    *(INDEX, FLOATS, INDEX, INDEX, *_WINDOW),  # rows, a, row, step
    *(FLOATS, INDEX, INDEX, INDEX, *_RESULT),  # b, step, skip, other
    INDEX,  # blocks
)


def _rows_times_panels(across: bool) -> Any:
    """Make the product. One step is known when it is compiled, without which it would take half as long again.

    rows : 1 to `ROWS`, or to `ROWS_OF_TWO` if ``columns`` are more than 16
    a, row, step : where a starts, from row to row (1 if ``across``), from term to term (else 1)
    offsets, runs, length : ``runs`` runs of ``length`` terms each; where in a each run starts
    b, step, skip : where b starts, from term to term, and what is left out between runs (if not ``across``, 16 and 0)
    other : how far the second panel is from the first, in b
    c, row, other : where the result goes, from row to row, from the first panel to the second
    start, bias : `ZERO`, `LOAD` (add to what is in c) or `BIAS` (add to 16 numbers of bias for each panel)
    columns : how many are wanted, up to 16 `PANELS`
    relu : whether negative results become 0 (NaN stays)
    blocks : how many blocks of so many rows there are, one below the other, at least 1
    """

    @intrinsic
    def product(context, rows, a, ar, ap, o, n, m, b, bp, bs, bo, c, cr, co, start, bias, columns, relu, blocks):
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            count, a, a_row, a_step, offsets, runs, length, b, b_step, b_skip, *rest = values
            columns = values[-3]
            one, width, none = (ir.Constant(_INT, number) for number in (1, WIDTH, 0))
            if across:
                a_row = one
            else:
                a_step, b_step, b_skip = one, width, none
            end = builder.append_basic_block("end")
            choices = [builder.append_basic_block(f"panels_{panels}") for panels in (1, 2)]
            builder.cbranch(builder.icmp_signed(">", columns, width), choices[1], choices[0])
            for panels, most, chosen in zip((1, 2), (ROWS, ROWS_OF_TWO), choices, strict=True):
                builder.position_at_end(chosen)
                if panels > PANELS:
                    builder.branch(end)
                    continue
                choice = builder.switch(count, end)
                for rows in range(1, most + 1):
                    block = builder.append_basic_block(f"rows_{rows}")
                    choice.add_case(ir.Constant(_INT, rows), block)
                    builder.position_at_end(block)
                    _emit(builder, rows, panels, a, a_row, a_step, offsets, runs, length, b, b_step, b_skip, *rest)
                    builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return _SIGNATURE, emit

    return product


def _emit(
    builder: Any,
    rows: int,
    panels: int,
    a: Any,
    a_row: Any,
    a_step: Any,
    offsets: Any,
    runs: Any,
    length: Any,
    b: Any,
    b_step: Any,
    b_skip: Any,
    b_other: Any,
    c: Any,
    c_row: Any,
    c_other: Any,
    start: Any,
    bias: Any,
    columns: Any,
    relu: Any,
    blocks: Any,
) -> None:
    """Write the product for one number of rows and of panels."""
    fused = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fmuladd.v{WIDTH}f32")
    kinds = ir.FunctionType(ir.VoidType(), [_BYTE, _LANE, _LANE, _LANE])
    fetch = cgutils.get_or_insert_function(builder.module, kinds, "llvm.prefetch.p0")
    kinds = ir.FunctionType(ir.VoidType(), [_VECTOR, _VECTOR.as_pointer(), _LANE, ir.VectorType(ir.IntType(1), WIDTH)])
    store_some = cgutils.get_or_insert_function(builder.module, kinds, f"llvm.masked.store.v{WIDTH}f32.p0")
    zeros = ir.Constant(_VECTOR, [0.0] * WIDTH)

    def load(pointer: Any) -> Any:
        value = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
        value.align = 4
        return value

    def store(values: list[Any], pointers: list[Any]) -> None:
        for value, pointer in zip(values, pointers, strict=True):
            builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4

    def spread(number: Any, kind: Any = _FLOAT) -> Any:
        none = ir.Constant(ir.VectorType(kind, WIDTH), ir.Undefined)
        vector = builder.insert_element(none, number, ir.Constant(_LANE, 0))
        return builder.shuffle_vector(vector, none, ir.Constant(ir.VectorType(_LANE, WIDTH), [0] * WIDTH))

    def times(stride: Any, i: int) -> Any:
        return builder.mul(stride, ir.Constant(_INT, i))

    def both(pointer: Any, other: Any) -> list[Any]:
        return [pointer, builder.gep(pointer, [other])][:panels]

    a_rows, c_rows = ([times(step, i) for i in range(rows + 1)] for step in (a_row, c_row))
    entry, again = builder.block, builder.append_basic_block("block")
    builder.branch(again)

    builder.position_at_end(again)  # for i in range(blocks)
    i, a_block, c_block = builder.phi(_INT), builder.phi(a.type), builder.phi(c.type)
    results = [place for offset in c_rows[:-1] for place in both(builder.gep(c_block, [offset]), c_other)]
    for pointer in results:  # by the time the sums are done, the memory they go to is in the cache
        builder.call(fetch, [builder.bitcast(pointer, _BYTE), *(ir.Constant(_LANE, n) for n in (1, 3, 1))])
    names = ("from_zero", "from_c", "from_bias", "run", "begin", "term", "next", "done")
    from_zero, from_c, from_bias, run, begin, term, following, done = (builder.append_basic_block(n) for n in names)
    choice = builder.switch(start, from_zero)
    choice.add_case(ir.Constant(_INT, LOAD), from_c)
    choice.add_case(ir.Constant(_INT, BIAS), from_bias)
    builder.position_at_end(from_zero)
    builder.branch(run)
    builder.position_at_end(from_c)
    loaded = [load(pointer) for pointer in results]
    builder.branch(run)
    builder.position_at_end(from_bias)
    shared = [load(place) for place in both(bias, ir.Constant(_INT, WIDTH))]
    builder.branch(run)

    builder.position_at_end(run)  # for t in range(runs)
    t, b_run = builder.phi(_INT), builder.phi(b.type)
    sums = [builder.phi(_VECTOR) for _ in range(rows * panels)]
    for block, first in ((from_zero, [zeros] * len(sums)), (from_c, loaded), (from_bias, shared * rows)):
        t.add_incoming(ir.Constant(_INT, 0), block)
        b_run.add_incoming(b, block)
        for total, value in zip(sums, first, strict=True):
            total.add_incoming(value, block)
    builder.cbranch(builder.icmp_signed("<", t, runs), begin, done)
    builder.position_at_end(begin)
    a_run = builder.gep(a_block, [builder.load(builder.gep(offsets, [t]))])
    builder.branch(term)

    builder.position_at_end(term)  # for p in range(length)
    p, a_now, b_now = builder.phi(_INT), builder.phi(a.type), builder.phi(b.type)
    inner = [builder.phi(_VECTOR) for _ in sums]
    columns_of_b = [load(place) for place in both(b_now, b_other)]
    factors = [spread(builder.load(builder.gep(a_now, [offset]))) for offset in a_rows[:-1]]
    pairs = [(factor, panel) for factor in factors for panel in columns_of_b]
    more = [builder.call(multiply_add, [*pair, total]) for pair, total in zip(pairs, inner, strict=True)]
    p_next, a_next = builder.add(p, ir.Constant(_INT, 1)), builder.gep(a_now, [a_step])
    b_next = builder.gep(b_now, [b_step])
    loop = [(p, ir.Constant(_INT, 0), p_next), (a_now, a_run, a_next), (b_now, b_run, b_next)]
    for phi, first_value, next_value in loop + list(zip(inner, sums, more, strict=True)):
        phi.add_incoming(first_value, begin)
        phi.add_incoming(next_value, term)
    builder.cbranch(builder.icmp_signed("<", p_next, length), term, following)
    builder.position_at_end(following)
    b_skipped = builder.gep(b_next, [b_skip])
    for phi, next_value in [(t, builder.add(t, ir.Constant(_INT, 1))), (b_run, b_skipped)]:
        phi.add_incoming(next_value, following)
    for total, value in zip(sums, more, strict=True):
        total.add_incoming(value, following)
    builder.branch(run)

    builder.position_at_end(done)
    floor = builder.select(
        builder.icmp_signed("!=", relu, ir.Constant(_INT, 0)), zeros, ir.Constant(_VECTOR, [-float("inf")] * WIDTH)
    )
    ends = [builder.select(builder.fcmp_ordered("<", total, floor), floor, total) for total in sums]
    if panels == 2:
        store(ends[::2], results[::2])
    ends, results = ends[panels - 1 :: panels], results[panels - 1 :: panels]
    wanted = builder.sub(columns, ir.Constant(_INT, (panels - 1) * WIDTH))  # of the last panel
    with builder.if_else(builder.icmp_signed("==", wanted, ir.Constant(_INT, WIDTH))) as (whole, partly):
        with whole:
            store(ends, results)
        with partly:
            limit = builder.trunc(wanted, _LANE)  # one instruction with AVX or AVX-512; LLVM makes branches elsewhere
            lanes = ir.Constant(ir.VectorType(_LANE, WIDTH), list(range(WIDTH)))
            mask = builder.icmp_signed("<", lanes, spread(limit, _LANE))
            for value, pointer in zip(ends, results, strict=True):
                where = builder.bitcast(pointer, _VECTOR.as_pointer())
                builder.call(store_some, [value, where, ir.Constant(_LANE, 4), mask])
    i_next, end = builder.add(i, ir.Constant(_INT, 1)), builder.append_basic_block("end")
    steps = [(i, ir.Constant(_INT, 0), i_next)]
    steps += [(a_block, a, builder.gep(a_block, [a_rows[-1]])), (c_block, c, builder.gep(c_block, [c_rows[-1]]))]
    for phi, first_value, next_value in steps:
        phi.add_incoming(first_value, entry)
        phi.add_incoming(next_value, builder.block)
    builder.cbranch(builder.icmp_signed("<", i_next, blocks), again, end)
    builder.position_at_end(end)


_along, _across = _rows_times_panels(False), _rows_times_panels(True)


@shared("multiply", types.void(INDEX, FLOATS, INDEX, *_WINDOW, FLOATS, INDEX, *_RESULT))
def multiply(rows, a, ar, o, n, m, b, bo, c, cr, co, start, bias, columns, relu):
    """Compute any number of rows, where the terms of a lie side by side; see `_rows_times_panels`."""
    if rows < 1:
        return
    most = ROWS_OF_TWO if columns > WIDTH else ROWS
    blocks = (rows + most - 1) // most
    each, larger = rows // blocks, rows % blocks  # blocks as even as can be: those of one row more come first
    for more in (1, 0):
        some, count = each + more, larger if more else blocks - larger
        if count:
            _along(some, a, ar, 1, o, n, m, b, WIDTH, 0, bo, c, cr, co, start, bias, columns, relu, count)
        a, c = floats_from(a, count * some * ar), floats_from(c, count * some * cr)


@shared("multiply_across", types.void(INDEX, FLOATS, INDEX, *_WINDOW, FLOATS, INDEX, INDEX, INDEX, *_RESULT))
def multiply_across(rows, a, ap, o, n, m, b, bp, bs, bo, c, cr, co, start, bias, columns, relu):
    """Compute any number of rows, where the rows of a lie side by side."""
    if rows < 1:
        return
    most = ROWS_OF_TWO if columns > WIDTH else ROWS
    blocks = (rows + most - 1) // most
    each, larger = rows // blocks, rows % blocks
    for more in (1, 0):
        some, count = each + more, larger if more else blocks - larger
        if count:
            _across(some, a, 1, ap, o, n, m, b, bp, bs, bo, c, cr, co, start, bias, columns, relu, count)
        a, c = floats_from(a, count * some), floats_from(c, count * some * cr)
