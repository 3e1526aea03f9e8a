"""A progress bar on stderr for one download."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cnn.core.text import printable


class DownloadBar:
    """rich's progress bar with the four names that pooch uses: total, update, reset, close."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(printable(label), total=None)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Size of the download in bytes; None while it is unknown."""
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value or None  # pooch passes 0 if the server does not report the size
        self._progress.update(self._task, total=self._total)

    def update(self, count: int) -> None:
        """Advance by ``count`` bytes; pooch counts the last chunk as a full one, so the sum is limited to the total."""
        completed = self._progress.tasks[self._task].completed + count
        self._progress.update(self._task, completed=min(completed, self._total or completed))

    def reset(self) -> None:
        """Do nothing: pooch resets the bar before it fills it, which would flicker."""

    def close(self) -> None:
        """Do nothing: the bar ends with the ``with`` block."""


@contextmanager
def download_bar(label: str) -> Iterator[DownloadBar]:
    """Show a progress bar for the duration of a ``with`` block."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield DownloadBar(progress, label)
