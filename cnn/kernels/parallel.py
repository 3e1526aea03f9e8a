"""Runs a plain function on several threads, each with a part of the batch.

In a convolution or a pool the samples of a batch are independent, and NumPy releases the interpreter lock while it
computes, so each thread can compute a part of the samples. The threads are started when they are first needed.
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

MIN_BYTES = 64 * 1024  # of input: for less, waking another thread costs more than it saves
MIN_ELEMENTS = 128 * 1024  # the same for element-wise functions

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


num_threads = _cores()  # read by every kernel; set by `set_num_threads`


def get_num_threads() -> int:
    """Return the number of threads that layers use: the number that was set, or the number of cores of this process."""
    return num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that a layer uses. The same number gives the same results, bit for bit.

    Parameters
    ----------
    n : int
        At least 1. The default is the number of cores that this process may use.

    Raises
    ------
    ValueError
        If n is not an integer of at least 1.

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
    _reset_pool()


def batched(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function whose first ``count`` arguments, and whose results, are batches of independent samples."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_in_parts(arguments: tuple[Any, ...]) -> Any:
            n = len(arguments[0])
            outputs: list[Array] = []
            lock = threading.Lock()

            def part(samples: slice, *arguments: Any) -> Any:
                result = function(*arguments)
                if samples == slice(0, n):
                    return result
                with lock:
                    if not outputs:
                        outputs.extend(_empty_batch_like(array, n) for array in _as_tuple(result))
                for output, array in zip(outputs, _as_tuple(result), strict=True):
                    output[samples] = array
                return tuple(outputs) if isinstance(result, tuple) else outputs[0]

            return _map_batch(part, count, arguments)[0]

        return _dispatched(function, run_in_parts)

    return decorate


def summed(count: int) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Mark a function whose first ``count`` arguments are batches and whose result is a sum over their samples."""

    def decorate(function: Callable[..., Array]) -> Callable[..., Array]:
        def run_in_parts(arguments: tuple[Any, ...]) -> Array:
            results = _map_batch(lambda samples, *arguments: function(*arguments), count, arguments)
            return functools.reduce(operator.add, results)

        return _dispatched(function, run_in_parts)

    return decorate


def _dispatched(function: Callable[..., Any], run_in_parts: Callable[[tuple[Any, ...]], Any]) -> Callable[..., Any]:
    """Return a function that runs an implementation from the table, or else the plain function in parts."""
    dispatcher = Dispatcher(function)

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        given = dispatcher.all_arguments(arguments, named)
        result = dispatcher.serve(given) if dispatcher.entries else NotImplemented
        return run_in_parts(given) if result is NotImplemented else result

    run.dispatcher = dispatcher  # type: ignore[attr-defined]
    return run


def in_parts(function: Callable[..., None], *arrays: Any) -> None:
    """Call ``function`` with parts of flat arrays, on several threads if the arrays are long enough to gain from it."""
    parts = get_num_threads() if len(arrays[0]) >= MIN_ELEMENTS else 1
    size = max(1, -(-len(arrays[0]) // parts))
    slices = [slice(i * size, (i + 1) * size) for i in range(parts)]
    _run_parallel([functools.partial(function, *(array[part] for array in arrays)) for part in slices])


def _map_batch(function: Callable[..., Any], count: int, arguments: tuple[Any, ...]) -> list[Any]:
    """Call function(samples, ...) for each part of the batch, one on each thread, and return the results in order."""
    batches, others = arguments[:count], arguments[count:]
    n = len(batches[0])
    parts = min(get_num_threads(), n)
    if parts < 2 or max(batch.nbytes for batch in batches) < MIN_BYTES:
        parts = 1
    size = max(1, -(-n // parts))
    slices = [slice(start, min(start + size, n)) for start in range(0, max(n, 1), size)]
    return run_parallel(
        [functools.partial(function, samples, *(batch[samples] for batch in batches), *others) for samples in slices]
    )


def run_parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run `_run_parallel` with BLAS on one thread."""
    with one_blas_thread():
        return _run_parallel(calls)


def _run_parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions on several threads, the first on this thread, and return their results in order."""
    if len(calls) == 1:
        return [calls[0]()]
    # a worker runs in a copy of this thread's context, which holds NumPy's error settings
    jobs = [_get_pool().submit(contextvars.copy_context().run, call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        for job in jobs:  # also after an error or Ctrl-C: wait for all workers before BLAS gets its threads back
            job.exception()
    return [first, *(job.result() for job in jobs)]


def _as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def _empty_batch_like(part: Array, n: int) -> Array:
    """Return an uninitialised array for n samples, with the memory layout of a part."""
    order = sorted(range(part.ndim), key=lambda axis: (axis > 0, -part.strides[axis]))
    shape = [n if axis == 0 else part.shape[axis] for axis in order]
    return np.empty(shape, part.dtype).transpose(np.argsort(order))


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="cnn")
        return _pool


def _reset_pool() -> None:
    global _pool
    _pool = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    _reset_pool()  # a forked child has none of the parent's threads


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
