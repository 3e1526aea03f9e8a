"""How a plain function runs: by the first implementation that the table names and that takes its arguments; else as it
is written, while BLAS has one thread.

The rule about BLAS: every matrix product of ours runs while BLAS is limited to one thread. OpenBLAS before 0.3.34, in
NumPy wheels before 2.5, can return wrong numbers when two Python threads run *multithreaded* products at the same
time (OpenBLAS issue 5836). A user who trains two models in two threads would meet that, so this is a rule of
correctness. The limit is counted by reference: the first to enter sets it, the last to leave restores the user's own
setting.
"""

import functools
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cnn.kernels import backend
from cnn.kernels.table import BACKEND_ORDER, TABLE

P = ParamSpec("P")
R = TypeVar("R")

ndarray = np.ndarray
# For each array among the arguments its position, and the dtype that it must have; None: any
Types = tuple[tuple[int, np.dtype[Any] | None], ...]
Callee = tuple[Callable[..., Any], tuple[Types, ...]]  # an implementation, and what it takes


class Dispatcher:
    """Finds the implementation that serves a call of one plain function.

    Parameters
    ----------
    function : callable
        Its full dotted name is its key in the table.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.signature = inspect.signature(function)
        self.count = len(self.signature.parameters)
        self.entries = TABLE.get(f"{function.__module__}.{function.__qualname__}", ())
        self._callees: dict[str, list[Callee]] = {}  # by backend

    def all_arguments(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments of a call in the order of the signature, as the implementations take them."""
        if not named and (len(arguments) == self.count or not self.entries):
            return arguments
        bound = self.signature.bind(*arguments, **named)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def serve(self, arguments: tuple[Any, ...]) -> Any:
        """Return the result of the first implementation that takes the arguments, or NotImplemented."""
        active = backend.current or backend.active()
        callees = self._callees.get(active)
        if callees is None:
            callees = self._callees[active] = self._import(active)
        for implementation, types in callees:
            if any_type_fits(arguments, types):
                result = implementation(*arguments)
                if result is not NotImplemented:
                    return result
        if all(type(value) is not ndarray or value.flags.aligned for value in arguments):
            return NotImplemented
        # as in packed records
        return self.serve(tuple(v.copy(order="K") if type(v) is ndarray else v for v in arguments))

    def _import(self, active: str) -> list[Callee]:
        """Import the implementations for a backend, the fastest first."""
        found: list[Callee] = []
        positions = array_positions(self.signature)
        for name in BACKEND_ORDER[active]:
            for entry in self.entries:
                if entry.backend == name:
                    module, _, function = entry.path.rpartition(".")
                    types = tuple(
                        tuple(
                            zip(
                                positions,
                                (None if word == "any" else np.dtype(word) for word in words.split()),
                                strict=True,
                            )
                        )
                        for words in entry.types
                    )
                    found.append((getattr(backend.load(module), function), types))
        return found


def array_positions(signature: inspect.Signature) -> tuple[int, ...]:
    """Return which arguments are arrays, or lists of arrays, by their annotations."""
    kinds = [str(parameter.annotation) for parameter in signature.parameters.values()]
    return tuple(i for i, kind in enumerate(kinds) if "ndarray" in kind)


def any_type_fits(arguments: tuple[Any, ...], types: tuple[Types, ...]) -> bool:
    """Tell whether all arrays among the arguments are aligned and have dtypes that one of ``types`` lists.

    An implementation itself checks the arrays in a list.
    """
    for dtypes in types:
        for position, dtype in dtypes:
            value = arguments[position]
            if type(value) is ndarray:
                if (dtype is not None and value.dtype != dtype) or not value.flags.aligned:
                    break
            elif type(value) is list:
                if not all(type(array) is ndarray and (dtype is None or array.dtype == dtype) for array in value):
                    break
            elif value is not None:  # None: no bias, no weight; anything else is another kind of array
                break
        else:
            return True
    return False


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a plain function of arrays that does the arithmetic of a layer."""
    dispatcher = Dispatcher(function)

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        given = dispatcher.all_arguments(arguments, named)
        if dispatcher.entries:
            result = dispatcher.serve(given)
            if result is not NotImplemented:
                return result
        with _guard:
            return function(*given)  # type: ignore[call-arg]

    run.dispatcher = dispatcher  # type: ignore[attr-defined]
    return run


_lock = threading.Lock()
_own = threading.local()  # .depth: how often this thread is inside
_inside = 0  # how often all threads together are
_limit: Any = None


@functools.cache
def libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    # looking for the libraries costs 0.2 ms, so once
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


class _Limit:
    """One thread for every BLAS library of the process, until it is given back.

    The limit of an OpenBLAS with its own threads holds for the whole process. threadpoolctl from 3.8 on lets only the
    thread that set it first set it again and ignores all others silently, until the former is cleared. Our limit is
    counted over all threads, so the first to enter and the last to leave may be any two; and it is cleared afterwards
    too, or a limit of the user's own, around ours in another thread, could not be given back.
    """

    def __init__(self) -> None:
        self._before = [(library, library.num_threads) for library in libraries()]
        for library, threads in self._before:
            if threads != 1:
                _set(library, 1)

    def restore(self) -> None:
        """Set what there was before."""
        for library, threads in self._before:
            if threads != 1:
                _set(library, threads)


def _set(library: Any, threads: int) -> None:
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(threads)
    if clear is not None:
        clear(force=True)


class _OneBlasThread:
    """What `one_blas_thread` returns. (A generator would take four times as long, and small nets would feel it.)"""

    def __enter__(self) -> None:
        global _inside, _limit
        with _lock:
            if _inside == 0:
                _limit = _Limit()
            _inside += 1
        _own.depth = getattr(_own, "depth", 0) + 1

    def __exit__(self, *error: object) -> None:
        global _inside
        _own.depth -= 1
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limit.restore()


_guard = _OneBlasThread()  # it has no state of its own


def one_blas_thread() -> _OneBlasThread:
    """Hold BLAS to one thread; nested and concurrent uses share one limit."""
    return _guard


def _after_fork() -> None:
    global _lock, _inside
    _lock = threading.Lock()  # another thread of the parent may have held it
    others, _inside = _inside, getattr(_own, "depth", 0)  # of the parent's threads only this one lives on
    if others and not _inside:
        _limit.restore()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
