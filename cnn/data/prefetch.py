"""Prefetcher: a thread that prepares batches in advance."""

import os
import threading
import weakref
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

THREAD_NAME = "cnn batches"
POLL_SECONDS = 0.1  # on Windows, Ctrl+C has no effect while a thread waits for a queue


class Prefetcher(Generic[T]):
    """The results of ``make(number)`` for consecutive numbers, prepared in advance by a separate thread.

    The thread starts with the first `take`, and never prepares more than ``depth`` results that have not been taken.
    The caller must call `close` in the end, or the thread waits forever; see also `owner`.

    Parameters
    ----------
    make : callable of int
        It runs only in the thread, or, with depth 0, only in `take`.
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
        self._owner: weakref.ref[Any] | None = None
        # This kind of queue is reentrant: garbage collection may call `close` in the middle of a put.
        self._requests: SimpleQueue[Any] = SimpleQueue()  # True: one result more; anything else: the end
        self._results: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

    def take(self) -> T:
        """Return the result for the next number, or raise the exception that ``make`` raised for it."""
        number = self._numbers[self._taken]
        synchronous = (
            self._depth == 0 or os.getpid() != self._process
        )  # a fork has the memory of its parent, not its threads
        result = self._make(number) if synchronous else self._receive()
        self._taken += 1
        return result

    def _receive(self) -> T:
        if self._thread is None:
            for _ in range(self._depth):
                self._requests.put(True)
            # In a copy of the context, NumPy's errstate is that of the consumer, the same as without a thread.
            work = copy_context().run
            self._thread = threading.Thread(target=work, args=(self._work,), name=THREAD_NAME, daemon=True)
            self._thread.start()
        while True:
            try:
                result, error = self._results.get(timeout=POLL_SECONDS)
                break
            except Empty:
                continue
        if error is not None:
            try:
                raise error
            finally:
                del (
                    error
                )  # otherwise it and this frame would refer to each other, and keep everything they refer to alive
        self._requests.put(True)
        return result  # type: ignore[return-value]  # there was no error

    def _work(self) -> None:
        for number in self._numbers:
            if self._requests.get() is not True or self._closed:
                return
            try:
                self._results.put((self._make(number), None))
            except BaseException as error:
                self._results.put((None, error))
                return

    def close(self) -> None:
        """End the thread; it stops after the result that it is working on."""
        self._closed = True
        if os.getpid() == self._process:
            self._requests.put(False)

    def owner(self) -> object:
        """Return an object with whose deletion the thread ends too: Ctrl-C may come just before a call of `close`."""
        owner = _Owner()
        self._owner = weakref.ref(owner, self._requests.put)
        return owner

    def join(self) -> None:
        """Wait until the thread has ended; call `close` first."""
        if self._thread is not None and self._thread.is_alive():  # Ctrl-C may have come before its start
            self._thread.join()


class _Owner:
    """Held by the loop over the results alone, so that it is deleted with the loop."""
