"""Ctrl-C, and other signals to stop, wait for the end of a training step, so that no weight is half updated."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Ctrl-C, `kill`, and a terminal that is closed; Windows has no SIGHUP
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal asks the program to stop.

    Attributes
    ----------
    status : int
        The exit status that shells expect: 128 plus the signal's number, so 130 for Ctrl-C.
    is_agreed : bool
        Whether all processes that train together raise it after the same step.
    """

    def __init__(self, number: int, is_agreed: bool = False) -> None:
        super().__init__()
        self.status, self.is_agreed = 128 + number, is_agreed


class Interrupts:
    """Within the `with` block, signals to stop raise `Interrupted`; within `delayed` they raise it later.

    Nothing changes outside the main thread, for a signal that is ignored (as SIGHUP after nohup), or for a signal that
    the surrounding program handles. Inside the block of another one, signals stay with that one, which also decides
    whether they are delayed.
    """

    def __enter__(self) -> "Interrupts":
        self._received: int | None = None
        self._is_delayed = False
        self._previous: dict[int, Any] = {}
        self._outer: Interrupts | None = None
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous in (signal.default_int_handler, signal.SIG_DFL):
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
                elif isinstance(outer := getattr(previous, "__self__", None), Interrupts):
                    self._outer = outer
        return self

    @property
    def received(self) -> int | None:
        """The number of the first signal that came."""
        return self._received or (None if self._outer is None else self._outer.received)

    def __exit__(self, *error: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _handle(self, number: int, _: FrameType | None) -> None:
        first, self._received = self._received is None, self._received or number
        # A closed terminal may send its signal twice; only a second Ctrl-C means that the user does not want to wait
        if (first and not self._is_delayed) or (not first and number == signal.SIGINT):
            raise Interrupted(number)

    @contextlib.contextmanager
    def delayed(self) -> Iterator[None]:
        """Only remember a signal for the duration of a `with` block; `check` or the end raises `Interrupted`.

        A second Ctrl-C raises it at once.
        """
        self._is_delayed = True
        try:
            yield
        finally:
            self._is_delayed = False
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal was received."""
        if self.received is not None:
            raise Interrupted(self.received)
