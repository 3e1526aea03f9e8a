"""A recording of the kernel calls of a forward pass, to make the same calls again for other images of the same shape.

While a forward pass is recorded, `thread_pool.run` tells the recording each job, and `memory.empty` gets its memory
from it. So the jobs can run again: their addresses stay valid, and an array that is freed during the pass makes room
for a later one each time. What a pass does otherwise, such as packing weights, must have been done before.
"""

import collections
import contextvars
import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels import memory
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.snapshot import Snapshot

MAX_BYTES = 64 * 1024 * 1024  # of the arrays between the layers; for larger batches the calls take no time to speak of


class Job(NamedTuple):
    """A call of a kernel, as `thread_pool.run` got it."""

    kernel: int
    arguments: Array
    parts: int
    work: float  # ns on one thread


class Recording:
    """The jobs of one forward pass, and the memory that they use.

    Parameters
    ----------
    x : ndarray
        The images.
    arrays : sequence of ndarray
        Those of the model, which the recording does not keep: whoever runs the jobs must.

    Attributes
    ----------
    jobs : list of Job
    inputs : list of (ndarray, int)
        Where the jobs have the address of the images: arguments and index.
    flags : list of (ndarray, int)
        What a kernel sets to 1 if its result must not be used: arguments and index, for some of the jobs.
    scratch : list of (ndarray, int)
        Where the jobs have the address of a scratch buffer.
    scratch_size : int
        How many float32 numbers each thread needs of it at most.
    snapshots : list of Snapshot
        Of the arrays that the packed weights were made of.
    failed : bool
        Whether the pass did something that cannot be repeated.
    """

    def __init__(self, x: Array, arrays: Sequence[Array]) -> None:
        self._x = address(x), x.nbytes
        self._of_model = set(map(address, arrays))
        self.jobs: list[Job] = []
        self.inputs: list[tuple[Array, int]] = []
        self.flags: list[tuple[Array, int]] = []
        self.scratch: list[tuple[Array, int]] = []
        self.scratch_size = 0
        self.snapshots: list[Snapshot] = []
        self.failed = False
        self._kept: list[Any] = []  # what the jobs point to
        self._blocks: list[Array] = []
        self._free: dict[int, list[Array]] = {}  # by size in bytes
        self._leases: dict[int, memory.Lease] = {}  # of arrays in use, by id
        self._returned: collections.deque[memory.Lease] = collections.deque()  # of deleted arrays

    def run(self, forward: Callable[[], Array]) -> Array:
        """Run and record a forward pass, in this thread."""
        context = contextvars.copy_context()
        context.run(memory.recording.set, self)
        return context.run(forward)

    def fail(self) -> None:
        """Note that the pass cannot be repeated."""
        self.failed = True

    def keep(self, thing: Any) -> None:
        """Keep something alive whose memory the jobs use."""
        self._kept.append(thing)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised array, whose memory is used again once it is not referenced any more.

        An array gets the smallest block that is large enough: the fewer blocks, the more of them stay in the cache.
        """
        nbytes = math.prod(shape) * dtype.itemsize
        size = -(-max(nbytes, 1) // memory.CACHE_LINE) * memory.CACHE_LINE
        while self._returned:
            returned = self._returned.popleft()
            self._free[returned.size].append(self._leases.pop(id(returned)).block)
        fitting = [larger for larger, idle in self._free.items() if larger >= size and idle]
        if fitting:
            size = min(fitting)
            block = self._free[size].pop()  # the last one that was freed: most of it is in a cache
        else:
            block = np.empty(size + memory.CACHE_LINE, np.uint8)
            self._free.setdefault(size, [])
            self._blocks.append(block)
            self.failed = self.failed or self.nbytes > MAX_BYTES
        owner = (ctypes.c_char * size).from_buffer(block, -address(block) % memory.CACHE_LINE)
        lease = memory.Lease(owner, self._returned.append)  # a function in C, see memory.empty
        lease.block, lease.size = block, size
        self._leases[id(lease)] = lease
        return np.ndarray(shape, dtype, owner)

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the recording holds."""
        return sum(block.nbytes for block in self._blocks)

    def owns(self, at: int) -> bool:
        """Tell whether an address is in the memory of this recording."""
        return any(0 <= at - address(block) < block.nbytes for block in self._blocks)

    def add(self, kernel: int, values: Array, arguments: dict[int, Any], parts: int, work: float, scratch: Any) -> None:
        """Record a job before it runs; ``values`` are all its arguments, ``arguments`` those that were given."""
        values = values.copy()
        self.jobs.append(Job(kernel, values, parts, work))
        start, nbytes = self._x
        for index, value in arguments.items():
            if not isinstance(value, np.ndarray) or (scratch is not None and index == scratch[0]):
                continue
            at = address(value)
            if at == start:
                self.inputs.append((values, index))
            elif start < at < start + nbytes:
                self.fail()
            elif at not in self._of_model and not self.owns(at):
                self._kept.append(value)
        if scratch is not None:
            self.scratch.append((values, scratch[0]))
            self.scratch_size = max(self.scratch_size, scratch[1])

    def flag(self, index: int) -> None:
        """Note that the last job sets this argument to 1 if its result must not be used."""
        self.flags.append((self.jobs[-1].arguments, index))

    def depends_on(self, snapshot: Snapshot) -> None:
        """Note that packed weights of the jobs were made of these arrays."""
        self.snapshots.append(snapshot)
