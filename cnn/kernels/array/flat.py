"""Functions that treat every number by itself: large arrays in pieces, shared among threads."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.shared import Array, Scratch, shared

ALONE = 50_000  # ns: with less work, cutting it into pieces takes as long
PIECE_BYTES = 5 * 1024 * 1024  # of all arrays and rooms


def flat(*arrays: Array) -> list[Array] | None:
    """See arrays as rows of numbers in the order of the first's memory, without a copy; None where that cannot be."""
    if all(array.flags.c_contiguous and array.shape == arrays[0].shape for array in arrays):
        return [array.reshape(-1) for array in arrays]
    axes = sorted(range(arrays[0].ndim), key=lambda axis: -arrays[0].strides[axis])
    in_order = [array.transpose(axes) for array in arrays if array.shape == arrays[0].shape]
    if len(in_order) < len(arrays) or not all(array.flags.c_contiguous for array in in_order):
        return None
    return [array.reshape(-1) for array in in_order]


def in_pieces(function: Callable[..., None], arrays: list[Array], dtypes: list[Any], nanoseconds: float) -> None:
    """Call ``function`` with one piece of all arrays after the other, and with room of these dtypes for what it needs.

    It takes about so many nanoseconds for each number.
    """
    n = len(arrays[0])
    if n * nanoseconds < ALONE:
        function(*arrays, *(np.empty(n, dtype) for dtype in dtypes))
        return
    most = PIECE_BYTES // sum(np.dtype(dtype).itemsize for dtype in (*(array.dtype for array in arrays), *dtypes))
    step = max(1, -(-n // max(1, -(-n // most))))  # pieces of the same length

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        rooms = [scratch((step,), dtype) for dtype in dtypes]
        for start in starts:
            parts = [array[start : start + step] for array in arrays]
            function(*parts, *(empty[: len(parts[0])] for empty in rooms))

    shared(work, range(0, n, step), n * nanoseconds)
