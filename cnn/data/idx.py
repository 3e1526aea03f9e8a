"""IDX, the file format of MNIST and of data sets modelled on it."""

import math

import numpy as np
from numpy.typing import NDArray

from cnn.data.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(payload: bytes, name: str) -> NDArray:
    """Read one array from the bytes of an IDX file.

    The bytes are 0, 0, the code of the element type, the number of dimensions; then one big-endian uint32 per
    dimension; then the elements, big-endian, in row-major order (the last index changes fastest).

    Parameters
    ----------
    payload : bytes
        The whole file, decompressed.
    name : str
        The name of the file in error messages: its path or URL.

    Returns
    -------
    ndarray
        A new, writable array in native byte order.

    Raises
    ------
    DataError
        If the first bytes are not those of an IDX file, the sizes do not match the length of the file, or NumPy has no
        such array, as with more than 64 dimensions.

    Notes
    -----
    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats",
    http://yann.lecun.com/exdb/mnist/

    Examples
    --------
    >>> from cnn.data import read_idx
    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]), "labels")
    array([5, 6, 7], dtype=uint8)
    """
    if len(payload) < 4 or payload[:2] != b"\0\0":
        raise DataError(
            f"{name} is not an IDX file: its first bytes are {payload[:4].hex(' ') or 'missing'}, expected 00 00"
        )
    code, ndim = payload[2], payload[3]
    if code not in _TYPES:
        known = ", ".join(f"{number:02x}" for number in _TYPES)
        raise DataError(
            f"{name} is not an IDX file: its third byte, the element type, is {code:02x}, expected one of {known}"
        )
    start = 4 + 4 * ndim
    if len(payload) < start:
        raise DataError(f"{name} is cut short: its header of {ndim} sizes takes {start} bytes, got {len(payload)}")
    shape = tuple(int(size) for size in np.frombuffer(payload, ">u4", ndim, offset=4))
    dtype = np.dtype(_TYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(payload) != expected:
        problem = "is cut short" if len(payload) < expected else "is too long"
        raise DataError(f"{name} {problem}: with an array of shape {shape} it has {expected} bytes, got {len(payload)}")
    try:
        array = np.frombuffer(payload, dtype, offset=start).reshape(shape)
    except ValueError as error:
        raise DataError(f"{name} has a header of {ndim} sizes that no NumPy array has: {error}") from None
    return array.astype(dtype.newbyteorder("="))  # a copy, as frombuffer returns a read-only view of the bytes
