"""The rule about threads: every matrix product of ours runs while BLAS is limited to one thread.

OpenBLAS before 0.3.34, which NumPy wheels before 2.5 carry, can return wrong numbers when two Python threads run
*multithreaded* products at the same time (OpenBLAS issue 5836). A user who trains two models in two threads would meet
that, so this is a rule of correctness. The limit is counted by reference: the first to enter sets it, the last to
leave gives the user's own setting back.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from cnn.kernels.choice import serve

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
_own = threading.local()  # .depth: how often this thread is inside
_inside = 0  # how often all threads together are
_limit: Any = None


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looking for the libraries costs 0.2 ms, so once


@contextmanager
def _any_thread_may_set() -> Iterator[None]:
    """Set a limit whichever thread this is.

    The limit of an OpenBLAS with its own threads holds for the whole process. threadpoolctl from 3.8 on lets only the
    thread that set it first set it again and ignores all others silently, until the former is cleared. Our limit is
    counted over all threads, so the first to enter and the last to leave may be any two.
    """

    def clear() -> None:
        for library in _controller().lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)

    clear()
    yield
    clear()  # or a limit of the user's own, around ours in another thread, could not be given back


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; nested and concurrent uses share one limit."""
    global _inside, _limit
    with _lock:
        if _inside == 0:
            with _any_thread_may_set():
                _limit = _controller().limit(limits=1, user_api="blas")
        _inside += 1
    _own.depth = getattr(_own, "depth", 0) + 1
    try:
        yield
    finally:
        _own.depth -= 1
        with _lock:
            _inside -= 1
            if _inside == 0:
                with _any_thread_may_set():
                    _limit.restore_original_limits()


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a plain function of arrays as one that does the arithmetic of a layer: it runs under `one_blas_thread`."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        made = serve(function, args)
        if made is not NotImplemented:
            return made  # type: ignore[no-any-return]
        with one_blas_thread():
            return function(*args, **kwargs)

    return run


def _after_fork() -> None:
    global _lock, _inside
    _lock = threading.Lock()  # another thread of the parent may have held it
    others, _inside = _inside, getattr(_own, "depth", 0)  # of the parent's threads only this one lives on
    if others and not _inside:
        with _any_thread_may_set():
            _limit.restore_original_limits()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
