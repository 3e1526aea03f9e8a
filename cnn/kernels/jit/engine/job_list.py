"""Recorded kernel calls, made again in one compiled call: from one kernel to the next, Python takes longer than the
kernels of a small image.

The first job compares the weights with the copies of which the packed weights were made, see snapshot.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from cnn.kernels import memory
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.comparison import Comparison
from cnn.kernels.jit.engine.compilation import INDEX, compiled, indices, indices_from
from cnn.kernels.jit.engine.recording import Recording

(KERNEL, ARGUMENTS, PARTS, IS_SHARED, FLAG, FIELDS) = range(6)  # of a job; FLAG: address of a number, or 0
CHANGED = object()  # the result of jobs that did not run because an array has changed
MIN_SHARED_NS = 2_000  # shorter jobs run on one thread; less than for a single job, because the workers are awake


@compiled(types.int64(INDEX, INDEX, INDEX, INDEX))
def run_in_order(pool, table, count, max_threads):
    """Run the jobs of a table, with the workers of a pool if its address is not 0.

    Stop at a job whose flag is set, and return its number, from 1 on, else 0.
    """
    for i in range(count):
        job = indices_from(indices(table), i * FIELDS)
        kernel, arguments, parts = job[KERNEL], job[ARGUMENTS], job[PARTS]
        is_led = pool != 0 and job[IS_SHARED] != 0 and thread_pool.lead(pool, kernel, arguments, parts, max_threads)
        if not is_led:
            thread_pool.run_serial(kernel, arguments, parts)
        if job[FLAG] != 0 and indices(job[FLAG])[0] != 0:
            indices(job[FLAG])[0] = 0
            return i + 1
    return 0


@compiled(types.int64(INDEX, INDEX, INDEX, INDEX))
def run_all(pool, table, count, max_threads):
    """The same, while the workers stay awake, also during a long job of one part."""
    if pool == 0:
        return run_in_order(pool, table, count, max_threads)
    lists = indices_from(indices(pool), thread_pool.LISTS)
    thread_pool.add(lists, 1)
    ended = run_in_order(pool, table, count, max_threads)
    thread_pool.add(lists, -1)
    return ended


class JobList:
    """The jobs of a recording, with buffers of their own: only one thread at a time may run them.

    Parameters
    ----------
    recorded : Recording
    arrays : sequence of ndarray
        All arrays of the model. Their memory, shape and dtype must be those of the recording.
    y : ndarray
        The output of the recorded pass, in memory of the recording.
    threads : int
        How many threads run a job, at most.

    Attributes
    ----------
    nbytes : int
        How many bytes the arrays between the layers take.
    """

    def __init__(self, recorded: Recording, arrays: Sequence[Array], y: Array, threads: int) -> None:
        self._recorded, self._y, self._threads, self.nbytes = recorded, y, threads, recorded.nbytes
        self._scratch = memory.new_scratch(threads * max(recorded.scratch_size, 1))
        for values, index in recorded.scratch:
            values[index] = address(self._scratch)
        flags = {id(values): address(values) + 8 * index for values, index in recorded.flags}
        self._inputs = recorded.inputs
        self._comparison = Comparison(arrays, recorded.snapshots)
        compare = self._comparison.job
        flags[id(compare.arguments)] = self._comparison.flag
        rows = []
        for job in (compare, *recorded.jobs):
            is_shared = job.parts > 1 and job.work >= MIN_SHARED_NS
            rows.append((job.kernel, address(job.arguments), job.parts, is_shared, flags.get(id(job.arguments), 0)))
        self._table = np.array(rows, np.int64)
        start = address(self._table)
        self._calls = (start + 8 * FIELDS, len(rows) - 1, threads), (start, len(rows), threads)

    def empty(self, n: int) -> Array:
        """Return an uninitialised array for the output of ``n`` images, in the memory layout of the recorded output."""
        return memory.empty_like(np.empty_like(self._y, shape=(n, *self._y.shape[1:])))

    def run(self, x: Array, compares: bool, out: Array | None = None) -> Any:
        """Return the output for other images of the recorded shape; ``compares``: if no array of the model has changed.

        It is written into ``out`` if that is given. None if an image is uneven, so that it must be computed in another
        way (kernels/jit/conv2d.py); `CHANGED` if an array of the model has changed.
        """
        at = address(x)
        for values, index in self._inputs:
            values[index] = at
        pool = thread_pool.awake(self._threads)
        stopped_at = run_all(0 if pool is None else pool.address, *self._calls[compares])
        if stopped_at == 0:
            if out is None:
                return self._y.copy(order="K")
            out[...] = self._y
            return out
        return CHANGED if compares and stopped_at == 1 else None
