"""The product that all heavy arithmetic consists of: a few rows of numbers times one or two panels of 16 columns.

    c[i, j] (+)= sum over t, p of  a[offsets[t] + i row + p step]  b[(t, p), j]        i < rows, j < 16 or 32

The sums stay in registers from the first term to the last, a vector of 16 columns for each row and panel; each
iteration of the inner loop loads 16 numbers of each panel, and one number of a for each row. For a convolution, a is
the image itself (the offsets are the rows of the window, so no window matrix is ever written); its gradients and matrix
products use other offsets and steps. The product is written in LLVM's own language (LLVM IR) because Numba has no
vectors; LLVM maps a vector of 16 to the vectors of the processor.

Source: Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication, section 4; Georganas et al. 2018,
Anatomy of high-performance deep learning convolutions on SIMD architectures, arXiv 1808.05567, section II.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnn.kernels.jit.engine.compilation import AVX512, FLOATS, INDEX, INDICES, external, floats_from

WIDTH = 16  # columns of a panel
# As many rows as there are registers for their sums: 16 registers of 8 numbers without AVX-512, 32 of 16 with it. With
# AVX-512 at least 8 sums are needed to keep the processor's two units busy, which have a latency of 4 cycles each; from
# 12 rows on, there are too few registers for the addresses of the rows.
ROWS = 10 if AVX512 else 6
# How many panels are multiplied at once. With one panel, each multiplication loads a number of a, and the processor has
# just two loads a cycle for two multiplications; with two panels, each number is loaded once for both.
PANELS = 2 if AVX512 else 1
ROWS_OF_TWO = 8  # 10 or 12 are no faster

# The initial values of the sums
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
    """Make the product. One step is a compile-time constant; otherwise the product would take half as long again.

    rows : 1 to `ROWS`, or to `ROWS_OF_TWO` if ``columns`` are more than 16
    a, row, step : where a starts; its step from row to row (1 if ``across``) and from term to term (1 if not)
    offsets, runs, length : ``runs`` runs of ``length`` terms each; where in a each run starts
    b, step, skip : where b starts; its step from term to term (16 if not ``across``), and between runs what is skipped
        (0 if not ``across``)
    other : distance from the first panel to the second in b
    c, row, other : where the result is written; its step from row to row, and from the first panel to the second
    start, bias : `ZERO`, `LOAD` (add to what is in c) or `BIAS` (add to 16 numbers of bias for each panel)
    columns : how many columns to write, up to 16 `PANELS`
    relu : 0; 1: negative results become 0 (NaN stays); 6: and those above 6 become 6
    blocks : how many blocks of this many rows there are, one below the other, at least 1
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
                switch_rows = builder.switch(count, end)
                for rows in range(1, most + 1):
                    block = builder.append_basic_block(f"rows_{rows}")
                    switch_rows.add_case(ir.Constant(_INT, rows), block)
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
    """Emit the product for one number of rows and of panels."""
    fused = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fmuladd.v{WIDTH}f32")
    function_type = ir.FunctionType(ir.VoidType(), [_BYTE, _LANE, _LANE, _LANE])
    prefetch = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    mask_type = ir.VectorType(ir.IntType(1), WIDTH)
    function_type = ir.FunctionType(ir.VoidType(), [_VECTOR, _VECTOR.as_pointer(), _LANE, mask_type])
    masked_store = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.masked.store.v{WIDTH}f32.p0")
    zeros = ir.Constant(_VECTOR, [0.0] * WIDTH)

    def load(pointer: Any) -> Any:
        value = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
        value.align = 4
        return value

    def store(values: list[Any], pointers: list[Any]) -> None:
        for value, pointer in zip(values, pointers, strict=True):
            builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4

    def broadcast(number: Any, kind: Any = _FLOAT) -> Any:
        none = ir.Constant(ir.VectorType(kind, WIDTH), ir.Undefined)
        vector = builder.insert_element(none, number, ir.Constant(_LANE, 0))
        return builder.shuffle_vector(vector, none, ir.Constant(ir.VectorType(_LANE, WIDTH), [0] * WIDTH))

    def times(stride: Any, i: int) -> Any:
        return builder.mul(stride, ir.Constant(_INT, i))

    def panel_pointers(pointer: Any, other: Any) -> list[Any]:
        return [pointer, builder.gep(pointer, [other])][:panels]

    a_rows, c_rows = ([times(step, i) for i in range(rows + 1)] for step in (a_row, c_row))
    entry, again = builder.block, builder.append_basic_block("block")
    builder.branch(again)

    builder.position_at_end(again)  # for i in range(blocks)
    i, a_block, c_block = builder.phi(_INT), builder.phi(a.type), builder.phi(c.type)
    results = [pointer for offset in c_rows[:-1] for pointer in panel_pointers(builder.gep(c_block, [offset]), c_other)]
    for pointer in results:  # so that the memory is in the cache when the sums are complete
        builder.call(prefetch, [builder.bitcast(pointer, _BYTE), *(ir.Constant(_LANE, n) for n in (1, 3, 1))])
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
    biases = [load(pointer) for pointer in panel_pointers(bias, ir.Constant(_INT, WIDTH))]
    builder.branch(run)

    builder.position_at_end(run)  # for t in range(runs)
    t, b_run = builder.phi(_INT), builder.phi(b.type)
    sums = [builder.phi(_VECTOR) for _ in range(rows * panels)]
    for block, first in ((from_zero, [zeros] * len(sums)), (from_c, loaded), (from_bias, biases * rows)):
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
    columns_of_b = [load(pointer) for pointer in panel_pointers(b_now, b_other)]
    factors = [broadcast(builder.load(builder.gep(a_now, [offset]))) for offset in a_rows[:-1]]
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
    six, infinity = (ir.Constant(_VECTOR, [bound] * WIDTH) for bound in (6.0, float("inf")))
    ceiling = builder.select(builder.icmp_signed("==", relu, ir.Constant(_INT, 6)), six, infinity)
    ends = [builder.select(builder.fcmp_ordered("<", total, floor), floor, total) for total in sums]
    ends = [builder.select(builder.fcmp_ordered(">", total, ceiling), ceiling, total) for total in ends]
    if panels == 2:
        store(ends[::2], results[::2])
    ends, results = ends[panels - 1 :: panels], results[panels - 1 :: panels]
    last_columns = builder.sub(columns, ir.Constant(_INT, (panels - 1) * WIDTH))  # of the last panel
    with builder.if_else(builder.icmp_signed("==", last_columns, ir.Constant(_INT, WIDTH))) as (whole, partly):
        with whole:
            store(ends, results)
        with partly:
            # a masked store is one instruction with AVX or AVX-512; elsewhere LLVM makes branches
            column_count = builder.trunc(last_columns, _LANE)
            lanes = ir.Constant(ir.VectorType(_LANE, WIDTH), list(range(WIDTH)))
            mask = builder.icmp_signed("<", lanes, broadcast(column_count, _LANE))
            for value, pointer in zip(ends, results, strict=True):
                where = builder.bitcast(pointer, _VECTOR.as_pointer())
                builder.call(masked_store, [value, where, ir.Constant(_LANE, 4), mask])
    i_next, end = builder.add(i, ir.Constant(_INT, 1)), builder.append_basic_block("end")
    steps = [(i, ir.Constant(_INT, 0), i_next)]
    steps += [(a_block, a, builder.gep(a_block, [a_rows[-1]])), (c_block, c, builder.gep(c_block, [c_rows[-1]]))]
    for phi, first_value, next_value in steps:
        phi.add_incoming(first_value, entry)
        phi.add_incoming(next_value, builder.block)
    builder.cbranch(builder.icmp_signed("<", i_next, blocks), again, end)
    builder.position_at_end(end)


