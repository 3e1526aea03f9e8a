"""The thread pool that runs compiled kernels, without the interpreter lock and without waking threads between kernels.

A job is a kernel, its arguments and a number of parts. Each thread, including the caller, has a share of the parts, so
that from one kernel to the next it finds its data in its own cache. A thread that finishes its share takes parts of the
other threads' shares (work stealing), so a worker that starts late does not delay a job. The result does not depend on
which thread ran which part, because the result of a part depends only on its number.

Waking a sleeping thread takes 50 to 100 us on a virtual machine, as long as some kernels run. So a worker that has
finished polls for the next job for a while before it sleeps.

The state is an array of integers that are read and written with atomic instructions. A worker increments the counter
INSIDE before it checks whether the job is open, and the caller closes the job before it waits until INSIDE is 0. So no
thread can read a job that is being replaced.
"""

import atexit
import contextlib
import os
import queue
import threading
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from cnn.kernels import memory, parallel
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import (
    INDEX,
    INDICES,
    Kernel,
    call,
    compiled,
    indices,
    indices_from,
)

# indices in the state, 64 bytes apart, so that no two share a cache line
OPEN, INSIDE, SHARES, PARTS, KERNEL, ARGUMENTS, STOP, MAX_THREADS, LEADERS, LISTS, NEXT = (8 * i for i in range(11))
MAX_POLLS = 1_000_000  # how often a worker polls for a job before it sleeps: one or two milliseconds
MIN_PARALLEL_NS = 30_000  # shorter jobs run on one thread
MIN_WAKE_NS = 60_000  # for shorter jobs, sleeping workers are not woken
UNLIMITED = 1 << 30  # number of threads for a job that needs no scratch buffer


def _atomic(emit_one: Any, *rest: Any) -> Any:
    @intrinsic
    def operation(context: Any, pointer: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit_one(builder, *values)

        return types.int64(INDICES, types.int64), emit

    return operation


def _store(builder: Any, pointer: Any, value: Any) -> Any:
    builder.store_atomic(value, pointer, "seq_cst", 8)
    return value


add = _atomic(lambda builder, pointer, value: builder.atomic_rmw("add", pointer, value, "seq_cst"))
store = _atomic(_store)
load = _atomic(lambda builder, pointer, value: builder.load_atomic(pointer, "seq_cst", 8))


@compiled(types.void(INDICES, INDEX))
def take_parts(state, slot):
    """Run parts of the open job until none is left."""
    parts, shares = state[PARTS], state[SHARES]
    for i in range(shares):
        share = (slot + i) % shares
        taken, first, last = NEXT + 8 * share, share * parts // shares, (share + 1) * parts // shares
        part = first + add(indices_from(state, taken), 1)
        while part < last:
            call(state[KERNEL], indices(state[ARGUMENTS]), part, slot)
            part = first + add(indices_from(state, taken), 1)


@compiled(types.int64(INDEX, INDEX, INDEX))
def run_jobs(address, max_polls, slot):
    """Poll for jobs and run parts of them; return when there has been none for a while, and no list of jobs runs."""
    state = indices(address)
    polls = 0
    while polls < max_polls and not load(indices_from(state, STOP), 0):
        if load(indices_from(state, OPEN), 0):
            add(indices_from(state, INSIDE), 1)
            if load(indices_from(state, OPEN), 0) and slot < state[MAX_THREADS]:
                take_parts(state, slot)
                polls = 0
            add(indices_from(state, INSIDE), -1)
        if not load(indices_from(state, LISTS), 0):
            polls += 1
    return 0


@compiled(types.boolean(INDEX, INDEX, INDEX, INDEX, INDEX))
def lead(address, kernel, arguments, parts, max_threads):
    """Open a job, run parts of it, and return True when all are done; or False if another thread leads the workers."""
    state = indices(address)
    if add(indices_from(state, LEADERS), 1) != 0:
        add(indices_from(state, LEADERS), -1)
        return False
    state[KERNEL], state[ARGUMENTS], state[PARTS] = kernel, arguments, parts
    state[MAX_THREADS] = max_threads
    for share in range(state[SHARES]):
        store(indices_from(state, NEXT + 8 * share), 0)
    store(indices_from(state, OPEN), 1)
    take_parts(state, 0)
    store(indices_from(state, OPEN), 0)
    while load(indices_from(state, INSIDE), 0):
        pass
    add(indices_from(state, LEADERS), -1)
    return True


@compiled(types.void(INDEX, INDEX, INDEX))
def run_serial(kernel, arguments, parts):
    """Run all parts on this thread."""
    for part in range(parts):
        call(kernel, indices(arguments), part, 0)


class ThreadPool:
    """The worker threads, each of which sleeps, polls for jobs or runs one."""

    def __init__(self, workers: int) -> None:
        self.state = np.zeros(NEXT + 8 * (workers + 1), np.int64)  # from NEXT on: the next part of each share
        self.state[SHARES] = workers + 1
        self.address = self.state.ctypes.data
        # queues, because Ctrl-C may come between any two calls: it must not be able to lose a wake signal
        self.wake_signals: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(workers)]
        self.threads = [
            threading.Thread(target=self._serve, args=(i,), name=f"cnn-{i}", daemon=True) for i in range(1, workers + 1)
        ]
        _pools.append(self)  # first: whatever Ctrl-C leaves of it can be stopped
        for thread in self.threads:
            thread.start()

    def _serve(self, slot: int) -> None:
        wake_signal = self.wake_signals[slot - 1]
        while not self.state[STOP]:
            run_jobs(self.address, MAX_POLLS, slot)
            wake_signal.get()  # returns immediately if the signal came while this worker was awake

    def wake(self) -> None:
        """Wake the workers that sleep."""
        for wake_signal in self.wake_signals:
            if wake_signal.empty():
                wake_signal.put(None)

    def shut_down(self) -> None:
        """Stop the workers, and wait until they have ended."""
        self.state[STOP] = 1
        for thread in self.threads:
            while thread.is_alive():
                self.wake()
                thread.join(0.01)


