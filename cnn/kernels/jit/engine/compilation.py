"""How Python functions become machine code: with Numba, cached on disk, without the interpreter lock.

A kernel is written as C would have it: a plain function ``kernel(arguments, part, slot)`` of the address of a row of
integers, in which are the addresses of arrays and their sizes; of which part of the work to do; and of the thread's
number, which says what room for intermediate results is its own. So it compiles once, for good, when it is first
needed, and any thread can run it.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

INDEX = types.int64
INDICES = types.CPointer(types.int64)
FLOATS = types.CPointer(types.float32)
DOUBLES = types.CPointer(types.float64)
BYTES = types.CPointer(types.uint8)

Kernel = int  # the address of compiled code
# Whether registers hold 16 numbers, and there are 32 of them; else 8, and 16. As Numba sees it, which may be told to
# compile for another processor (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES, NUMBA_ENABLE_AVX).
AVX512 = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
FUSED = {"contract"}  # a product and a sum may be one instruction, as in tile.py; no other liberty is taken


@functools.cache
def _edition() -> str:
    """Return a digest of all that compiled code is made from: Numba looks for changes in a function's own file alone.

    Code for other vectors must have another name, as kernels call each other by it.
    """
    texts = [path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))]
    return hashlib.sha256(b"".join([*texts, str(AVX512).encode()])).hexdigest()[:12]


def _cached(compile_: Callable[..., Any], function: Callable[..., Any]) -> Any:
    function.__qualname__ += f"_{_edition()}"  # part of the name of the file in Numba's cache
    try:
        return compile_(cache=True)(function)
    except RuntimeError:  # no folder that can be written
        return compile_(cache=False)(function)


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that kernels call."""

    def decorate(function: Callable[..., Any]) -> Any:
        return _cached(
            functools.partial(numba.njit, signature, nogil=True, error_model="numpy", fastmath=FUSED), function
        )

    return decorate


def kernel(function: Callable[[Any, int, int], None], in_order: bool = True) -> Kernel:
    """Compile ``function(arguments, part, slot)`` and return its address, which `thread_pool.run` takes.

    Where sums need not be made in the order that is written, LLVM makes several at once.
    """
    liberties = FUSED if in_order else FUSED | {"reassoc"}
    signature = types.void(INDICES, INDEX, INDEX)
    made = _cached(functools.partial(numba.cfunc, signature, error_model="numpy", fastmath=liberties), function)
    _kept.append(made)
    return made.address


def shared(name: str, signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that many kernels call, once: into those it goes by its name, not with its code."""

    def decorate(function: Callable[..., Any]) -> Any:
        made = _cached(functools.partial(numba.cfunc, signature, error_model="numpy", fastmath=FUSED), function)
        _kept.append(made)
        symbol = f"cnn_{name}_{_edition()}"
        llvmlite.binding.add_symbol(symbol, made.address)
        return types.ExternalFunction(symbol, signature)

    return decorate


_kept: list[Any] = []  # compiled code lives as long as its object


def _view(pointer: Any) -> Any:
    """Make the function that reads an address as a pointer to numbers of a type."""

    @intrinsic
    def view(context: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(pointer))

        return pointer(types.int64), emit

    return view


floats, doubles, indices, bytes_ = (_view(pointer) for pointer in (FLOATS, DOUBLES, INDICES, BYTES))


def _after(pointer: Any) -> Any:
    """Make the function that moves a pointer on by a number of items."""

    @intrinsic
    def after(context: Any, start: Any, count: Any) -> Any:
        return pointer(pointer, types.int64), lambda context, builder, signature, values: builder.gep(
            *values[:1], values[1:]
        )

    return after


floats_from, doubles_from, indices_from, bytes_from = (_after(p) for p in (FLOATS, DOUBLES, INDICES, BYTES))


@intrinsic
def call(context: Any, address: Any, arguments: Any, part: Any, slot: Any) -> Any:
    """Run the kernel at an address."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values[1:]])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, INDICES, INDEX, INDEX), emit
