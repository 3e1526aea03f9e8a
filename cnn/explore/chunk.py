"""Chunk: arrays that are deflated together."""

import zlib

import numpy as np

from cnn.module import Array


class Chunk:
    """Arrays one after the other; equal ones are there once.

    Parameters
    ----------
    level : int
        How hard zlib tries.

    Examples
    --------
    >>> chunk = Chunk()
    >>> chunk.add(np.zeros((2, 3))), chunk.add(np.ones(2)), chunk.add(np.zeros(6)), chunk.size
    (0, 24, 0, 32)
    """

    def __init__(self, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        self._level = level
        self._parts: list[bytes] = []
        self._offsets: dict[bytes, int] = {}
        self._deflated: bytes | None = None
        self.size = 0

    def add(self, array: Array) -> int:
        """Add an array; return its offset in bytes."""
        data = as_bytes(array)
        if data not in self._offsets:
            self._deflated = None
            self._offsets[data] = self.size
            self._parts.append(data)
            self.size += len(data)
        return self._offsets[data]

    def deflated(self) -> bytes:
        """Return the bytes, deflated."""
        if self._deflated is None:
            self._deflated = deflate(b"".join(self._parts), self._level)
        return self._deflated


def as_bytes(array: Array) -> bytes:
    """Return float32, little endian, or uint8 as it is, in the order of the axes."""
    kind = "u1" if array.dtype == np.uint8 else "<f4"
    return np.ascontiguousarray(array, kind).tobytes()


def deflate(data: bytes, level: int = zlib.Z_DEFAULT_COMPRESSION) -> bytes:
    """Return the bytes deflated without a header, as the browser's DecompressionStream("deflate-raw") reads them."""
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()
