"""Sharing work items among threads: each thread takes the next item that is left.

So a thread that starts late, or shares its core with another program, does less, and no thread waits for it. Each
switch between threads costs some microseconds of the interpreter lock, so items are few and large: what NumPy does with
one takes hundreds of microseconds.
"""

import functools
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from cnn.kernels.memory import borrow_scratch, return_scratch
from cnn.kernels.parallel import get_num_threads, run_parallel

Array = np.ndarray[Any, np.dtype[Any]]
Item = TypeVar("Item")
Scratch = Callable[[tuple[int, ...], Any], Array]  # makes an array of a shape and dtype in a borrowed scratch buffer

END = object()  # after the last item
MIN_NANOSECONDS = 300_000  # with less work, waking another thread costs more than it saves
MAX_SUMS = 8  # partial sums of a weight gradient: at most this many threads can work on it
MIN_SUMS = 4  # also where they are large
MAX_SUMS_SIZE = 2 * 1024 * 1024  # numbers in all partial sums together, where that allows more than the minimum


def parallel_for(work: Callable[[Iterator[Item], Scratch], None], items: Iterable[Item], nanoseconds: float) -> None:
    """Call ``work`` on each thread with an iterator over the items, which all threads share.

    Parameters
    ----------
    work : callable
        ``work(items, scratch)`` processes each item; ``scratch(shape, dtype)`` makes arrays for intermediate results,
        which may not be used after it returns.
    items : iterable
        The result must not depend on the order in which they are taken.
    nanoseconds : float
        About how long one thread takes for all items.
    """
    left: deque[Any] = deque(items)
    threads = min(get_num_threads(), len(left)) if nanoseconds >= MIN_NANOSECONDS else 1
    left.extend([END] * max(1, threads))  # one for each thread

    def call() -> None:
        buffers: list[Array] = []

        def scratch(shape: tuple[int, ...], dtype: Any) -> Array:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            buffers.append(borrow_scratch(-(-size // 4)))
            return np.ndarray(shape, dtype, buffers[-1])  # not a view of a view, which takes longer to make

        try:
            work(iter(left.popleft, END), scratch)  # no generator: Ctrl-C is lost in one that is deleted half way
        finally:
            for buffer in buffers:
                return_scratch(buffer)

    run_parallel([call] * max(1, threads))


def tile_slices(n: int, step: int) -> list[slice]:
    """Cut n images into tiles of ``step`` images."""
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def parallel_sum(
    make: Callable[[Scratch], Callable[..., None]],
    tiles: list[Item],
    shapes: Sequence[tuple[int, ...]],
    dtype: Any,
    nanoseconds: float,
) -> list[Array]:
    """Add up the contributions of tiles and return the sums: the same bits for any number of threads.

    The tiles are cut into groups of neighbours, each with partial sums of its own. Threads take the groups in any
    order; the tiles of a group are added in order, and so are the partial sums.

    Parameters
    ----------
    make : callable
        ``make(scratch)`` returns ``add(tile, *sums)``, which adds the contribution of a tile to sums of these shapes.
    tiles : list
        What ``add`` takes, one by one.
    shapes : sequence of tuple
        Shapes of the sums, the largest first.
    dtype : dtype
        Dtype of the sums.
    nanoseconds : float
        About how long one thread takes for all tiles.
    """
    tile_groups = group_tiles(tiles, math.prod(shapes[0]))
    sums = [np.zeros((len(tile_groups), *shape), dtype) for shape in shapes]

    def work(indices: Iterator[int], scratch: Scratch) -> None:
        add = make(scratch)
        for i in indices:
            for tile in tile_groups[i]:
                add(tile, *(each[i] for each in sums))

    parallel_for(work, range(len(tile_groups)), nanoseconds)
    return [functools.reduce(operator.add, each) for each in sums]


def group_tiles(tiles: list[Item], size: int) -> list[list[Item]]:
    """Cut a list of tiles into groups, each of which gets partial sums of ``size`` numbers."""
    count = max(1, min(len(tiles), max(MIN_SUMS, min(MAX_SUMS, MAX_SUMS_SIZE // size))))
    return [tiles[i * len(tiles) // count : (i + 1) * len(tiles) // count] for i in range(count)]
