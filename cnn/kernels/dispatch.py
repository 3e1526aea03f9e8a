"""How a plain function runs: by the first implementation that the table names and that takes its arguments; else as it
is written, while BLAS has one thread.

The rule about BLAS: every matrix product of ours runs while BLAS is limited to one thread. OpenBLAS before 0.3.34, in
NumPy wheels before 2.5, can return wrong numbers when two Python threads run *multithreaded* products at the same
time (OpenBLAS issue 5836). A user who trains two models in two threads would meet that, so this is a rule of
correctness. The first thread to enter sets the limit, and the last to leave restores the user's own setting. What
Ctrl-C leaves, because it comes before a thread can leave, the next use in this thread gives back.
"""

import functools
import inspect
import os
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cnn.core import modes
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
        self.positions = array_positions(self.signature) if self.entries else ()
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
        for name in BACKEND_ORDER[active]:
            for entry in self.entries:
                if entry.backend == name:
                    module, _, function = entry.path.rpartition(".")
                    types = tuple(
                        tuple(
                            zip(
                                self.positions,
                                (None if word == "any" else np.dtype(word) for word in words.split()),
                                strict=True,
                            )
                        )
                        for words in entry.types
                    )
                    found.append((getattr(backend.load(module), function), types))
        return found


def array_positions(signature: inspect.Signature) -> tuple[int, ...]:
    """Return which arguments are arrays, or lists of arrays, by their annotations.

    Raises
    ------
    TypeError
        If the annotations are text: "Array" does not say that it is an array.
    """
    if any(isinstance(parameter.annotation, str) for parameter in signature.parameters.values()):
        raise TypeError("a file with plain functions must not have `from __future__ import annotations`")
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
        with OneBlasThread():
            return function(*given)  # type: ignore[call-arg]

    run.dispatcher = dispatcher  # type: ignore[attr-defined]
    return run


# For each thread that is inside, its outermost `with` statement: the object that it holds, and its frame
_inside: dict[int, tuple[weakref.ref[Any], FrameType | None]] = {}
_limit: Any = None  # the limit, and what to restore; None: BLAS has the user's own setting
_changing: dict[str, int] = {}  # the thread that sets or restores the limit
PACKAGE = str(Path(__file__).parents[1])
MAX_WAIT = 1.0  # s: setting takes some microseconds, so a thread that takes longer was interrupted


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
        self.is_set = False

    def set(self) -> None:
        """Set one thread."""
        for library, threads in self._before:
            if threads != 1:
                _set(library, 1)
        self.is_set = True

    def restore(self) -> None:
        """Set what there was before."""
        self.is_set = False  # first: after an interrupt, the next to enter sets all of them again
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


class OneBlasThread:
    """What `one_blas_thread` returns. (A generator would take four times as long, and small nets would feel it.)"""

    thread = 0  # in which this is the outermost `with` statement

    def __enter__(self) -> None:
        thread = get_ident()
        outermost = _inside.get(thread)
        if outermost is None or not modes.is_inside(*outermost):
            self.thread, frame = thread, sys._getframe(1)
            is_ours = frame.f_code.co_filename.startswith(PACKAGE)  # then it is in a `with` statement
            _enter(thread, weakref.ref(self), frame if is_ours else modes.frame_of_with(frame))

    def __exit__(self, *error: object) -> None:
        thread, self.thread = self.thread, 0
        if thread:  # that of the caller, or, of a generator, one that has ended
            _leave(thread)


def _enter(thread: int, block: weakref.ref[Any], frame: FrameType | None) -> None:
    global _limit
    if modes.state.active:
        modes.give_back()
    try:
        _take_turn(thread)
        _inside[thread] = block, frame  # first: after an interrupt, the next use finds what is to be given back
        if _limit is None:
            _limit = _Limit()
        if not _limit.is_set:
            _limit.set()
    finally:
        _end_turn(thread)


def _leave(thread: int) -> None:
    global _limit
    try:
        _take_turn(thread)
        _inside.pop(thread, None)
        if not _inside and _limit is not None:
            _limit.restore()
            _limit = None
    finally:
        _end_turn(thread)


def _take_turn(thread: int) -> None:
    """Wait until no other thread sets or restores the limit. (Ctrl-C could leave a lock locked for ever.)"""
    began = None
    while _changing.setdefault("by", thread) != thread:
        began = began or time.monotonic()
        if time.monotonic() > began + MAX_WAIT:
            _changing.clear()
        time.sleep(0)


def _end_turn(thread: int) -> None:
    if _changing.get("by") == thread:
        _changing.clear()


def give_back() -> None:
    """Give back the threads of BLAS, if Ctrl-C came before a `with` statement of this thread could."""
    if _limit is None:
        return
    outermost = _inside.get(get_ident())
    if not _inside or (outermost is not None and not modes.is_inside(*outermost)):
        _leave(get_ident())
    for thread, (block, _) in list(_inside.items()):
        if block() is None:  # of a thread that has ended
            _leave(thread)


def one_blas_thread() -> OneBlasThread:
    """Hold BLAS to one thread; nested and concurrent uses share one limit.

    Examples
    --------
    >>> with one_blas_thread():
    ...     y = np.ones((64, 64)) @ np.ones((64, 64))
    """
    return OneBlasThread()


def _after_fork() -> None:
    """Restore the setting if only other threads of the parent were inside: of its threads only this one lives on."""
    _changing.clear()
    for thread in list(_inside):
        if thread != get_ident():
            del _inside[thread]
    give_back()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
