"""How Python functions become machine code: with Numba, cached on disk, without the interpreter lock.

A kernel is written like a C function: ``kernel(arguments, part, slot)``. ``arguments`` is the address of an array of
integers, which holds the addresses and sizes of arrays; ``part`` says which part of the work to do; and ``slot`` is the
number of the thread, which selects its own scratch buffer. So a kernel is compiled only once, when it is first needed,
and any thread can run it.
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
INDICES_ARRAY = types.int64[::1]
FLOATS = types.CPointer(types.float32)
DOUBLES = types.CPointer(types.float64)
BYTES = types.CPointer(types.uint8)
BITS = types.CPointer(types.int32)

Kernel = int  # the address of compiled code
# Whether there are 32 vector registers of 16 numbers each; else 16 of 8. This is what Numba compiles for, which may be
# set to another processor (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES, NUMBA_ENABLE_AVX).
AVX512 = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")
FUSED = {"contract"}  # a product and a sum may be one instruction, as in tile.py; no other fast-math option is set


@functools.cache
def _digest() -> str:
    """Return a digest of all sources of compiled code, because Numba checks only a function's own file for changes.

    It includes the vector size: code for other vectors needs another name, because kernels call each other by name.
    """
    texts = [path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))]
    return hashlib.sha256(b"".join([*texts, str(AVX512).encode()])).hexdigest()[:12]


def _cached(compile_: Callable[..., Any], function: Callable[..., Any]) -> Any:
    function.__qualname__ += f"_{_digest()}"  # part of the name of the file in Numba's cache
    try:
        return compile_(cache=True)(function)
    except RuntimeError:  # no writable folder
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

    If sums need not be computed in the order that is written (``in_order=False``), LLVM vectorises them.
    """
    fastmath = FUSED if in_order else FUSED | {"reassoc"}
    signature = types.void(INDICES, INDEX, INDEX)
    compiled_function = _cached(
        functools.partial(numba.cfunc, signature, error_model="numpy", fastmath=fastmath), function
    )
    _kept_alive.append(compiled_function)
    return compiled_function.address


def external(name: str, signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile, only once, a function that many kernels call: they call it by name, and do not contain its code."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiled_function = _cached(
            functools.partial(numba.cfunc, signature, error_model="numpy", fastmath=FUSED), function
        )
        _kept_alive.append(compiled_function)
        symbol = f"cnn_{name}_{_digest()}"
        llvmlite.binding.add_symbol(symbol, compiled_function.address)
        return types.ExternalFunction(symbol, signature)

    return decorate


_kept_alive: list[Any] = []  # compiled code is freed with its object


def _view(pointer: Any) -> Any:
    """Make the function that converts an address to a pointer of this type."""

    @intrinsic
    def view(context: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(pointer))

        return pointer(types.int64), emit

    return view


floats, doubles, indices, bytes_, bits = (_view(pointer) for pointer in (FLOATS, DOUBLES, INDICES, BYTES, BITS))


def _advance(pointer: Any) -> Any:
    """Make the function that advances a pointer by a number of items."""

    @intrinsic
    def advance(context: Any, start: Any, count: Any) -> Any:
        return pointer(pointer, types.int64), lambda context, builder, signature, values: builder.gep(
            *values[:1], values[1:]
        )

    return advance


floats_from, doubles_from, indices_from, bytes_from = (_advance(p) for p in (FLOATS, DOUBLES, INDICES, BYTES))


@intrinsic
def call(context: Any, address: Any, arguments: Any, part: Any, slot: Any) -> Any:
    """Run the kernel at an address."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values[1:]])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, INDICES, INDEX, INDEX), emit
