"""Sharing pieces of work among threads: each takes the next piece that is left.

So a thread that starts late, or shares its core with another program, does less, and nobody waits for it. Each change
between threads costs some microseconds of the interpreter lock, so pieces are few and large: what NumPy does with one
takes hundreds of microseconds.
"""

import functools
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from cnn.kernels.memory import borrow_scratch, return_scratch
from cnn.kernels.parallel import at_once, get_num_threads

Array = np.ndarray[Any, np.dtype[Any]]
Piece = TypeVar("Piece")
Scratch = Callable[[tuple[int, ...], Any], Array]  # makes an array of a shape and dtype, whose memory is lent

WORTH = 300_000  # ns: with less work, waking another thread costs more than it saves
MOST_SUMS = 8  # of a weight gradient: as many threads may work at it
LEAST_SUMS = 4  # also where they are large
SUMS_NUMBERS = 2 * 1024 * 1024  # in all of them, where that is enough for more than the least


def shared(work: Callable[[Iterator[Piece], Scratch], None], pieces: Iterable[Piece], nanoseconds: float) -> None:
    """Call ``work`` on each thread with an iterator over the pieces, which all of them share.

    Parameters
    ----------
    work : callable
        ``work(pieces, scratch)`` does what is to be done with each piece; ``scratch(shape, dtype)`` makes arrays for
        intermediate results, which are gone when it returns.
    pieces : iterable
        In whatever order they are taken, the result must be the same.
    nanoseconds : float
        About how long one thread takes for all.
    """
    left = deque(pieces)

    def taken() -> Iterator[Piece]:
        while True:
            try:
                yield left.popleft()
            except IndexError:
                return

    def call() -> None:
        rooms: list[Array] = []

        def scratch(shape: tuple[int, ...], dtype: Any) -> Array:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            rooms.append(borrow_scratch(-(-size // 4)))
            return np.ndarray(shape, dtype, rooms[-1])  # its first numbers: no view of a view, which takes longer

        try:
            work(taken(), scratch)
        finally:
            for lent in rooms:
                return_scratch(lent)

    threads = min(get_num_threads(), len(left)) if nanoseconds >= WORTH else 1
    at_once([call] * max(1, threads))


def cut(n: int, step: int) -> list[slice]:
    """Cut n images into tiles."""
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def summed(
    make: Callable[[Scratch], Callable[..., None]],
    tiles: list[Piece],
    shapes: Sequence[tuple[int, ...]],
    dtype: Any,
    nanoseconds: float,
) -> list[Array]:
    """Add up what tiles give, and return the sums: the same bits however many threads there are.

    Parameters
    ----------
    make : callable
        ``make(scratch)`` returns ``add(tile, *sums)``, which adds what a tile gives to sums of these shapes.
    tiles : list
        In whatever order threads take them, those of a piece are added in theirs, and so are the pieces.
    shapes : sequence of tuple
        Of the sums, the largest first. Each piece has sums of its own.
    dtype : dtype
        Of the sums.
    nanoseconds : float
        About how long one thread takes for all.
    """
    pieces = in_pieces(tiles, math.prod(shapes[0]))
    sums = [np.zeros((len(pieces), *shape), dtype) for shape in shapes]

    def work(numbers: Iterator[int], scratch: Scratch) -> None:
        add = make(scratch)
        for i in numbers:
            for tile in pieces[i]:
                add(tile, *(each[i] for each in sums))

    shared(work, range(len(pieces)), nanoseconds)
    return [functools.reduce(operator.add, each) for each in sums]


def in_pieces(tiles: list[Piece], numbers: int) -> list[list[Piece]]:
    """Put tiles into pieces, each of which gets so many sums of its own."""
    count = max(1, min(len(tiles), max(LEAST_SUMS, min(MOST_SUMS, SUMS_NUMBERS // numbers))))
    return [tiles[i * len(tiles) // count : (i + 1) * len(tiles) // count] for i in range(count)]
