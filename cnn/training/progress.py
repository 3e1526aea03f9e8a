"""How far a training is: one line that is rewritten in a terminal or a notebook, plain lines now and then elsewhere.

In a terminal a carriage return and spaces do it all: no escape codes that an old console would show, no thread.
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

# Seconds between what is shown: a notebook is slow to draw, and a file keeps everything
TERMINAL_INTERVAL, NOTEBOOK_INTERVAL, FILE_INTERVAL = 1 / 8, 1 / 4, 10.0


def fit_progress(verbose: bool) -> "Progress":
    """Return what suits stdout, or the notebook that this runs in; something silent unless ``verbose``.

    Returns
    -------
    Progress
        A context manager with ``show(step, samples)``, for after every step, and ``line(text)``.

    Examples
    --------
    >>> with fit_progress(verbose=True) as shown:
    ...     shown.line("epoch 1/1  train loss 0.5000")
    epoch 1/1  train loss 0.5000
    """
    if not verbose:
        return Progress()
    if _is_notebook(sys.stdout) and not os.environ.get("NO_PROGRESS"):
        return NotebookLine(sys.stdout)
    return stream_progress(sys.stdout)


def stream_progress(stream: TextIO | None) -> "Progress":
    """Return what suits the stream: a live line in a terminal, plain lines elsewhere or where these are asked for.

    They are asked for by the environment variables NO_PROGRESS, CI (if not empty), and TERM=dumb.
    """
    if stream is None:  # Python without a console, as pythonw on Windows
        return Progress()
    plain = os.environ.get("NO_PROGRESS") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return LiveLine(stream) if _is_terminal(stream) and not plain else PlainLines(stream)


class Progress:
    """No progress, for those who want silence, and the methods of all kinds.

    None of them fails because nobody reads the stream, or because its encoding lacks a letter.
    """

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        """Take away what should not stay."""

    def show(self, step: "Step", samples: int = 0) -> None:
        """Tell how far it is, if it is time for that; to be called after every step.

        Parameters
        ----------
        step : Step
            The step that was done.
        samples : int
            Size of its batch. 0: not known; no speed is shown then.
        """

    def line(self, text: str) -> None:
        """Write a line that stays, as that about an epoch."""

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Make room for other lines in the same terminal, for the duration of a `with` block."""
        yield


class _Shown(Progress):
    """What the three kinds share: a stream, a pace, and a time between what they show."""

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

    def line(self, text: str) -> None:
        _write(self._stream, text + "\n")


class LiveLine(_Shown):
    """One line in a terminal, rewritten in place; the lines that stay scroll by above it."""

    interval = TERMINAL_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._drawn = False

    def __exit__(self, *error: object) -> None:
        self._clear()

    def _draw(self, step: "Step") -> None:
        room = _columns(self._stream) - 1  # in the last column the cursor would go to the next line
        text = progress_line(
            step, self._throughput.samples_per_second, self._throughput.seconds_left(step), room - 2
        )  # a terminal adds ^C when it is typed
        self._drawn = True
        # The second time only brings the cursor to the end of the text, where other output may follow
        _write(self._stream, f"\r{text.ljust(room)}\r{text}")

    def _clear(self, then: str = "") -> None:
        blank = f"\r{' ' * (_columns(self._stream) - 1)}\r" if self._drawn else ""
        self._drawn = False
        if blank or then:
            _write(self._stream, blank + then)

    def line(self, text: str) -> None:
        self._clear(text + "\n")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        self._clear()
        yield


class PlainLines(_Shown):
    """A line every ten seconds at most, for what keeps everything: a file, a pipe, the log of a server."""

    interval = FILE_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._last_shown = time.monotonic()
        self._skipped = False

    def _draw(self, step: "Step") -> None:
        # After an epoch's last step its own line mostly follows. If none does, the next step is told.
        self._skipped = step.step == step.steps and not self._skipped
        if self._skipped:
            self._last_shown = -math.inf
        else:
            _write(
                self._stream,
                progress_line(step, self._throughput.samples_per_second, self._throughput.seconds_left(step)) + "\n",
            )

    def line(self, text: str) -> None:
        super().line(text)
        self._last_shown, self._skipped = time.monotonic(), False


class NotebookLine(_Shown):
    """One output of a notebook's cell, updated in place; the lines that stay are below it. It ends as the last step."""

    interval = NOTEBOOK_INTERVAL

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._handle: Any = None

    def __exit__(self, *error: object) -> None:
        if self._handle is not None and self._step is not None:
            self._display(progress_line(self._step))

    def _draw(self, step: "Step") -> None:
        self._display(progress_line(step, self._throughput.samples_per_second, self._throughput.seconds_left(step)))

    def _display(self, text: str) -> None:
        content = {"text/plain": text}
        with suppress(Exception):  # whatever is wrong between kernel and browser, training goes on
            if self._handle is None:
                display = importlib.import_module("IPython.display").display
                self._handle = display(content, raw=True, display_id=True)
            else:
                self._handle.update(content, raw=True)


def _write(stream: TextIO, text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more, or it was closed: no reason to end a training
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, errors="replace").decode(encoding))
        stream.flush()


def _is_terminal(stream: TextIO) -> bool:
    try:  # IDLE's window says that it is a terminal, but is no file, and cannot go back in a line
        return stream.isatty() and os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def _is_notebook(stream: object) -> bool:
    """Tell whether this runs in an IPython kernel and the stream goes to the cell; %%capture, as one, takes it away."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return getattr(shell, "kernel", None) is not None and type(stream).__module__.startswith("ipykernel.")


def _columns(stream: TextIO) -> int:
    """Return the width of the terminal that the stream goes to; stdout may be elsewhere."""
    with suppress(AttributeError, OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
        if columns:
            return columns
    return shutil.get_terminal_size().columns
