"""How far a training is, on stderr: a bar where a person can watch one, else a plain line now and then."""

import os
import sys
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from cnn.commands.terminal import note
from cnn.training import Step

SECONDS_BETWEEN_LINES = 10.0


def for_training(quiet: bool = False) -> "Silent":
    """Return what suits stderr: a bar in a terminal, lines elsewhere or if NO_PROGRESS is set, nothing if quiet."""
    if quiet:
        return Silent()
    watched = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
    return Bar() if watched and not os.environ.get("NO_PROGRESS") else Lines()


class Silent:
    """No progress; a `with` block like the others."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, step: Step) -> None:
        """Tell how far it is."""

    def hidden(self) -> AbstractContextManager[None]:
        """Make room for other lines in the same terminal, for the duration of a `with` block."""
        return nullcontext()


class Lines(Silent):
    """A plain line every ten seconds."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def show(self, step: Step) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES or step.step == step.steps:  # an epoch's end has a line of its own
            return
        self._last = now
        left = (now - self._began) * (1 / step.done - 1)
        note(f"epoch {step.epoch}/{step.epochs}  step {step.step}/{step.steps}  {_figures(step)}  {_clock(left)} left")


class Bar(Silent):
    """One bar over all epochs. It is gone when the training is over: the lines about each epoch stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        # rich itself honours NO_COLOR, and draws in ASCII where the encoding is not UTF-8
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()]
        columns += [TextColumn("{task.fields[figures]}"), TimeRemainingColumn(compact=True), TextColumn("left")]
        console = Console(stderr=True, highlight=False)
        # Results go to stdout, which may be a file: rich must not catch them and write them to stderr.
        keep: dict[str, Any] = {"redirect_stdout": False, "redirect_stderr": False}
        self._progress = Progress(*columns, console=console, transient=True, **keep)
        self._task = self._progress.add_task("starting", total=None, figures="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # the terminal was closed; there is nobody to tell
            self._progress.stop()

    def show(self, step: Step) -> None:
        self._progress.update(
            self._task,
            total=step.epochs * step.steps,
            completed=(step.epoch - 1) * step.steps + step.step,
            description=f"epoch {step.epoch}/{step.epochs}",
            figures=_figures(step),
        )

    @contextmanager
    def hidden(self) -> Any:
        with suppress(OSError):
            self._progress.stop()
        yield
        with suppress(OSError):
            self._progress.start()


def _figures(step: Step) -> str:
    return f"loss {step.loss:.4f}  accuracy {step.accuracy:.4f}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
