"""A snapshot of arrays, to detect whether they have changed; comparing is as fast as reading memory."""

import operator
from collections.abc import Sequence

import numpy as np

from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.compilation import bytes_, indices, kernel
from cnn.kernels.memory import addresses

(SAME, COUNT, FIRST) = range(3)
BLOCK = 512  # words that are compared between two checks whether one was different


@kernel
def compare(a, part, slot):
    """Set SAME to whether pairs of memory blocks are equal; each pair is two addresses and a number of bytes."""
    a[SAME] = 0
    for pair in range(a[COUNT]):
        at = FIRST + 3 * pair
        x, y, words = indices(a[at]), indices(a[at + 1]), a[at + 2] // 8
        for start in range(0, words, BLOCK):
            different = 0
            for i in range(start, min(start + BLOCK, words)):
                different |= x[i] ^ y[i]
            if different != 0:
                return
        for i in range(8 * words, a[at + 2]):
            if bytes_(a[at])[i] != bytes_(a[at + 1])[i]:
                return
    a[SAME] = 1


class Snapshot:
    """A copy of the values of arrays, to compare with later; whoever asks has checked that their shapes are the same.

    Parameters
    ----------
    arrays : sequence of ndarray
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = tuple(arrays)
        self._copies = tuple(x.copy() for x in arrays)
        pairs = [(address(x), address(y), x.nbytes) for x, y in zip(self.arrays, self._copies, strict=True)]
        self._addresses = [x for x, _, _ in pairs]
        self._arguments = np.array([0, len(pairs), *(number for pair in pairs for number in pair)], np.int64)
        self._comparable = all(x.flags.c_contiguous and x.flags.aligned for x in arrays)

    def matches(self, arrays: Sequence[Array]) -> bool:
        """Tell whether these are the same array objects, with the same values, bit for bit."""
        if not self._comparable or len(arrays) != len(self.arrays) or not all(map(operator.is_, arrays, self.arrays)):
            return False
        if addresses(arrays) != self._addresses:  # as after ndarray.resize
            return False
        return bool(thread_pool.run(compare, {}, 1, 0, self._arguments)[SAME])
