"""Ctrl-C that waits for the end of a training step, so that no weight is half updated; other ways to stop likewise."""

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
        The exit status by which a shell knows of it: 128 and the signal's number, 130 for Ctrl-C.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


class Interrupts:
    """Within the `with` block, the signals that ask to stop raise `Interrupted`; within `waiting` they do so later.

    Elsewhere than in the main thread nothing changes, nor for a signal that is ignored (as SIGHUP after nohup) or that
    the program around this one handles.
    """

    def __enter__(self) -> "Interrupts":
        self._asked: int | None = None
        self._waiting = False
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before in (signal.default_int_handler, signal.SIG_DFL):
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, _: FrameType | None) -> None:
        first, self._asked = self._asked is None, self._asked or number
        # A closed terminal may say so twice; only a second Ctrl-C means that a person wants no more waiting
        if (first and not self._waiting) or (not first and number == signal.SIGINT):
            raise Interrupted(number)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Only note a signal, for the duration of a `with` block; `check` or the end raises `Interrupted`.

        A second Ctrl-C acts at once.
        """
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self._asked is not None:
            raise Interrupted(self._asked)