HEAD, read, ndarray = memory.HEAD, memory.read, np.ndarray  # found faster under these names
_pool: ThreadPool | None = None
_pools: list[ThreadPool] = []  # all whose workers may run: this one, and what Ctrl-C or another thread has left


def run(
    kernel: Kernel,
    arguments: dict[int, Any],
    parts: int,
    work: float,
    base: Array | None = None,
    scratch: tuple[int, int] | None = None,
) -> Array:
    """Run all parts of a job, and return its arguments as the kernel left them.

    Parameters
    ----------
    kernel : Kernel
        Called with the address of an array of integers, the number of a part, and the number of the thread.
    arguments : dict
        The values in this array, by index: a number, or an array, whose address is passed to the kernel.
    parts : int
        Number of parts of the job.
    work : float
        Estimated time of the job on one thread, in nanoseconds.
    base : ndarray of int64, optional
        All other arguments; it is copied. Without it, ``arguments`` must hold every index.
    scratch : (index, size), optional
        The index for the address of the scratch buffer, and the number of float32 numbers that each thread needs. No
        more threads work on the job than the buffer was allocated for, even if another thread of the user's changes
        the number of threads meanwhile.
    """
    values = np.zeros(len(arguments), np.int64) if base is None else base.copy()
    max_threads, buffer = UNLIMITED, None
    if scratch is not None:
        max_threads = parallel.num_threads
        try:
            buffer = memory.idle_scratch.pop()
        except IndexError:  # all are in use, in other threads
            buffer = None
        if buffer is None or buffer.size < max_threads * scratch[1]:
            buffer = memory.new_scratch(max_threads * scratch[1])
        arguments[scratch[0]] = buffer
    for index, value in arguments.items():
        if isinstance(value, ndarray):  # its address, without a call; see memory.address
            value = read(id(value) + HEAD).value if HEAD else memory.address(value)
        values[index] = value
    recorder = memory.recording.get()
    if recorder is not None:
        recorder.add(kernel, values, arguments, parts, work, scratch)
    pool = None
    if parts > 1 and work >= MIN_PARALLEL_NS:
        pool = _pool
        if pool is None or len(pool.threads) != parallel.num_threads - 1:
            pool = _get_pool()
    if pool is not None and work >= MIN_WAKE_NS:
        for wake_signal in pool.wake_signals:
            if wake_signal.empty():
                wake_signal.put(None)
    where = read(id(values) + HEAD).value if HEAD else memory.address(values)
    if pool is None or not lead(pool.address, kernel, where, parts, max_threads):
        run_serial(kernel, where, parts)
    if buffer is not None:
        memory.idle_scratch.append(buffer)
    return values


def awake(threads: int) -> ThreadPool | None:
    """Return the pool, with its workers awake; None if there is none for this number of threads."""
    pool = _pool
    if pool is None or len(pool.threads) != parallel.num_threads - 1:
        pool = _get_pool()
    if pool is None or len(pool.threads) != threads - 1:
        return None
    for wake_signal in pool.wake_signals:
        if wake_signal.empty():
            wake_signal.put(None)
    return pool


def _get_pool() -> ThreadPool | None:
    """Return the pool for the number of threads; if there is none, start one, and stop all others.

    Ctrl-C may come at any moment, and other threads may do the same at the same time: no lock, which could stay locked.
    """
    global _pool
    pool, count = _pool, parallel.num_threads - 1
    if (0 if pool is None else len(pool.threads)) == count and len(_pools) == (count > 0):
        return pool
    _pool = pool = ThreadPool(count) if count else None
    for other in list(_pools):
        if other is not _pool:
            other.shut_down()
            with contextlib.suppress(ValueError):  # another thread has removed it
                _pools.remove(other)
    if pool is not None and pool.state[STOP]:  # another thread has stopped it before it was the current one
        _pool = None
    return pool


@atexit.register
def _shut_down() -> None:
    """Stop the workers before the compiled code that they run is freed."""
    for pool in list(_pools):
        pool.shut_down()


def _after_fork() -> None:
    global _pool
    _pool = None
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def elementwise_parts(count: int) -> int:
    """Return how many parts an element-wise function divides ``count`` elements into."""
    return max(1, min(4 * parallel.num_threads, count // 16_384))
