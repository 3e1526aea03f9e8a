"""Logs: one line an epoch in a file, CSVLog or JSONLinesLog.

A line is on the disk before the training goes on, so a kill costs no line that was written. A resumed training cuts the
file back to the lines that its checkpoint knows of and writes the others again: the file ends as it would have in one
piece. How long an epoch took is never the same twice, so ``seconds`` are left out unless asked for.
"""

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.core.checks import boolean
from cnn.core.files import sync_folder
from cnn.training.stopping import METRICS, is_first_step

if TYPE_CHECKING:
    from cnn.training.step import Step


class EpochLog:
    """What both logs share: a file that only grows, whose length and checksum the state of a training has.

    A subclass writes ``line(epoch, metrics)`` and sets ``header``.
    """

    header = ""

    def __init__(self, path: str | Path, seconds: bool = False) -> None:
        if not isinstance(path, (str, Path)):
            raise TypeError(f"path must be the name of a file, got {path!r}")
        self.path = Path(path)
        self.seconds = boolean(seconds, "seconds")
        self._length: int | None = None  # bytes that are this training's; None before it has the file
        self._checksum = 0  # CRC-32 of them

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}{', seconds=True' if self.seconds else ''})"

    def line(self, epoch: int, metrics: dict[str, float]) -> str:
        raise NotImplementedError(f"{type(self).__name__} needs a method line(self, epoch, metrics)")

    def __call__(self, step: "Step") -> None:
        if self._length is None or is_first_step(step):
            self._begin()
        if step.metrics is not None:
            metrics = {name: float(value) for name, value in step.metrics.items()}
            if not self.seconds:
                metrics.pop("seconds", None)
            self._append(self.line(step.epoch, metrics) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """Return how much of the file is this training's; that claims the file if no step has done so."""
        if self._length is None:
            self._begin()
        return {"name": self.path.name, "length": self._length, "checksum": self._checksum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut the file back to what it was when the state was taken.

        A file of another name, and one that is no longer there, begins anew with the next step.

        Raises
        ------
        FileExistsError
            If the file holds something else.
        OSError
            If it cannot be read or cut; it names the file.
        """
        self._length, self._checksum = None, 0
        if state["name"] != self.path.name or not self.path.exists():
            return
        with self._named():
            kept = self.path.read_bytes()[: state["length"]]
            is_ours = (len(kept), zlib.crc32(kept)) == (state["length"], state["checksum"])
            if not is_ours or not kept.startswith(self.header.encode()):  # another header: seconds was another
                raise FileExistsError(
                    f"{self.path} is not what the resumed training wrote, or had other columns: put that file back "
                    f'and give the same arguments, delete this one, or name another, {type(self).__name__}("...")'
                )
            os.truncate(self.path, len(kept))  # what is kept is not touched, so a kill here costs nothing
        self._length, self._checksum = len(kept), state["checksum"]

    def _begin(self) -> None:
        """Create the file, with its header."""
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"could not write {self.path}: there is no folder {folder}; create it first")
        with self._named():
            self.path.touch()
            if not self.header.encode().startswith(self.path.read_bytes()):  # a header, whole or torn, is no loss
                raise FileExistsError(
                    f"{self.path} is there already, the log of another training: delete it, name another file, "
                    f'{type(self).__name__}("..."), or resume that training'
                )
        sync_folder(folder)
        self._length, self._checksum = None, 0
        self._append(self.header)

    def _append(self, text: str) -> None:
        """Write after what is this training's, on the disk at once; whatever else is there, such as half a line, goes.

        Raises
        ------
        OSError
            If it cannot be written; it names the file, which has no half line then.
        """
        data, length = text.encode(), self._length or 0
        with self._named():
            if self.path.stat().st_size < length:
                raise OSError(f"{self.path} has lost lines that this training wrote: leave the file alone meanwhile")
            try:
                with self.path.open("r+b") as file:
                    file.truncate(length)
                    file.seek(length)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())  # or a power cut could leave a checkpoint that knows of lines never written
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, length)
                raise
        self._length, self._checksum = length + len(data), zlib.crc32(data, self._checksum)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Let errors of the system name the file and the reason."""
        try:
            yield
        except OSError as error:
            if error.errno is None:  # our own
                raise
            reason = error.strerror or str(error)
            raise type(error)(error.errno, f"could not write the log: {reason}", str(self.path)) from error


class CSVLog(EpochLog):
    """One line an epoch of comma-separated values, below a header.

    Numbers have all their digits; nan is an empty field.

    Parameters
    ----------
    path : str or Path
        In a folder that is there. A file that is there already is refused, unless it is this training's, resumed.
    seconds : bool
        Whether to write the seconds of each epoch, which makes the file differ from run to run.

    Raises
    ------
    FileExistsError
        With the first step, if the file is another training's.
    OSError
        If the file cannot be written; it names the file.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(f"{folder}/log.csv")
    ...     metrics = {"train_loss": 0.5, "train_accuracy": 0.8, "val_loss": float("nan"), "seconds": 1.5}
    ...     log(SimpleNamespace(epoch=1, step=1, metrics=metrics))
    ...     print(log.path.read_text())
    epoch,train_loss,train_accuracy,val_loss,val_accuracy
    1,0.5,0.8,,
    """

    def __init__(self, path: str | Path, seconds: bool = False) -> None:
        super().__init__(path, seconds)
        self.columns = [*METRICS, *(["seconds"] if self.seconds else [])]
        self.header = ",".join(["epoch", *self.columns]) + "\n"

    def line(self, epoch: int, metrics: dict[str, float]) -> str:
        """Return the line of an epoch."""
        unknown = [name for name in metrics if name not in self.columns]
        if unknown:
            raise ValueError(f"CSVLog has no column for {', '.join(unknown)}: use JSONLinesLog, which takes any metric")
        values = [metrics.get(name, math.nan) for name in self.columns]
        return ",".join([str(epoch), *("" if math.isnan(value) else repr(value) for value in values)])


class JSONLinesLog(EpochLog):
    """One JSON object an epoch, each on a line of its own.

    Numbers have all their digits; nan and infinity, which JSON does not have, are null.

    Parameters
    ----------
    path : str or Path
        In a folder that is there. A file that is there already is refused, unless it is this training's, resumed.
    seconds : bool
        Whether to write the seconds of each epoch, which makes the file differ from run to run.

    Raises
    ------
    FileExistsError
        With the first step, if the file is another training's.
    OSError
        If the file cannot be written; it names the file.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = JSONLinesLog(f"{folder}/log.jsonl")
    ...     log(SimpleNamespace(epoch=1, step=1, metrics={"train_loss": 0.5, "val_loss": float("nan")}))
    ...     print(log.path.read_text())
    {"epoch": 1, "train_loss": 0.5, "val_loss": null}
    """

    def line(self, epoch: int, metrics: dict[str, float]) -> str:
        """Return the line of an epoch."""
        shown = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        return json.dumps({"epoch": epoch, **shown}, allow_nan=False)
