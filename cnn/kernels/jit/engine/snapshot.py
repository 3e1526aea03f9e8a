"""A snapshot of arrays, to detect whether they have changed; comparing is as fast as reading memory."""

from collections.abc import Sequence

import numpy as np
from numba import types

from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.compilation import INDEX, INDICES_ARRAY, bytes_, compiled, indices
from cnn.kernels.memory import HEAD

(ADDRESS_AT, ADDRESS, COPY, BYTES, NUMBERS) = range(5)  # of an array
BLOCK = 512  # words that are compared between two checks whether one was different


@compiled(types.boolean(INDEX, INDEX, INDEX))
def equal_bytes(x, y, size):
    """Tell whether this many bytes at two addresses are equal."""
    words = size // 8
    for start in range(0, words, BLOCK):
        different = 0
        for i in range(start, min(start + BLOCK, words)):
            different |= indices(x)[i] ^ indices(y)[i]
        if different != 0:
            return False
    different = 0
    for i in range(8 * words, size):
        different |= bytes_(x)[i] ^ bytes_(y)[i]
    return different == 0


@compiled(types.boolean(INDICES_ARRAY))
def equal(a):
    """Tell whether arrays have their address and the values of their copies; NUMBERS integers describe each."""
    for first in range(0, len(a), NUMBERS):
        x = a[first + ADDRESS]
        if indices(a[first + ADDRESS_AT])[0] != x:  # as after ndarray.resize
            return False
        if not equal_bytes(x, a[first + COPY], a[first + BYTES]):
            return False
    return True


class Snapshot:
    """A copy of the values of arrays, to compare with later; whoever asks has checked that their shapes are the same.

    Parameters
    ----------
    arrays : sequence of ndarray
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._ids = list(map(id, arrays))  # not the arrays, so as not to be among those that hold them
        self.copies = tuple(x.copy() for x in arrays)
        pairs = zip(arrays, self.copies, strict=True)
        numbers = [(id(x) + HEAD, address(x), address(copy), x.nbytes) for x, copy in pairs]
        self.numbers = np.array(numbers, np.int64).ravel()
        self.comparable = HEAD > 0 and all(x.flags.c_contiguous and x.flags.aligned for x in arrays)

    def matches(self, arrays: Sequence[Array]) -> bool:
        """Tell whether these are array objects at the same places, with the same memory and values, bit for bit."""
        return self.comparable and list(map(id, arrays)) == self._ids and bool(equal(self.numbers))
