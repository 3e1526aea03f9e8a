"""Prepared calls: a chain that computes images of one shape again and again makes all kernel calls in a compiled one.

Between two layers of a small image, Python takes longer than the kernels do. So the first pass in inference runs as
ever, the second one is recorded, and from the third on the recorded jobs run again (kernels/jit/engine/job_list.py).
What is recorded are the steps and layers that run without it, so there is no second way to compute a net. Before a
recording is used, it must give the same bits as they do for other images.

A batch whose arrays between the layers do not fit the cache is computed in chunks of images that do: all of the first
layers for some images, then for the next ones. That gives the same bits, and reads and writes little but the cache.

A result is never stale. The jobs are used only as long as nothing has changed that they depend on: attributes of
modules (core/changes.py), the arrays of the model, lists of branches, the number of threads, and the modes of the
thread. The values of the arrays are compared at each call, unless nobody can have written into them since the last
comparison (`are_private` in core/parameter.py): comparing them takes as long as reading them twice.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnn.containers.branches import Residual, Sum
from cnn.containers.fusion.step import FusedStep
from cnn.core import changes, modes
from cnn.core.parameter import are_private
from cnn.kernels import memory, parallel
from cnn.kernels.jit.engine.comparison import can_compare
from cnn.kernels.jit.engine.job_list import CHANGED, JobList
from cnn.kernels.jit.engine.recording import MAX_BYTES, Recording
from cnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Dropout,
    Dropout2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Tanh,
)
from cnn.module import Array, Buffer, Module

# Layers that, in inference, only call kernels, or return their input or a view of it
SIMPLE = frozenset((AdaptiveAvgPool2d, AvgPool2d, Dropout, Dropout2d, Flatten, Identity, MaxPool2d, ReLU, Tanh))
CHUNK_BYTES = 4 * 1024 * 1024  # of the arrays between the layers, in larger batches
ENOUGH = 64  # images: with more, the kernels compute each of them in the same way as with this many
MAX_SHAPES = 4  # how many shapes of images are prepared at the same time
get_array, get_last_read = operator.attrgetter("_data"), operator.attrgetter("_last_read")


class Prepared:
    """The recorded jobs for images of one shape, and what they depend on.

    Attributes
    ----------
    tensors : list of Buffer
        All of the model.
    idle : list of JobList
        One for each thread that has needed one; empty where the pass cannot be repeated.
    count : int
        How many layers they compute, 0 where the pass cannot be repeated.
    chunk : int
        How many images a list computes at a time.
    nbytes : int
        How many bytes the arrays between the layers take, for one thread.
    """

    def __init__(self, modules: list[Module], tensors: list[Buffer], arrays: list[Array], mark: object) -> None:
        self.tensors, self.idle, self.count, self.chunk, self.nbytes = tensors, list[JobList](), 0, 0, 0
        self._mark = mark  # the latest change before they were recorded
        self._ids = list(map(id, arrays))  # the arrays themselves are not held here, see `are_private`
        self._owned = all(array.base is None for array in arrays)
        lists = [value for module in modules for value in vars(module).values() if type(value) is list]
        self._lists = [(items, tuple(items)) for items in lists]
        self._reads: list[object] | None = None  # when the arrays were last compared, if they were private then

    def add(self, jobs: JobList, count: int, chunk: int) -> None:
        """Add the jobs of ``count`` layers, for ``chunk`` images at a time."""
        self.idle.append(jobs)
        self.count, self.chunk, self.nbytes = count, chunk, jobs.nbytes

    def is_current(self, arrays: list[Array]) -> bool:
        """Tell whether modules, lists and arrays are those of the recording; ``arrays`` are those of the tensors."""
        if self._mark is not changes.latest or list(map(id, arrays)) != self._ids:
            return False
        return all(tuple(items) == before for items, before in self._lists)

    def run(self, jobs: JobList, x: Array, arrays: list[Array]) -> Any:
        """Run the jobs; the arrays are compared, unless nobody can have written into them since they last were."""
        reads = list(map(get_last_read, self.tensors))
        before = self._reads
        if before is not None and all(map(operator.is_, reads, before)):
            return self.run_chunks(jobs, x, False)
        is_private = self._owned and are_private(arrays)  # after `reads`
        y = self.run_chunks(jobs, x, True)
        if y is not None and y is not CHANGED:
            self._reads = reads if is_private else None
        return y

    def run_chunks(self, jobs: JobList, x: Array, compares: bool) -> Any:
        """Run the jobs for each chunk; the last one begins earlier if there are too few images left."""
        if self.chunk == len(x):
            return jobs.run(x, compares)
        y = jobs.empty(len(x))
        for i in range(0, len(x), self.chunk):
            images = slice(start := min(i, len(x) - self.chunk), start + self.chunk)
            part = jobs.run(x[images], compares and i == 0, y[images])
            if part is None or part is CHANGED:
                return part
        return y


class PreparedCalls:
    """The prepared calls of a chain.

    Parameters
    ----------
    chain : Chain
    """

    def __init__(self, chain: Any) -> None:
        self._chain = chain
        self._prepared: dict[Any, Prepared] = {}
        self._last: Any = None  # shape, modes and latest change of the last call that was not prepared

    def run(self, x: Array, fused: Sequence[FusedStep | None]) -> tuple[Array, int] | None:
        """Return the output of the first layers, and how many these are; None if they must run as ever."""
        key = x.shape, x.strides, parallel.num_threads, modes.state.evaluating
        prepared = self._prepared.get(key)
        if prepared is None:
            return self._record_second(x, key, fused)
        arrays = list(map(get_array, prepared.tensors))  # held while the jobs run: another thread may replace them
        if not prepared.is_current(arrays):
            return self._record_second(x, key, fused)
        if not prepared.count or not x.flags.aligned or memory.recording.get() is not None:
            return None
        try:
            jobs = prepared.idle.pop()
        except IndexError:  # other threads use them
            more = self._record(x, fused)[1]
            if not more.idle or more.chunk != prepared.chunk:
                return None
            jobs = more.idle.pop()
        y = prepared.run(jobs, x, arrays)
        if y is CHANGED:
            self._prepared.pop(key, None)
            return None
        prepared.idle.append(jobs)
        return None if y is None else (y, prepared.count)

    def _record_second(self, x: Array, key: Any, fused: Sequence[FusedStep | None]) -> tuple[Array, int] | None:
        """Record this call if the last one was of the same shape, which packed the weights, and nothing has changed."""
        now = key, changes.latest
        if self._last is None or self._last[0] != key or self._last[1] is not now[1]:
            self._last = now
            return None
        if memory.recording.get() is not None:
            return None
        y, prepared = self._record(x, fused)
        kept = {shape: each for shape, each in self._prepared.items() if shape != key}
        while len(kept) >= MAX_SHAPES or sum(each.nbytes for each in (prepared, *kept.values())) > MAX_BYTES:
            kept.pop(next(iter(kept)))  # the oldest
        self._prepared = kept | {key: prepared}
        return None if y is None else (y, prepared.count)

    def _record(self, x: Array, fused: Sequence[FusedStep | None]) -> tuple[Array | None, Prepared]:
        """Run and record the layers that can be recorded: -> (their output, the prepared calls)."""
        chain, mark = self._chain, changes.latest
        modules, tensors = list(chain.modules()), [tensor for _, tensor in chain.named_tensors()]
        arrays = list(map(get_array, tensors))
        prepared = Prepared(modules, tensors, arrays, mark)
        count = recordable_layers(chain, fused)
        if not count or any(module.training for module in modules) or not x.flags.aligned:
            return None, prepared

        def first_layers(count: int) -> Callable[[Array], Array]:
            return lambda x: chain._run_steps(x, False, fused, 0, count)

        few = x[:ENOUGH]
        recorded, y = record(first_layers(count), few, arrays)
        nbytes, of_images = recorded.nbytes * len(x) // max(len(few), 1), image_layers(chain, count)
        chunk = chunk_size(len(x), nbytes, parallel.num_threads)
        if of_images and chunk < len(x):
            expected = y if of_images == count else record(first_layers(of_images), few, arrays)[1]
            first = x[:chunk]
            jobs = make_jobs(*record(first_layers(of_images), first, arrays), first_layers(of_images), first, arrays)
            if jobs is not None and same_bits(jobs.run(first, True), expected[:chunk]):
                prepared.add(jobs, of_images, chunk)
                y_images = prepared.run_chunks(jobs, x, True)
                return (None if y_images is CHANGED else y_images), prepared
        if nbytes > MAX_BYTES:
            return None, prepared
        if len(few) < len(x):
            recorded, y = record(first_layers(count), x, arrays)
        result = y.copy(order="K")  # the jobs will write into y
        jobs = make_jobs(recorded, y, first_layers(count), x, arrays)
        if jobs is None:
            return None, prepared
        prepared.add(jobs, count, len(x))
        return result, prepared


def record(forward: Callable[[Array], Array], x: Array, arrays: list[Array]) -> tuple[Recording, Array]:
    """Run and record some layers: -> (the recording, their output)."""
    recorded = Recording(x, arrays)
    return recorded, recorded.run(lambda: forward(x))


def make_jobs(
    recorded: Recording, y: Array, forward: Callable[[Array], Array], x: Array, arrays: list[Array]
) -> JobList | None:
    """Return the jobs of a recording; None if they cannot be repeated."""
    is_complete = bool(recorded.jobs) and recorded.owns(memory.address(y)) and not recorded.failed
    if not is_complete or not can_compare(arrays, recorded.snapshots):
        return None
    jobs = JobList(recorded, arrays, y, parallel.num_threads)
    return jobs if gives_the_same(jobs, forward, x, arrays) else None


def recordable_layers(chain: Any, fused: Sequence[FusedStep | None]) -> int:
    """Return how many layers of a chain, from the first one, only call kernels."""
    i = 0
    while i < len(chain.layers):
        step = fused[i]
        if step is not None and all(is_recordable(branch) for layer in step.layers for branch in branches_of(layer)):
            i += len(step.layers)
        elif step is None and is_recordable(chain.layers[i]):
            i += 1
        else:
            break
    return i


def is_recordable(module: Module) -> bool:
    """Tell whether a module only calls kernels in inference."""
    if type(module) in SIMPLE:
        return True
    if type(module) in (Residual, Sum):
        return all(map(is_recordable, branches_of(module)))
    fused_in = getattr(module, "fused_steps", None)  # of a chain in this one
    steps = None if fused_in is None else fused_in("jit")
    return steps is not None and recordable_layers(module, steps) == len(module.layers)  # type: ignore[attr-defined]


def branches_of(module: Module) -> list[Module]:
    """Return the branches of a sum, and nothing for another layer."""
    return list(module.children().values()) if type(module) in (Residual, Sum) else []


def image_layers(chain: Any, count: int) -> int:
    """Return how many of the first layers come before one that takes vectors, whose weights are read once a batch."""
    kinds = [type(layer) for layer in chain.layers[:count]]
    return next((i for i, kind in enumerate(kinds) if kind in (Flatten, Linear)), count)


def chunk_size(n: int, nbytes: int, threads: int) -> int:
    """Return how many of ``n`` images are computed at a time, if the arrays of all of them have so many bytes.

    Among the sizes that fit the cache and are not too small, it is the one with the fewest images for one thread.
    """
    if nbytes <= CHUNK_BYTES:
        return n
    most = max(CHUNK_BYTES * n // nbytes, 1)
    sizes = range(max(most // 2, 1), most + 1)
    return min(sizes, key=lambda size: (-(-n // size) * -(-size // threads), -size))


def gives_the_same(jobs: JobList, forward: Callable[[Array], Array], x: Array, arrays: list[Array]) -> bool:
    """Tell whether recorded jobs give the bits of the layers for other images than those that were recorded."""
    other = np.empty_like(x)
    other[...] = np.random.default_rng(0).random(x.shape, np.float32)
    if other.strides != x.strides:
        return False
    return same_bits(jobs.run(other, True), record(forward, other, arrays)[1])


def same_bits(y: Any, expected: Array) -> bool:
    """Tell whether jobs gave an output, and that has the bits and the memory layout that are expected."""
    if y is None or y is CHANGED:
        return False
    y = y[: len(expected)].copy(order="K")
    return y.strides == expected.copy(order="K").strides and y.tobytes() == expected.tobytes()
