"""Runs a plain function on several threads, each with a part of the batch.

In a convolution or a pool the samples of a batch are independent, and NumPy releases the interpreter lock while it
computes, so each thread can compute a part of the samples. The threads are started when they are first needed.

Ctrl-C may come between any two instructions of the main thread. So there is no lock, which it could leave locked: what
threads share changes in a single instruction, and a caller does what no worker has begun itself.
"""

import contextlib
import contextvars
import functools
import operator
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from cnn.kernels.dispatch import Dispatcher, one_blas_thread

Array = np.ndarray[Any, np.dtype[Any]]

MIN_BYTES = 64 * 1024  # of input: for less, waking another thread costs more than it saves
MIN_ELEMENTS = 128 * 1024  # the same for element-wise functions


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
            made: dict[str, list[Array]] = {}

            def part(samples: slice, *arguments: Any) -> Any:
                result = function(*arguments)
                if samples == slice(0, n):
                    return result
                outputs = made.get("outputs")
                if outputs is None:  # another thread may be here too; the arrays of the first one are used
                    empty = [_empty_batch_like(array, n) for array in _as_tuple(result)]
                    outputs = made.setdefault("outputs", empty)
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
    job = Job(calls)
    try:
        try:
            queue = _get_pool().queue
            for _ in calls[1:]:
                # a worker runs in a copy of this thread's context, which holds NumPy's error settings
                queue.put((contextvars.copy_context(), job))
            job.results[0] = calls[0]()
            job.take()
        finally:
            job.wait()
    finally:  # Ctrl-C may come while waiting, too: the workers must have ended before the caller's arrays are given up
        job.wait()
    if job.errors:
        first = min(job.errors)
        raise job.errors.pop(first)  # not kept, or it and this frame would refer to each other, and keep all arrays
    return [job.results[i] for i in range(len(calls))]


class Job:
    """Calls that several threads share; each takes the next one that is left. Results and errors have their numbers."""

    def __init__(self, calls: Sequence[Callable[[], Any]]) -> None:
        self._left = deque(range(1, len(calls)))  # the caller has the first
        self._calls = calls
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self._begun: list[None] = []  # one item for each worker that has begun, and for each that has ended
        self._ended: list[None] = []
        self._signals: SimpleQueue[None] = SimpleQueue()

    def take(self) -> None:
        """Run calls until none is left."""
        while self._left:
            try:
                number = self._left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                self.results[number] = self._calls[number]()
            except Exception as error:
                self.errors[number] = error
                return

    def work(self) -> None:
        """Do the part of a worker."""
        self._begun.append(None)  # before it takes a call: the caller waits for all that have begun
        try:
            self.take()
        except BaseException as error:
            self.errors[len(self._calls)] = error
        finally:
            self._ended.append(None)
            self._signals.put(None)

    def wait(self) -> None:
        """Drop the calls that are left, and wait for the workers that have begun, even if Ctrl-C comes again."""
        try:
            self._left.clear()
            while len(self._ended) < len(self._begun):
                self._signals.get()
        finally:
            if len(self._ended) < len(self._begun):
                self.wait()


class Pool:
    """Threads that take jobs from a queue. Without a job they wait; they end with the process, or when told to."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Start as many threads as are missing."""
        if self not in _pools:
            _pools.append(self)
        while len(self.threads) < count:
            thread = threading.Thread(target=_serve, args=(self.queue,), name=f"cnn_{len(self.threads)}", daemon=True)
            thread.start()
            self.threads.append(thread)


def _serve(queue: SimpleQueue[Any]) -> None:
    while True:
        given = queue.get()
        if given is None:
            queue.put(None)  # for the next thread
            return
        context, job = given
        context.run(job.work)
        del given, context, job  # while it waits, a worker keeps no arrays


_pool = Pool()
_pools: list[Pool] = []  # all whose threads may run: this one, and what Ctrl-C has left


def _as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def _empty_batch_like(part: Array, n: int) -> Array:
    """Return an uninitialised array for n samples, with the memory layout of a part."""
    order = sorted(range(part.ndim), key=lambda axis: (axis > 0, -part.strides[axis]))
    shape = [n if axis == 0 else part.shape[axis] for axis in order]
    return np.empty(shape, part.dtype).transpose(np.argsort(order))


def _get_pool() -> Pool:
    pool, count = _pool, max(1, num_threads - 1)
    if len(pool.threads) < count:
        _end_others()
        pool.start(count)
    return pool


def _reset_pool() -> None:
    global _pool
    _pool = Pool()
    _end_others()


def _end_others() -> None:
    """End the threads of former pools, after the jobs that they have been given."""
    for pool in list(_pools):
        if pool is not _pool:
            pool.queue.put(None)
            with contextlib.suppress(ValueError):  # another thread has removed it
                _pools.remove(pool)


def _after_fork() -> None:
    global _pool
    _pools.clear()
    _pool = Pool()  # a forked child has none of the parent's threads


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
