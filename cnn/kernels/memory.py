"""A cache of memory for large arrays.

The operating system provides new memory page by page, at the first access to each page, which takes longer than most
kernels need to fill it. In training the same sizes recur in every step, so the memory of a large array that is no
longer referenced is reused for the next one of about its size. The cached memory plus the memory in use never exceeds
the most that was in use at one time; `empty_cache` frees it.

Arrays start at multiples of 64 bytes: reading a vector that crosses a cache line takes two reads, and kernels would
take up to 1.5 times as long.

Ctrl-C may come between any two instructions, and other threads may run there. So there is no lock, which could stay
locked, and no count, which could become wrong. Memory is in one place at a time: each step takes it out of one
collection or puts it into another, in a single instruction. What an interrupt leaves in neither is freed as any object
is, and the numbers of bytes are added up where they are needed, before new memory is allocated.
"""

import bisect
import collections
import contextlib
import contextvars
import ctypes
import functools
import math
import operator
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
_lent: dict[int, "Lease"] = {}  # the memory of arrays in use, by id
_returned: collections.deque["Lease"] = collections.deque()  # of deleted arrays, not yet in _free
_peak_bytes = 0  # the most that was in use at one time
_scratch: list[Array] = []  # idle scratch buffers, the smallest first
_scratch_made: list[weakref.ref[Array]] = []  # all scratch buffers that exist
_scratch_peak = 0  # numbers in the scratch buffers that were in use at one time, at most
idle_scratch: list[Array] = []  # scratch buffers of the thread pool, which takes the last one


# The recording of kernel calls that this thread makes, if any (kernels/jit/engine/recording.py). It hands out memory of
# its own. A context variable, because a value that is set in a copy of the context ends with the call, also by Ctrl-C.
recording: contextvars.ContextVar[Any] = contextvars.ContextVar("recording", default=None)

_size = operator.attrgetter("size")


class Lease(weakref.ref[Any]):
    """A weak reference to an object that an array needs as long as it exists, and the memory of the array."""

    __slots__ = ("block", "size")

    block: Array
    size: int  # in bytes


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
    if not HEAD:
        return [address(array) for array in arrays]
    return [read(id(array) + HEAD).value for array in arrays]  # without calls of address, which take time


@functools.cache
def _char_array(size: int) -> Any:
    return ctypes.c_char * size


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an uninitialised array, like np.empty."""
    dtype = np.dtype(dtype)
    recorder = recording.get()
    if recorder is not None:
        return recorder.empty(shape, dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < MIN_ALIGNED:
        return np.empty(shape, dtype)
    if nbytes < MIN_REUSED:
        block = np.empty(nbytes + CACHE_LINE, np.uint8)
        return np.ndarray(shape, dtype, block, -address(block) % CACHE_LINE)
    unit = 1 << (nbytes.bit_length() - 1 - SIZE_BITS)
    size = -(-nbytes // unit) * unit
    if _returned:
        _collect_returned()
    try:
        block = _free[size].pop()
    except (KeyError, IndexError):
        block = _new_block(size)
    # NumPy keeps this object alive as long as any view of the array; when it is deleted, the memory is free again.
    # The lease is queued by a function in C: in one in Python, Ctrl-C would be lost, since nobody can catch it there.
    owner = _char_array(size).from_buffer(block, -address(block) % CACHE_LINE)
    lease = Lease(owner, _returned.append)
    lease.block, lease.size = block, size
    _lent[id(lease)] = lease
    return np.ndarray(shape, dtype, owner)


def _new_block(size: int) -> Array:
    """Return new memory, after freeing as much of the cache as the bound on both together demands."""
    global _peak_bytes
    _collect_all()
    with contextlib.suppress(KeyError, IndexError):  # the usual case: none of this size
        return _free[size].pop()
    used = used_bytes() + size
    _peak_bytes = peak = max(_peak_bytes, used)
    while cached_bytes() > peak - used:
        largest = max((each for each, blocks in list(_free.items()) if blocks), default=0)  # fragments memory least
        with contextlib.suppress(KeyError, IndexError):  # another thread has taken it
            _free[largest].pop()
    return np.empty(size + CACHE_LINE, np.uint8)


def used_bytes() -> int:
    """Return the number of bytes in arrays in use."""
    return sum(map(_size, list(_lent.values())))


def cached_bytes() -> int:
    """Return the number of bytes in the cache."""
    return sum(size * len(blocks) for size, blocks in list(_free.items()))


def borrow_scratch(count: int) -> Array:
    """Return a scratch buffer of at least ``count`` float32 numbers; pass it to `return_scratch` after use.

    After an error it need not be returned: then it is freed.
    """
    recorder = recording.get()
    if recorder is not None:
        recorder.fail()  # the next caller would write into it
    for i, idle in enumerate(_scratch):
        if idle.size >= count:
            try:
                buffer = _scratch.pop(i)
            except IndexError:  # another thread has taken it
                break
            if buffer.size >= count:
                return buffer
            return_scratch(buffer)  # another thread has taken one before it
            break
    return _new_buffer(count)


def _new_buffer(count: int) -> Array:
    """Return a new scratch buffer; only here does the total of used and idle ones grow."""
    global _scratch_peak
    buffer = new_scratch(count)
    _scratch_made[:] = [made for made in _scratch_made if made() is not None]
    _scratch_made.append(weakref.ref(buffer))
    alive = [made() for made in _scratch_made]
    used = sum(made.size for made in alive if made is not None) - _idle_numbers()
    _scratch_peak = peak = max(_scratch_peak, used)
    while _idle_numbers() > peak - used:
        with contextlib.suppress(IndexError):  # another thread has taken it
            _scratch.pop(0)  # the smallest: a larger one can be used instead
    return buffer


def _idle_numbers() -> int:
    return sum(map(_size, _scratch))


def new_scratch(count: int) -> Array:
    """Return a new buffer of ``count`` float32 numbers."""
    block = np.empty(4 * count + CACHE_LINE, np.uint8)
    start = -address(block) % CACHE_LINE
    return block[start : start + 4 * count].view(np.float32)


def return_scratch(buffer: Array) -> None:
    """Make a scratch buffer available again."""
    bisect.insort(_scratch, buffer, key=_size)


def empty_like(x: Array, dtype: Any = None) -> Array:
    """Return an uninitialised array with the shape and memory layout of x, like np.empty_like.

    Examples
    --------
    >>> x = np.zeros((2, 3), np.float32)
    >>> empty_like(x).shape, empty_like(x, bool).dtype
    ((2, 3), dtype('bool'))
    """
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
    """Free the memory that is cached for later arrays.

    Examples
    --------
    >>> empty_cache()
    >>> cached_bytes()
    0
    """
    global _peak_bytes, _scratch_peak
    _scratch.clear()
    idle_scratch.clear()
    _scratch_peak = 0
    _collect_all()
    _free.clear()
    _peak_bytes = used_bytes()


def _collect_returned() -> None:
    """Move the memory of deleted arrays to the cache."""
    with contextlib.suppress(IndexError):  # another thread was faster
        while _returned:
            _collect(_returned.popleft())


def _collect_all() -> None:
    """The same, also where an interrupt has lost the entry in the queue."""
    _collect_returned()
    for lease in list(_lent.values()):
        if lease() is None:
            _collect(lease)


def _collect(lease: Lease) -> None:
    if _lent.pop(id(lease), None) is not None:  # else another thread was faster
        _free.setdefault(lease.size, []).append(lease.block)
