"""A job that compares all arrays of a model with what they were: their memory, shape and dtype, and, where packed
weights were made of them, their values.
"""

from collections.abc import Sequence

import numpy as np
from numba import types

from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.compilation import INDEX, compiled, indices, indices_from, kernel
from cnn.kernels.jit.engine.recording import Job
from cnn.kernels.jit.engine.snapshot import NUMBERS, Snapshot, equal_bytes
from cnn.kernels.memory import HEAD, read

(HEADS, HEAD_COUNT, CHUNKS, CHUNK_COUNT, PARTS, CHANGED) = range(6)
# Where NumPy's array object has what describes it, in words after the header of every object; NumPy's C interface
# fixes that. The number of axes is a 32-bit number.
(DATA, AXES, SHAPE, STRIDES, DTYPE) = (0, 1, 2, 3, 5)
MAX_AXES = 4
(OBJECT, IS_DATA, IS_AXES, IS_DTYPE, IS_SHAPE, IS_STRIDES, HEAD_FIELDS) = (
    0,
    1,
    2,
    3,
    4,
    4 + MAX_AXES,
    4 + 2 * MAX_AXES,
)
(X, COPY, BYTES, CHUNK_FIELDS) = range(4)
CHUNK_BYTES = 32 * 1024
MAX_PARTS = 16
NS_PER_BYTE = 0.05


@compiled(types.boolean(INDEX, INDEX))
def is_described(heads, count):
    """Tell whether arrays still have the memory, shape, strides and dtype of a table."""
    for i in range(count):
        row = indices_from(indices(heads), i * HEAD_FIELDS)
        array = indices(row[OBJECT])
        if array[DATA] != row[IS_DATA] or array[DTYPE] != row[IS_DTYPE] or array[AXES] & 0xFFFFFFFF != row[IS_AXES]:
            return False
        for axis in range(row[IS_AXES]):
            if indices(array[SHAPE])[axis] != row[IS_SHAPE + axis]:
                return False
            if indices(array[STRIDES])[axis] != row[IS_STRIDES + axis]:
                return False
    return True


@kernel
def compare(a, part, slot):
    """Compare a part of the values; nothing is read of an array that has changed its memory."""
    if not is_described(a[HEADS], a[HEAD_COUNT]):
        a[CHANGED] = 1
        return
    for i in range(part * a[CHUNK_COUNT] // a[PARTS], (part + 1) * a[CHUNK_COUNT] // a[PARTS]):
        chunk = indices_from(indices(a[CHUNKS]), i * CHUNK_FIELDS)
        if not equal_bytes(chunk[X], chunk[COPY], chunk[BYTES]):
            a[CHANGED] = 1
            return


def description(array: Array) -> list[int]:
    """Return the row of an array in the table."""
    fill = [0] * (MAX_AXES - array.ndim)
    found = [read(id(array) + HEAD + 8 * word).value for word in (DATA, AXES, DTYPE)]
    return [id(array) + HEAD, found[0], found[1] & 0xFFFFFFFF, found[2], *array.shape, *fill, *array.strides, *fill]


def is_readable() -> bool:
    """Tell whether NumPy's array object is as described above; other Python implementations have another."""
    if HEAD == 0:
        return False
    array = np.zeros((2, 3), np.float32)
    start = id(array) + HEAD
    found = [read(start + 8 * word).value for word in (DATA, AXES, SHAPE, STRIDES, DTYPE)]
    if found[0] != address(array) or found[1] & 0xFFFFFFFF != 2 or found[4] != id(array.dtype):
        return False
    return [read(found[which] + 8 * i).value for which in (2, 3) for i in (0, 1)] == [2, 3, 12, 4]


READABLE = is_readable()


class Comparison:
    """The job, and what it points to.

    Parameters
    ----------
    arrays : sequence of ndarray
        Whose memory, shape and dtype are compared; of at most four axes. They must exist when the job runs.
    snapshots : sequence of Snapshot
        Of those whose values are compared too.
    """

    def __init__(self, arrays: Sequence[Array], snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = tuple(snapshots)
        chunks = [
            (x + start, copy + start, min(CHUNK_BYTES, nbytes - start))
            for snapshot in snapshots
            for _, x, copy, nbytes in snapshot.numbers.reshape(-1, NUMBERS).tolist()
            for start in range(0, nbytes, CHUNK_BYTES)
        ]
        self._tables = [np.array(rows, np.int64) for rows in (list(map(description, arrays)), chunks)]
        parts = min(max(len(chunks), 1), MAX_PARTS)
        heads, at = map(address, self._tables)
        self.arguments = np.array((heads, len(arrays), at, len(chunks), parts, 0), np.int64)
        self.flag = address(self.arguments) + 8 * CHANGED
        self.job = Job(compare, self.arguments, parts, NS_PER_BYTE * sum(size for _, _, size in chunks))


def can_compare(arrays: Sequence[Array], snapshots: Sequence[Snapshot]) -> bool:
    """Tell whether a `Comparison` can be made of these."""
    return READABLE and all(x.ndim <= MAX_AXES for x in arrays) and all(each.comparable for each in snapshots)
