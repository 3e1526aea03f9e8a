"""Large arrays in memory that was used before.

The system gives fresh memory page by page, at the first touch of each, which takes longer than most kernels need to
fill it. In training the same sizes come again in each step, so the memory of a large array that nobody holds any more
serves for the next one of about its size. What is kept, together with what is in use, is never more than what was in
use at once; `empty_cache` gives it back.

Arrays start at multiples of 64 bytes: a vector that crosses from one line of the cache to the next takes two reads, and
kernels take up to half as long again.
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

LINE = 64  # bytes of a line of the cache
SMALL = 4096  # bytes: where an array starts does not matter below
LARGE = 512 * 1024  # bytes: smaller ones the system finds as fast in what it has
STEP = 4  # sizes are rounded up to a multiple of 2 ** (their number of bits - 1 - STEP): at most a sixteenth is lost

_free: dict[int, list[Array]] = {}
_scratch: list[Array] = []  # the smallest first
_scratch_lent = _scratch_most = 0  # numbers in scratch buffers that are lent, and the most that were at once
idle_scratch: list[Array] = []  # of the thread pool, which takes the last one
_returned: collections.deque[tuple[Array, int]] = collections.deque()  # memory of arrays that died since
_lock = threading.RLock()
_idle = 0  # bytes in _free
_lent = 0  # bytes in arrays that are alive
_most = 0  # bytes that were in such arrays at once


HEAD = object.__basicsize__  # an array object starts as every object does; next comes the address of its numbers
read = ctypes.c_ssize_t.from_address


def _interface_address(array: Array) -> int:
    return array.__array_interface__["data"][0]


def _object_address(array: Array) -> int:
    return read(id(array) + HEAD).value


_probe = np.zeros(3)
# NumPy's own way takes 2 us, and a training step of a small net asks a hundred times
if _object_address(_probe[1:]) != _interface_address(_probe[1:]):
    HEAD = 0  # another Python: the address is not there
address = _object_address if HEAD else _interface_address


def addresses(arrays: Sequence[Array]) -> list[int]:
    """Return where the numbers of several arrays are."""
    found = []
    for array in arrays:
        found.append(read(id(array) + HEAD).value if HEAD else address(array))  # one call for all
    return found


@functools.cache
def _kind(size: int) -> Any:
    return ctypes.c_char * size


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an array as np.empty does."""
    global _idle, _lent, _most
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    needed = count * dtype.itemsize
    if needed < SMALL:
        return np.empty(shape, dtype)
    if needed < LARGE:
        store = np.empty(needed + LINE, np.uint8)
        start = -address(store) % LINE
        return store[start : start + needed].view(dtype).reshape(shape)
    unit = 1 << (needed.bit_length() - 1 - STEP)
    size = -(-needed // unit) * unit
    with _lock:
        _sort_in()
        kept = _free[size].pop() if size in _free else None
        if kept is not None:
            _idle -= size
            if not _free[size]:
                del _free[size]
        store = np.empty(size + LINE, np.uint8) if kept is None else kept
        _lent += size
        _most = max(_most, _lent)
        _shrink(_most - _lent)
    # NumPy keeps this object alive as long as any view of the array is; when it dies, the memory is free
    owner = _kind(size).from_buffer(store, -address(store) % LINE)
    weakref.finalize(owner, _take_back, store, size).atexit = False
    return np.frombuffer(owner, dtype, count).reshape(shape)


def borrow_scratch(count: int) -> Array:
    """Return a scratch buffer for at least ``count`` float32 numbers; hand it to `return_scratch` afterwards."""
    global _scratch_lent, _scratch_most
    with _lock:
        for i, buffer in enumerate(_scratch):
            if buffer.size >= count:
                _scratch.pop(i)
                _scratch_lent += buffer.size
                return buffer
        buffer = new_scratch(count)  # only this makes what is lent and idle together more
        _scratch_lent += buffer.size
        _scratch_most = max(_scratch_most, _scratch_lent)
        while _scratch and sum(idle.size for idle in _scratch) > _scratch_most - _scratch_lent:
            _scratch.pop(0)  # the larger ones can serve in its place
    return buffer


def new_scratch(count: int) -> Array:
    """Return a new buffer for ``count`` float32 numbers."""
    store = np.empty(4 * count + LINE, np.uint8)
    start = -address(store) % LINE
    return store[start : start + 4 * count].view(np.float32)


def return_scratch(buffer: Array) -> None:
    """Let a scratch buffer be used again."""
    global _scratch_lent
    with _lock:
        _scratch_lent -= buffer.size
        bisect.insort(_scratch, buffer, key=_size)


_size = operator.attrgetter("size")


def empty_like(x: Array, dtype: Any = None) -> Array:
    """Return an array as np.empty_like does, of the dtype of x by default."""
    dtype = x.dtype if dtype is None else dtype
    if x.flags.c_contiguous:
        return empty(x.shape, dtype)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:  # channels last
        n, c, h, w = x.shape
        return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    made = empty(tuple(x.shape[axis] for axis in order), dtype)
    return made.transpose(np.argsort(order))


def empty_cache() -> None:
    """Give the memory that is kept for later arrays back to the system."""
    global _most, _scratch_most
    with _lock:
        _scratch.clear()
        idle_scratch.clear()
        _scratch_most = _scratch_lent
        _sort_in()
        _shrink(0)
        _most = _lent


def _take_back(store: Array, size: int) -> None:
    """Take the memory of an array that dies: at any moment, also while this thread or another holds the lock."""
    _returned.append((store, size))


def _sort_in() -> None:
    global _idle, _lent
    while _returned:
        store, size = _returned.popleft()
        _lent -= size
        _free.setdefault(size, []).append(store)
        _idle += size


def _shrink(most: int) -> None:
    """Let memory go until at most so many bytes are kept, the largest pieces first: that leaves the fewest holes."""
    global _idle
    while _idle > most:
        size = max(_free)
        _free[size].pop()
        _idle -= size
        if not _free[size]:
            del _free[size]


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
