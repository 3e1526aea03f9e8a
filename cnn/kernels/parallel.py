"""Sharing the work of one plain function among threads, a part of the batch for each.

The samples of a batch do not see each other in a convolution or a pool, and NumPy lets go of the interpreter lock while
it computes, so each thread can take its part of the samples. The threads are made when they are first needed.
"""

import contextvars
import functools
import operator
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cnn.kernels.dispatch import Dispatcher, one_blas_thread

Array = np.ndarray[Any, np.dtype[Any]]

LEAST_BYTES = 64 * 1024  # of input: below, waking another thread costs more than it saves
LEAST_NUMBERS = 128 * 1024  # the same for what treats every number by itself

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


num_threads = _cores()  # read by every kernel; set by `set_num_threads`


def get_num_threads() -> int:
    """Return how many threads share the work: the number that was set, or the number of cores of this process."""
    return num_threads


def set_num_threads(n: int) -> None:
    """Set how many threads share the work of a layer. The same number gives the same bits.

    Parameters
    ----------
    n : int
        At least 1. Without a call, as many as there are cores for this process.

    Raises
    ------
    ValueError
        If it is no such number.

    Examples
    --------
    >>> import cnn
    >>> before = cnn.get_num_threads()
    >>> cnn.set_num_threads(1)
    >>> cnn.get_num_threads()
    1
    >>> cnn.set_num_threads(before)
    """
    global num_threads
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"the number of threads must be an integer of at least 1, got {n!r}")
    num_threads = int(n)
    _forget_pool()


def batched(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function whose first ``count`` arguments, and whose results, are batches of independent samples."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_in_parts(arguments: tuple[Any, ...]) -> Any:
            n = len(arguments[0])
            wholes: list[Array] = []
            lock = threading.Lock()

            def part(where: slice, *arguments: Any) -> Any:
                result = function(*arguments)
                if where == slice(0, n):
                    return result
                with lock:
                    if not wholes:
                        wholes.extend(_like(array, n) for array in _as_tuple(result))
                for whole, array in zip(wholes, _as_tuple(result), strict=True):
                    whole[where] = array
                return tuple(wholes) if isinstance(result, tuple) else wholes[0]

            return _in_parts(part, count, arguments)[0]

        return _dispatched(function, run_in_parts)

    return decorate


def summed(count: int) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Mark a function whose first ``count`` arguments are batches and whose result is a sum over their samples."""

    def decorate(function: Callable[..., Array]) -> Callable[..., Array]:
        def run_in_parts(arguments: tuple[Any, ...]) -> Array:
            results = _in_parts(lambda where, *arguments: function(*arguments), count, arguments)
            return functools.reduce(operator.add, results)

        return _dispatched(function, run_in_parts)

    return decorate


def _dispatched(function: Callable[..., Any], run_in_parts: Callable[[tuple[Any, ...]], Any]) -> Callable[..., Any]:
    """Return a function that asks the table first, and else runs the plain function in parts."""
    dispatcher = Dispatcher(function)

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        given = dispatcher.positional(arguments, named) if named else arguments
        result = dispatcher.serve(given) if dispatcher.entries else NotImplemented
        return run_in_parts(given) if result is NotImplemented else result

    run.dispatcher = dispatcher  # type: ignore[attr-defined]
    return run


def in_parts(function: Callable[..., None], *lines: Any) -> None:
    """Call ``function`` with parts of long rows of numbers, on several threads where that pays."""
    parts = get_num_threads() if len(lines[0]) >= LEAST_NUMBERS else 1
    size = max(1, -(-len(lines[0]) // parts))
    _at_once([functools.partial(function, *(line[i * size : (i + 1) * size] for line in lines)) for i in range(parts)])


def _in_parts(function: Callable[..., Any], count: int, arguments: tuple[Any, ...]) -> list[Any]:
    """Call function(where, ...) for each part of the batch, on as many threads, and return the results in order."""
    batches, others = arguments[:count], arguments[count:]
    n = len(batches[0])
    parts = min(get_num_threads(), n)
    if parts < 2 or max(batch.nbytes for batch in batches) < LEAST_BYTES:
        parts = 1
    size = max(1, -(-n // parts))
    places = [slice(start, min(start + size, n)) for start in range(0, max(n, 1), size)]
    return at_once(
        [functools.partial(function, where, *(batch[where] for batch in batches), *others) for where in places]
    )


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions at the same time, the first of them on this thread, and return what they return, in order."""
    with one_blas_thread():
        return _at_once(calls)


def _at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls at once, the first in this thread, and return their results in order."""
    if len(calls) == 1:
        return [calls[0]()]
    # a worker runs in a copy of this thread's context, which holds NumPy's error settings
    jobs = [_workers().submit(contextvars.copy_context().run, call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        for job in jobs:  # also after an error or Ctrl-C: no worker may go on once BLAS has its threads again
            job.exception()
    return [first, *(job.result() for job in jobs)]


def _as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def _like(part: Array, n: int) -> Array:
    """Return an empty array for n samples, laid out in memory as the part is."""
    order = sorted(range(part.ndim), key=lambda axis: (axis > 0, -part.strides[axis]))
    shape = [n if axis == 0 else part.shape[axis] for axis in order]
    return np.empty(shape, part.dtype).transpose(np.argsort(order))


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="cnn")
        return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    _forget_pool()  # a forked child has none of the parent's threads


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