_along, _across = _rows_times_panels(False), _rows_times_panels(True)


@external("multiply", types.void(INDEX, FLOATS, INDEX, *_WINDOW, FLOATS, INDEX, *_RESULT))
def multiply(rows, a, ar, o, n, m, b, bo, c, cr, co, start, bias, columns, relu):
    """Compute any number of rows, where the terms of a are contiguous; see `_rows_times_panels`."""
    if rows < 1:
        return
    most = ROWS_OF_TWO if columns > WIDTH else ROWS
    blocks = (rows + most - 1) // most
    # blocks as even as possible: those with one row more come first
    rows_each, larger_blocks = rows // blocks, rows % blocks
    for extra in (1, 0):
        block_rows, count = rows_each + extra, larger_blocks if extra else blocks - larger_blocks
        if count:
            _along(block_rows, a, ar, 1, o, n, m, b, WIDTH, 0, bo, c, cr, co, start, bias, columns, relu, count)
        a, c = floats_from(a, count * block_rows * ar), floats_from(c, count * block_rows * cr)


@external("multiply_across", types.void(INDEX, FLOATS, INDEX, *_WINDOW, FLOATS, INDEX, INDEX, INDEX, *_RESULT))
def multiply_across(rows, a, ap, o, n, m, b, bp, bs, bo, c, cr, co, start, bias, columns, relu):
    """Compute any number of rows, where the rows of a are adjacent: the step from row to row is 1."""
    if rows < 1:
        return
    most = ROWS_OF_TWO if columns > WIDTH else ROWS
    blocks = (rows + most - 1) // most
    rows_each, larger_blocks = rows // blocks, rows % blocks
    for extra in (1, 0):
        block_rows, count = rows_each + extra, larger_blocks if extra else blocks - larger_blocks
        if count:
            _across(block_rows, a, 1, ap, o, n, m, b, bp, bs, bo, c, cr, co, start, bias, columns, relu, count)
        a, c = floats_from(a, count * block_rows), floats_from(c, count * block_rows * cr)
