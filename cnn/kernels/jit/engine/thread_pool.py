"""The thread pool that runs compiled kernels: no interpreter lock, no sleep and no waking between two kernels.

A job is a kernel, its arguments and a number of parts. Each thread, the caller included, has its share of the parts, so
that from kernel to kernel it finds its numbers in its own cache. A thread that is done takes what is left of the shares
of the others, so a worker that starts late costs nothing but its help. Which thread ran which part changes no bit,
because the result of a part depends on its number alone.

Waking a sleeping thread takes 50 to 100 us on a virtual machine, as long as some kernels run. So a worker that is done
looks for the next job for a while before it goes to sleep.

The state is integers in memory that are read and written with atomic instructions. A worker adds itself to those inside
before it looks whether the job is open, and the caller closes the job before it waits until nobody is inside. So nobody
can read a job that is being replaced.
"""

import atexit
import os
import queue
import threading
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from cnn.kernels import memory, parallel
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.compilation import INDEX, INDICES, Kernel, call, compiled, indices, indices_from

# positions in the state, 64 bytes apart, so that no two share a cache line
OPEN, INSIDE, SHARES, PARTS, KERNEL, ARGUMENTS, STOP, MAX_THREADS, LED, NEXT = (8 * i for i in range(10))
PATIENCE = 1_000_000  # how often a worker looks for a job before it sleeps: one or two milliseconds
LEAST_WORK = 30_000  # ns: below, one thread does it
WORTH_WAKING = 60_000  # ns: below, only workers that are awake are asked
ANY = 1 << 30  # threads may work on a job that needs no scratch buffer


INDICES_ARRAY = types.int64[::1]


def _atomic(emit_one: Any, *rest: Any) -> Any:
    @intrinsic
    def operation(context: Any, where: Any, value: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return emit_one(builder, *values)

        return types.int64(INDICES, types.int64), emit

    return operation


def _store(builder: Any, where: Any, value: Any) -> Any:
    builder.store_atomic(value, where, "seq_cst", 8)
    return value


add = _atomic(lambda builder, where, value: builder.atomic_rmw("add", where, value, "seq_cst"))
store = _atomic(_store)
load = _atomic(lambda builder, where, value: builder.load_atomic(where, "seq_cst", 8))


@compiled(types.void(INDICES, INDEX))
def take_parts(state, slot):
    """Do parts of the open job until none is left."""
    parts, shares = state[PARTS], state[SHARES]
    for i in range(shares):
        share = (slot + i) % shares
        taken, first, last = NEXT + 8 * share, share * parts // shares, (share + 1) * parts // shares
        part = first + add(indices_from(state, taken), 1)
        while part < last:
            call(state[KERNEL], indices(state[ARGUMENTS]), part, slot)
            part = first + add(indices_from(state, taken), 1)


@compiled(types.int64(INDEX, INDEX, INDEX))
def work(address, patience, slot):
    """Look out for jobs and help with them; return once none has come for a while."""
    state = indices(address)
    waited = 0
    while waited < patience and not load(indices_from(state, STOP), 0):
        if load(indices_from(state, OPEN), 0):
            add(indices_from(state, INSIDE), 1)
            if load(indices_from(state, OPEN), 0) and slot < state[MAX_THREADS]:
                take_parts(state, slot)
                waited = 0
            add(indices_from(state, INSIDE), -1)
        waited += 1
    return 0


@compiled(types.boolean(INDEX, INDEX, INDICES_ARRAY, INDEX, INDEX))
def lead(address, kernel, arguments, parts, max_threads):
    """Open a job, do parts of it, and return when all are done; or tell that another thread leads the workers."""
    state = indices(address)
    if add(indices_from(state, LED), 1) != 0:
        add(indices_from(state, LED), -1)
        return False
    state[KERNEL], state[ARGUMENTS], state[PARTS] = kernel, arguments.ctypes.data, parts
    state[MAX_THREADS] = max_threads
    for share in range(state[SHARES]):
        store(indices_from(state, NEXT + 8 * share), 0)
    store(indices_from(state, OPEN), 1)
    take_parts(state, 0)
    store(indices_from(state, OPEN), 0)
    while load(indices_from(state, INSIDE), 0):
        pass
    add(indices_from(state, LED), -1)
    return True


@compiled(types.void(INDEX, INDICES_ARRAY, INDEX))
def alone(kernel, arguments, parts):
    """Do all parts in this thread."""
    for part in range(parts):
        call(kernel, indices(arguments.ctypes.data), part, 0)


class ThreadPool:
    """The workers, each of them asleep or looking for work."""

    def __init__(self, workers: int) -> None:
        self.state = np.zeros(NEXT + 8 * (workers + 1), np.int64)  # NEXT: of each share, which part is the next
        self.state[SHARES] = workers + 1
        self.address = self.state.ctypes.data
        # Ctrl-C may come between any two calls: it must not be able to take a worker off a list of those to be woken
        self.alarms: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in range(workers)]
        self.threads = [
            threading.Thread(target=self._serve, args=(i,), name=f"cnn-{i}", daemon=True) for i in range(1, workers + 1)
        ]
        for thread in self.threads:
            thread.start()

    def _serve(self, slot: int) -> None:
        alarm = self.alarms[slot - 1]
        while not self.state[STOP]:
            work(self.address, PATIENCE, slot)
            alarm.get()  # at once, if it came while this worker was awake

    def wake(self) -> None:
        """Wake the workers that sleep."""
        for alarm in self.alarms:
            if alarm.empty():
                alarm.put(None)

    def dismiss(self) -> None:
        """End the workers, and wait until they have ended."""
        self.state[STOP] = 1
        for thread in self.threads:
            while thread.is_alive():
                self.wake()
                thread.join(0.01)


