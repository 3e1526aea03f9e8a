"""Element-wise functions: large arrays are processed in chunks, shared among threads."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnn.kernels.array.parallel_for import Array, Scratch, parallel_for

MIN_NANOSECONDS = 50_000  # with less work, cutting it into chunks takes as long
CHUNK_BYTES = 5 * 1024 * 1024  # of all arrays and scratch buffers


def flat_views(*arrays: Array) -> list[Array] | None:
    """View arrays as vectors in the memory order of the first, without a copy; None if that is not possible."""
    if all(array.flags.c_contiguous and array.shape == arrays[0].shape for array in arrays):
        return [array.reshape(-1) for array in arrays]
    axes = sorted(range(arrays[0].ndim), key=lambda axis: -arrays[0].strides[axis])
    in_order = [array.transpose(axes) for array in arrays if array.shape == arrays[0].shape]
    if len(in_order) < len(arrays) or not all(array.flags.c_contiguous for array in in_order):
        return None
    return [array.reshape(-1) for array in in_order]


def in_chunks(function: Callable[..., None], arrays: list[Array], dtypes: list[Any], nanoseconds: float) -> None:
    """Call ``function`` with one chunk of all arrays after another, and with a scratch buffer for each dtype.

    ``nanoseconds`` is about how long it takes for each element.
    """
    n = len(arrays[0])
    if n * nanoseconds < MIN_NANOSECONDS:
        function(*arrays, *(np.empty(n, dtype) for dtype in dtypes))
        return
    most = CHUNK_BYTES // sum(np.dtype(dtype).itemsize for dtype in (*(array.dtype for array in arrays), *dtypes))
    step = max(1, -(-n // max(1, -(-n // most))))  # chunks of about the same length

    def work(starts: Iterator[int], scratch: Scratch) -> None:
        buffers = [scratch((step,), dtype) for dtype in dtypes]
        for start in starts:
            parts = [array[start : start + step] for array in arrays]
            function(*parts, *(buffer[: len(parts[0])] for buffer in buffers))

    parallel_for(work, range(0, n, step), n * nanoseconds)
