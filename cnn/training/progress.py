"""Progress display: one line that is updated in a terminal or a notebook, and occasional plain lines elsewhere.

In a terminal it uses only carriage returns and spaces: no escape codes, which an old console would print, and no
thread.
"""

import importlib
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from cnn.training.throughput import Throughput, progress_line

if TYPE_CHECKING:  # the loop imports this file
    from cnn.training.step import Step

# Seconds between updates: a notebook is slow to draw, and a file keeps every line
TERMINAL_INTERVAL, NOTEBOOK_INTERVAL, FILE_INTERVAL = 1 / 8, 1 / 4, 10.0


def fit_progress(verbose: bool) -> "Progress":
    """Return the display that suits stdout or the notebook; a silent one unless ``verbose``.

    Returns
    -------
    Progress
        A context manager with ``show(step, samples)``, to be called after every step, and ``line(text)``.

    Examples
    --------
    >>> with fit_progress(verbose=True) as display:
    ...     display.line("epoch 1/1  train loss 0.5000")
    epoch 1/1  train loss 0.5000
    """
    if not verbose:
        return Progress()
    if _is_notebook(sys.stdout) and not os.environ.get("NO_PROGRESS"):
        return NotebookLine(sys.stdout)
    return stream_progress(sys.stdout)


def stream_progress(stream: TextIO | None) -> "Progress":
    """Return the display that suits the stream: a live line in a terminal, plain lines elsewhere or on request.

    The environment variables NO_PROGRESS and CI (if not empty) and TERM=dumb request plain lines.
    """
    if stream is None:  # Python without a console, such as pythonw on Windows
        return Progress()
    plain = os.environ.get("NO_PROGRESS") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return LiveLine(stream) if is_terminal(stream) and not plain else PlainLines(stream)


class Progress:
    """A silent display, and the base class of the others.

    None of them fails if the stream is closed or its encoding lacks a character.
    """

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live line."""

    def show(self, step: "Step", samples: int = 0) -> None:
        """Update the display if it is due; to be called after every step.

        Parameters
        ----------
        step : Step
            The step that has just ended.
        samples : int
            Size of its batch. 0 means unknown; then no speed is shown.
        """

    def line(self, text: str) -> None:
        """Write a line that stays, such as the line about an epoch."""

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the live line during a `with` block, so that other lines can be printed to the same terminal."""
        yield


class _VisibleProgress(Progress):
    """The base of the three visible displays: a stream, the throughput, and the interval between updates."""

    interval: float

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._throughput = Throughput()
        self._last_shown = -math.inf
        self._step: Step | None = None

    def show(self, step: "Step", samples: int = 0) -> None:
        now = time.monotonic()
        self._step = step
        self._throughput.add(step, samples, now)
        if 0 <= now - self._last_shown < self.interval:  # below 0: the clock was set back
            return
        self._last_shown = now
        self._draw(step)

    def _draw(self, step: "Step") -> None:
        raise NotImplementedError

    def _text(self, step: "Step", width: int = 100) -> str:
        return progress_line(step, self._throughput.samples_per_second, self._throughput.seconds_left(step), width)

    def line(self, text: str) -> None:
        _write(self._stream, text + "\n")


class LiveLine(_VisibleProgress):
    """One line in a terminal, updated in place; the lines that stay scroll above it."""

    interval = TERMINAL_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._drawn = False

    def __exit__(self, *error: object) -> None:
        self._clear()

    def _draw(self, step: "Step") -> None:
        width = columns_of(self._stream) - 1  # in the last column the cursor would go to the next line
        text = self._text(step, width - 2)  # the terminal shows ^C when it is typed
        self._drawn = True
        # Writing the text twice leaves the cursor at its end, where other output may follow
        _write(self._stream, f"\r{text.ljust(width)}\r{text}")

    def _clear(self, then: str = "") -> None:
        blank = f"\r{' ' * (columns_of(self._stream) - 1)}\r" if self._drawn else ""
        self._drawn = False
        if blank or then:
            _write(self._stream, blank + then)

    def line(self, text: str) -> None:
        self._clear(text + "\n")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        self._clear()
        yield


class PlainLines(_VisibleProgress):
    """At most one line every ten seconds, for output that keeps every line: a file, a pipe, a server log."""

    interval = FILE_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._last_shown = time.monotonic()
        self._skipped = False

    def _draw(self, step: "Step") -> None:
        # After an epoch's last step the line about the epoch usually follows. If not, the next step is shown.
        self._skipped = step.step == step.steps and not self._skipped
        if self._skipped:
            self._last_shown = -math.inf
        else:
            _write(self._stream, self._text(step) + "\n")

    def line(self, text: str) -> None:
        super().line(text)
        self._last_shown, self._skipped = time.monotonic(), False


class NotebookLine(_VisibleProgress):
    """One output of a notebook cell, updated in place; the lines that stay are below it. It ends with the last step."""

    interval = NOTEBOOK_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._handle: Any = None

    def __exit__(self, *error: object) -> None:
        if self._handle is not None and self._step is not None:
            self._display(progress_line(self._step))

    def _draw(self, step: "Step") -> None:
        self._display(self._text(step))

    def _display(self, text: str) -> None:
        content = {"text/plain": text}
        with suppress(Exception):  # training continues whatever fails between kernel and browser
            if self._handle is None:
                display = importlib.import_module("IPython.display").display
                self._handle = display(content, raw=True, display_id=True)
            else:
                self._handle.update(content, raw=True)


def _write(stream: TextIO, text: str) -> None:
    with suppress(OSError, ValueError):  # the stream was closed or has no reader: training continues
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, errors="replace").decode(encoding))
        stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream goes to a terminal that can rewrite a line."""
    try:  # IDLE's window claims to be a terminal, but it has no file number and cannot rewrite a line
        return stream.isatty() and os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def _is_notebook(stream: object) -> bool:
    """Whether this runs in an IPython kernel and the stream goes to the cell (%%capture, for one, redirects it)."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return getattr(shell, "kernel", None) is not None and type(stream).__module__.startswith("ipykernel.")


def columns_of(stream: TextIO) -> int:
    """Return the width of the terminal that the stream writes to; stdout may go elsewhere."""
    with suppress(AttributeError, OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
        if columns:
            return columns
    return shutil.get_terminal_size().columns
