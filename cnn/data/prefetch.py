"""Prefetcher: a thread that prepares batches in advance."""

import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

THREAD_NAME = "cnn batches"
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
