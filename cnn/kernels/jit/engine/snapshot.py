"""A snapshot of arrays, to detect whether they have changed; comparing is as fast as reading memory."""

import operator
from collections.abc import Sequence

import numpy as np
from numba import types

from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.compilation import INDICES_ARRAY, bytes_, compiled, indices
from cnn.kernels.memory import HEAD

(ADDRESS_AT, ADDRESS, COPY, BYTES, NUMBERS) = range(5)  # of an array
BLOCK = 512  # words that are compared between two checks whether one was different


@compiled(types.boolean(INDICES_ARRAY))
def equal(a):
    """Tell whether arrays have their address and the values of their copies; NUMBERS integers describe each."""
    for first in range(0, len(a), NUMBERS):
        x, y, size = a[first + ADDRESS], a[first + COPY], a[first + BYTES]
        if indices(a[first + ADDRESS_AT])[0] != x:  # as after ndarray.resize
            return False
        words = size // 8
        for start in range(0, words, BLOCK):
            different = 0
            for i in range(start, min(start + BLOCK, words)):
                different |= indices(x)[i] ^ indices(y)[i]
            if different != 0:
                return False
        for i in range(8 * words, size):
            if bytes_(x)[i] != bytes_(y)[i]:
                return False
    return True


class Snapshot:
    """A copy of the values of arrays, to compare with later; whoever asks has checked that their shapes are the same.

    Parameters
    ----------
    arrays : sequence of ndarray
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = tuple(arrays)
        self._copies = tuple(x.copy() for x in arrays)
        pairs = zip(self.arrays, self._copies, strict=True)
        numbers = [(id(x) + HEAD, address(x), address(copy), x.nbytes) for x, copy in pairs]
        self._numbers = np.array(numbers, np.int64).ravel()
        self._comparable = HEAD > 0 and all(x.flags.c_contiguous and x.flags.aligned for x in arrays)

    def matches(self, arrays: Sequence[Array]) -> bool:
        """Tell whether these are the same array objects, with the same values, bit for bit."""
        if not self._comparable or len(arrays) != len(self.arrays) or not all(map(operator.is_, arrays, self.arrays)):
            return False
        return bool(equal(self._numbers))
