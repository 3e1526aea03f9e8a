"""Logs: one line per epoch in a file, CSVLog or JSONLinesLog.

A line is on disk before training continues, so killing the process loses no line. When training is resumed, the file is
truncated to the lines that the checkpoint knows of, and the later ones are written again: the final file is the same as
without the interruption. The duration of an epoch is never the same twice, so ``seconds`` are left out by default.
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
from cnn.training.content import has_keys, text, whole
from cnn.training.stopping import METRICS, is_first_step

if TYPE_CHECKING:
    from cnn.training.step import Step


class EpochLog:
    """The base of both logs: a file that only grows, whose length and checksum are stored in checkpoints.

    A subclass implements ``line(epoch, metrics)`` and may set ``header``.
    """

    header = ""

    def __init__(self, path: str | Path, seconds: bool = False) -> None:
        if not isinstance(path, (str, Path)):
            raise TypeError(f"path must be the name of a file, got {path!r}")
        self.path = Path(path)
        self.seconds = boolean(seconds, "seconds")
        self._length: int | None = None  # number of bytes this run has written; None before the file is created
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
        """Return how much of the file this run has written; creates the file if no step has done so."""
        if self._length is None:
            self._begin()
        return {"name": self.path.name, "length": self._length, "checksum": self._checksum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Truncate the file to its content at the time of the state.

        If its name is another one or the file no longer exists, the next step creates a new file.

        Raises
        ------
        FileExistsError
            If the file has other content.
        OSError
            If it cannot be read or truncated; the error names the file.
        """
        has_keys(state, "state", ("name", "length", "checksum"))
        text(state["name"], "name")
        whole(state["length"], "length")
        whole(state["checksum"], "checksum", 0, 2**32 - 1)
        self._length, self._checksum = None, 0
        if state["name"] != self.path.name or not self.path.exists():
            return
        with self._errors_with_path():
            kept = self.path.read_bytes()[: state["length"]]
            is_ours = (len(kept), zlib.crc32(kept)) == (state["length"], state["checksum"])
            # the header differs if `seconds` was different
            if not is_ours or not kept.startswith(self.header.encode()):
                raise FileExistsError(
                    f"{self.path} is not the file that the resumed training run wrote, or has other columns: restore "
                    f'that file and pass the same arguments, delete it, or choose another, {type(self).__name__}("...")'
                )
            os.truncate(self.path, len(kept))  # the part that is kept is not rewritten, so a kill here loses nothing
        self._length, self._checksum = len(kept), state["checksum"]

    def _begin(self) -> None:
        """Create the file, with its header."""
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"could not write {self.path}: there is no folder {folder}; create it first")
        with self._errors_with_path():
            self.path.touch()
            # a complete or partial header may be overwritten
            if not self.header.encode().startswith(self.path.read_bytes()):
                raise FileExistsError(
                    f"{self.path} already exists and is the log of another training run: delete it, choose another "
                    f'file, {type(self).__name__}("..."), or resume that run'
                )
        sync_folder(folder)
        self._length, self._checksum = None, 0
        self._append(self.header)

    def _append(self, text: str) -> None:
        """Append to what this run has written and sync to disk; anything after that, such as half a line, is cut off.

        Raises
        ------
        OSError
            If it cannot be written. The error names the file, which has no partial line then.
        """
        data, length = text.encode(), self._length or 0
        with self._errors_with_path():
            if self.path.stat().st_size < length:
                raise OSError(
                    f"{self.path} has lost lines that this training run wrote: do not change the file during training"
                )
            try:
                with self.path.open("r+b") as file:
                    file.truncate(length)
                    file.seek(length)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())  # so a checkpoint never counts lines that a power failure lost
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, length)
                raise
        self._length, self._checksum = length + len(data), zlib.crc32(data, self._checksum)

    @contextlib.contextmanager
    def _errors_with_path(self) -> Iterator[None]:
        """Make system errors name the file and the reason."""
        try:
            yield
        except OSError as error:
            if error.errno is None:  # raised above
                raise
            reason = error.strerror or str(error)
            raise type(error)(error.errno, f"could not write the log: {reason}", str(self.path)) from error


class CSVLog(EpochLog):
    """One line of comma-separated values per epoch, after a header.

    Numbers are written with full precision; nan is an empty field.

    Parameters
    ----------
    path : str or Path
        In an existing folder. An existing file is an error unless it belongs to the run that is resumed.
    seconds : bool
        Whether to write the duration of each epoch, which makes the file differ between runs.

    Raises
    ------
    FileExistsError
        At the first step, if the file belongs to another training run.
    OSError
        If the file cannot be written; the error names the file.

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
    """One JSON object per epoch, each on its own line.

    Numbers are written with full precision; nan and infinity, which JSON does not have, are null.

    Parameters
    ----------
    path : str or Path
        In an existing folder. An existing file is an error unless it belongs to the run that is resumed.
    seconds : bool
        Whether to write the duration of each epoch, which makes the file differ between runs.

    Raises
    ------
    FileExistsError
        At the first step, if the file belongs to another training run.
    OSError
        If the file cannot be written; the error names the file.

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
