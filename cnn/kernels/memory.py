"""A cache of memory for large arrays.

The operating system provides new memory page by page, at the first access to each page, which takes longer than most
kernels need to fill it. In training the same sizes recur in every step, so the memory of a large array that is no
longer referenced is reused for the next one of about its size. The cached memory plus the memory in use never exceeds
the most that was in use at one time; `empty_cache` frees it.

Arrays start at multiples of 64 bytes: reading a vector that crosses a cache line takes two reads, and kernels would
take up to 1.5 times as long.
"""

import bisect
import collections
import ctypes
import functools
import math
import operator
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CACHE_LINE = 64  # bytes
MIN_ALIGNED = 4096  # bytes: the alignment of smaller arrays does not matter
MIN_REUSED = 512 * 1024  # bytes: NumPy allocates smaller arrays as fast without this cache
# sizes are rounded up to a multiple of 2 ** (their number of bits - 1 - SIZE_BITS), which wastes at most a sixteenth
SIZE_BITS = 4

_free: dict[int, list[Array]] = {}  # cached memory blocks, by their size in bytes
_scratch: list[Array] = []  # idle scratch buffers, the smallest first
_scratch_used = _scratch_peak = 0  # numbers in the scratch buffers in use, and the most so far
idle_scratch: list[Array] = []  # scratch buffers of the thread pool, which takes the last one
_returned: collections.deque[tuple[Array, int]] = collections.deque()  # blocks of deleted arrays, not yet in _free
_lock = threading.RLock()
_free_bytes = 0  # bytes in _free
_used_bytes = 0  # bytes in arrays in use
_peak_bytes = 0  # the largest _used_bytes so far


# NumPy's array object starts with the header of every Python object; the address of its data comes next
HEAD = object.__basicsize__
read = ctypes.c_ssize_t.from_address


def _interface_address(array: Array) -> int:
    return array.__array_interface__["data"][0]


def _object_address(array: Array) -> int:
    return read(id(array) + HEAD).value


_probe = np.zeros(3)
# NumPy's public interface takes 2 us, and a training step of a small net needs a hundred addresses
if _object_address(_probe[1:]) != _interface_address(_probe[1:]):
    HEAD = 0  # another Python implementation: the address is somewhere else
address = _object_address if HEAD else _interface_address


def addresses(arrays: Sequence[Array]) -> list[int]:
    """Return the addresses of the data of several arrays."""
    result = []
    for array in arrays:
        result.append(
            read(id(array) + HEAD).value if HEAD else address(array)
        )  # inlined: faster than a call of address
    return result


@functools.cache
def _char_array(size: int) -> Any:
    return ctypes.c_char * size


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an uninitialised array, like np.empty."""
    global _free_bytes, _used_bytes, _peak_bytes
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    nbytes = count * dtype.itemsize
    if nbytes < MIN_ALIGNED:
        return np.empty(shape, dtype)
    if nbytes < MIN_REUSED:
        block = np.empty(nbytes + CACHE_LINE, np.uint8)
        start = -address(block) % CACHE_LINE
        return block[start : start + nbytes].view(dtype).reshape(shape)
    unit = 1 << (nbytes.bit_length() - 1 - SIZE_BITS)
    size = -(-nbytes // unit) * unit
    with _lock:
        _collect_returned()
        cached = _free[size].pop() if size in _free else None
        if cached is not None:
            _free_bytes -= size
            if not _free[size]:
                del _free[size]
        block = np.empty(size + CACHE_LINE, np.uint8) if cached is None else cached
        _used_bytes += size
        _peak_bytes = max(_peak_bytes, _used_bytes)
        _trim(_peak_bytes - _used_bytes)
    # NumPy keeps this object alive as long as any view of the array; when it is deleted, the memory is free again
    owner = _char_array(size).from_buffer(block, -address(block) % CACHE_LINE)
    weakref.finalize(owner, _return_block, block, size).atexit = False
    return np.frombuffer(owner, dtype, count).reshape(shape)


def borrow_scratch(count: int) -> Array:
    """Return a scratch buffer of at least ``count`` float32 numbers; pass it to `return_scratch` after use."""
    global _scratch_used, _scratch_peak
    with _lock:
        for i, buffer in enumerate(_scratch):
            if buffer.size >= count:
                _scratch.pop(i)
                _scratch_used += buffer.size
                return buffer
        buffer = new_scratch(count)  # only here does the total of used and idle buffers grow
        _scratch_used += buffer.size
        _scratch_peak = max(_scratch_peak, _scratch_used)
        while _scratch and sum(idle.size for idle in _scratch) > _scratch_peak - _scratch_used:
            _scratch.pop(0)  # the smallest: a larger one can be used instead
    return buffer


def new_scratch(count: int) -> Array:
    """Return a new buffer of ``count`` float32 numbers."""
    block = np.empty(4 * count + CACHE_LINE, np.uint8)
    start = -address(block) % CACHE_LINE
    return block[start : start + 4 * count].view(np.float32)


def return_scratch(buffer: Array) -> None:
    """Make a scratch buffer available again."""
    global _scratch_used
    with _lock:
        _scratch_used -= buffer.size
        bisect.insort(_scratch, buffer, key=_buffer_size)


_buffer_size = operator.attrgetter("size")


def empty_like(x: Array, dtype: Any = None) -> Array:
    """Return an uninitialised array with the shape and memory layout of x, like np.empty_like."""
    dtype = x.dtype if dtype is None else dtype
    if x.flags.c_contiguous:
        return empty(x.shape, dtype)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:  # channels last
        n, c, h, w = x.shape
        return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    array = empty(tuple(x.shape[axis] for axis in order), dtype)
    return array.transpose(np.argsort(order))


def empty_cache() -> None:
    """Free the memory that is cached for later arrays."""
    global _peak_bytes, _scratch_peak
    with _lock:
        _scratch.clear()
        idle_scratch.clear()
        _scratch_peak = _scratch_used
        _collect_returned()
        _trim(0)
        _peak_bytes = _used_bytes


def _return_block(block: Array, size: int) -> None:
    """Queue the memory of a deleted array; this may run at any time, also while a thread holds the lock."""
    _returned.append((block, size))


def _collect_returned() -> None:
    """Move the queued blocks of deleted arrays to the free ones."""
    global _free_bytes, _used_bytes
    while _returned:
        block, size = _returned.popleft()
        _used_bytes -= size
        _free.setdefault(size, []).append(block)
        _free_bytes += size


def _trim(limit: int) -> None:
    """Free cached blocks until at most ``limit`` bytes are cached; the largest first, which fragments memory least."""
    global _free_bytes
    while _free_bytes > limit:
        size = max(_free)
        _free[size].pop()
        _free_bytes -= size
        if not _free[size]:
            del _free[size]


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