HEAD, read = memory.HEAD, memory.read
_pool: ThreadPool | None = None
_lock = threading.Lock()


def run(
    kernel: Kernel,
    arguments: dict[int, Any],
    parts: int,
    work: float,
    row: Array | None = None,
    scratch: tuple[int, int] | None = None,
) -> Array:
    """Run all parts of a job, and return its arguments as the kernel left them.

    Parameters
    ----------
    kernel : Kernel
        What is run. It gets the address of a row of integers, the number of a part, and that of the thread.
    arguments : dict
        What stands in the row, by position: a number, or an array, of which the kernel gets the address.
    parts : int
        How many parts the job has.
    work : float
        About how many nanoseconds the job takes one thread.
    row : ndarray of int64, optional
        All other arguments. Without it, ``arguments`` must hold every position.
    scratch : (position, size), optional
        Where the address of the scratch buffer goes, and how many float32 numbers each thread needs of it. No more
        threads work on the job than the buffer has room for, whatever number another thread of the user's sets
        meanwhile.
    """
    row = np.zeros(len(arguments), np.int64) if row is None else row.copy()
    max_threads, buffer = ANY, None
    if scratch is not None:
        max_threads = parallel.num_threads
        buffer = memory.idle_scratch.pop() if memory.idle_scratch else None
        if buffer is None or buffer.size < max_threads * scratch[1]:
            buffer = memory.new_scratch(max_threads * scratch[1])
        arguments[scratch[0]] = buffer
    for position, value in arguments.items():
        if type(value) is np.ndarray:  # its address, without a call; see memory.address
            value = read(id(value) + HEAD).value if HEAD else memory.address(value)
        row[position] = value
    pool = None
    if parts > 1 and work >= LEAST_WORK:
        pool = _pool
        if pool is None or len(pool.threads) != parallel.num_threads - 1:
            pool = _workers()
    if pool is not None and work >= WORTH_WAKING:
        for alarm in pool.alarms:
            if alarm.empty():
                alarm.put(None)
    if pool is None or not lead(pool.address, kernel, row, parts, max_threads):
        alone(kernel, row, parts)
    if buffer is not None:
        memory.idle_scratch.append(buffer)
    return row


def _workers() -> ThreadPool | None:
    global _pool
    pool, count = _pool, parallel.num_threads - 1
    if (0 if pool is None else len(pool.threads)) == count:
        return pool
    with _lock:
        pool = _pool
        if (0 if pool is None else len(pool.threads)) != count:
            _pool = None
            if pool is not None:
                pool.dismiss()
            _pool = ThreadPool(count) if count else None
        return _pool


@atexit.register
def _dismiss() -> None:
    """A worker must not look for work while the compiled code that it runs is taken away."""
    if _pool is not None:
        _pool.dismiss()


def _after_fork() -> None:
    global _pool, _lock
    _lock = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def parts_of_numbers(count: int) -> int:
    """Return how many parts a long row of numbers is cut into."""
    return max(1, min(4 * parallel.num_threads, count // 16_384))
