"""The rule about threads: every matrix product of ours runs while BLAS is limited to one thread.

OpenBLAS before 0.3.34, which NumPy wheels before 2.5 carry, can return wrong numbers when two Python threads run
*multithreaded* products at the same time (OpenBLAS issue 5836). A user who trains two models in two threads would meet
that, so this is a rule of correctness. The limit is counted by reference: the first to enter sets it, the last to
leave gives the user's own setting back.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from cnn.kernels.choice import serve

P = ParamSpec("P")
R = TypeVar("R")

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

    def give_back(self) -> None:
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
                _limit.give_back()


_hold = _OneBlasThread()  # it has no state of its own


def one_blas_thread() -> _OneBlasThread:
    """Hold BLAS to one thread; nested and concurrent uses share one limit."""
    return _hold


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a plain function of arrays as one that does the arithmetic of a layer: it runs under `one_blas_thread`."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        made = serve(function, args)
        if made is not NotImplemented:
            return made
        with one_blas_thread():
            return function(*args, **kwargs)

    return run


def _after_fork() -> None:
    global _lock, _inside
    _lock = threading.Lock()  # another thread of the parent may have held it
    others, _inside = _inside, getattr(_own, "depth", 0)  # of the parent's threads only this one lives on
    if others and not _inside:
        _limit.give_back()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
