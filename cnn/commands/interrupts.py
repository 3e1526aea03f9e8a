"""Ctrl-C that waits for the end of a training step, so that no weight is half updated."""

import signal
import threading
from typing import Any


class Interrupts:
    """Within the `with` block, Ctrl-C is only noted; `check` then raises KeyboardInterrupt. A second one acts at once.

    Elsewhere than in the main thread, or where Ctrl-C is ignored (as after nohup), nothing changes.
    """

    def __enter__(self) -> "Interrupts":
        self._asked = False
        self._ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self._asked:
            raise KeyboardInterrupt
