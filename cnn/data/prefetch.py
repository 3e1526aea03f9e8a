"""How a loader comes by its batches: reading samples, and a thread that is some batches ahead."""

import hashlib
import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np

from cnn.core.parameter import plain_array
from cnn.errors import InputError, ShapeError
from cnn.module import Array

T = TypeVar("T")

THREAD_NAME = "cnn batches"
MOST_BYTES = 256 * 2**20  # of an array that go into a fingerprint
MOST_SAMPLES = 200  # of what gives samples one by one, where each may be a file to decode
AT_ONCE = 4 * 2**20  # bytes
PATIENCE = 0.1  # seconds; on Windows, Ctrl+C is not heard while a thread waits for a queue


class Prefetcher(Generic[T]):
    """``make(number)`` for one number after the other, made ahead by a thread of its own.

    The thread starts with the first `take`, and never makes more than ``depth`` things that nobody has taken. Whoever
    takes must `close` in the end, or the thread waits for ever.

    Parameters
    ----------
    make : callable of int
        It runs in the thread only, or, with depth 0, in `take` only.
    numbers : range
    depth : int
        0: no thread.

    Examples
    --------
    >>> squares = Prefetcher(lambda number: number**2, range(3, 5), depth=2)
    >>> squares.take(), squares.take()
    (9, 16)
    >>> squares.close()
    """

    def __init__(self, make: Callable[[int], T], numbers: range, depth: int) -> None:
        self._make = make
        self._numbers = numbers
        self._depth = depth
        self._taken = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        # This kind of queue may be put to at any moment, also when garbage collection closes in mid-put.
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._made: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def take(self) -> T:
        """Return what was made of the next number, or raise what went wrong there, as it was raised."""
        number = self._numbers[self._taken]
        alone = self._depth == 0 or os.getpid() != self._process  # a fork has the memory of its parent, not its threads
        made = self._make(number) if alone else self._receive()
        self._taken += 1
        return made

    def _receive(self) -> T:
        if self._thread is None:
            for _ in range(self._depth):
                self._orders.put(True)
            # In this context NumPy's errstate is that of the consumer, as it is without a thread.
            work = copy_context().run
            self._thread = threading.Thread(target=work, args=(self._work,), name=THREAD_NAME, daemon=True)
            self._thread.start()
        while True:
            try:
                made, error = self._made.get(timeout=PATIENCE)
                break
            except Empty:
                continue
        if error is not None:
            try:
                raise error
            finally:
                del error  # else it and this frame would keep each other, and all that hangs on them
        self._orders.put(True)
        return made  # type: ignore[return-value]  # there was no error

    def _work(self) -> None:
        for number in self._numbers:
            if not self._orders.get() or self._closed:
                return
            try:
                self._made.put((self._make(number), None))
            except BaseException as error:
                self._made.put((None, error))
                return

    def close(self) -> None:
        """End the thread; it is gone once it has made what it is at."""
        self._closed = True
        if os.getpid() == self._process:
            self._orders.put(False)

    def join(self) -> None:
        """Wait until the thread is gone; `close` first."""
        if self._thread is not None:
            self._thread.join()


def opened(data: Any, name: str) -> Any:
    """Return ``data`` as an array, a memory-mapped one if it is a path, or as it is if it gives samples one by one.

    Raises
    ------
    InputError
        If it is neither, is empty, or holds Python objects.
    FileNotFoundError
        If there is no file of that path.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, whose hidden values would be used: pass {name}.filled(...)")
    if hasattr(data, "detach") or hasattr(
        data, "iloc"
    ):  # pandas' y[i] is what bears the label i, which may be anywhere
        data = plain_array(data)
    if isinstance(data, (str, os.PathLike)):
        data = _mapped(data, name)
    elif isinstance(data, (list, tuple)) and len(data) > 0 and getattr(data[0], "ndim", 0) == 0:
        try:
            data = np.asarray(data)
        except ValueError:
            raise ShapeError(f"{name} holds samples of different shapes: all need one, (N, ...)") from None
    elif isinstance(data, np.ndarray):
        data = data if isinstance(data, np.memmap) else np.asarray(data)
    elif isinstance(data, (dict, set)) or not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise InputError(
            f"{name} must be an array, the path of a .npy file, or an object with len({name}) and {name}[i], got "
            f"{type(data).__name__}"
        )
    if isinstance(data, np.ndarray):
        if data.dtype.hasobject:
            raise InputError(f"{name} holds Python objects: make it an array of numbers, all samples of one shape")
        if data.ndim == 0:
            raise ShapeError(f"{name} must have an axis of samples, (N, ...), got a single number")
    if len(data) == 0:
        raise ShapeError(f"{name} is empty: there is nothing to make batches of")
    return data


def _mapped(path: str | os.PathLike[str], name: str) -> Array:
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no file {os.fspath(path)}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{name}: {os.fspath(path)} is no .npy file of numbers, or a damaged one ({error})") from None
    if not isinstance(data, np.ndarray):
        data.close()
        raise InputError(f"{name}: {os.fspath(path)} holds several arrays: save one of them with np.save")
    return data


def take(data: Any, positions: Array, name: str) -> Array:
    """Return the samples at these positions as one new array (len(positions), ...).

    Raises
    ------
    InputError
        If they differ in shape or dtype.
    """
    if isinstance(data, np.memmap):
        forward = np.argsort(positions)  # disks are slow to go back and forth
        found = np.empty((len(positions), *data.shape[1:]), data.dtype)
        found[forward] = data[positions[forward]]
        return found
    if isinstance(data, np.ndarray):
        return data[positions]
    first = sample(data, int(positions[0]), name)
    found = np.empty((len(positions), *first.shape), first.dtype)
    found[0] = first
    for place, position in enumerate(positions[1:].tolist(), start=1):
        one = sample(data, position, name)
        if one.shape != first.shape or one.dtype != first.dtype:
            raise ShapeError(
                f"all samples need one shape and dtype, but {name}[{positions[0]}] is {first.dtype} of shape "
                f"{first.shape} and {name}[{position}] is {one.dtype} of shape {one.shape}"
            )
        found[place] = one
    return found


def sample(data: Any, position: int, name: str) -> Array:
    """Return one sample; an error on the way is noted to be from there."""
    try:
        found = plain_array(data[position])
    except Exception as error:
        error.add_note(f"(when {name}[{position}] was read)")
        raise
    if found.dtype.hasobject:
        raise InputError(f"{name}[{position}] must be an array of numbers, got {type(data[position]).__name__}")
    return found


def digest(data: Any, name: str) -> tuple[str, int]:
    """Return the BLAKE2b digest of evenly spaced samples, and of how many: of all, if they are not too much."""
    count, at_once = min(len(data), MOST_SAMPLES), 1
    if isinstance(data, np.ndarray):
        size = max(1, data.nbytes // len(data))
        count, at_once = min(len(data), max(1, MOST_BYTES // size)), max(1, AT_ONCE // size)
    positions = np.arange(count) * (len(data) - 1) // max(1, count - 1)
    hashed = hashlib.blake2b(digest_size=16)
    for start in range(0, count, at_once):
        part = take(data, positions[start : start + at_once], name)
        hashed.update(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
    return hashed.hexdigest(), count
