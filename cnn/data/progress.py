"""A progress bar on stderr for one download."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class DownloadBar:
    """rich's bar with the four names that pooch calls: total, update, reset, close."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Bytes to come, None while unknown."""
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value or None  # pooch says 0 where the server does not tell
        self._progress.update(self._task, total=self._total)

    def update(self, count: int) -> None:
        """Advance by ``count`` bytes; pooch counts the last piece as a whole one."""
        done = self._progress.tasks[self._task].completed + count
        self._progress.update(self._task, completed=min(done, self._total or done))

    def reset(self) -> None:
        """Nothing: pooch empties the bar in order to fill it, which would flicker."""

    def close(self) -> None:
        """Nothing: the bar ends with the ``with`` block."""


@contextmanager
def download_bar(label: str) -> Iterator[DownloadBar]:
    """Show a bar for the duration of a ``with`` block."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield DownloadBar(progress, label)
