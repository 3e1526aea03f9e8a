"""Checkpoints: all that a training is, in one file, so that it can go on with the same bits."""

import contextlib
import hashlib
import json
import math
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.files import locked, read_tensors, write_bytes, write_tensors
from cnn.errors import CheckpointWarning
from cnn.module import Array
from cnn.training import state as states
from cnn.training.history import History

FORMAT = 1
METRICS = "train_loss", "train_accuracy", "val_loss", "val_accuracy"
BEST, TIMES = "best.safetensors", "times.json"
STEPS = "step-{:08}.safetensors"


class Checkpoint:
    """Writes checkpoints into a folder, from which `train`, `fit` and `cnn train` resume.

    Each is one file, written whole or not at all, with a checksum; older ones go only when the new one is on the disk.
    So after a kill or a power cut at any moment the folder has a checkpoint that can be read.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there. One training at a time writes into it.
    epochs, steps : int, optional
        Write after every so many epochs or steps. Without any of the three, after every epoch.
    minutes : float, optional
        Write after the first step that ends so many minutes after the last checkpoint.
    keep : int
        How many of the latest to keep, at least 1.
    best : str, optional
        A metric of an epoch, such as "val_loss" or "val_accuracy": the checkpoint of the best epoch is kept as well.

    Raises
    ------
    FileExistsError
        From `train`, if the folder has checkpoints and the training does not resume them, or another training is
        writing into it.

    Examples
    --------
    >>> import tempfile
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import MSELoss
    >>> from cnn.optim import SGD
    >>> x = np.eye(4, dtype=np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for epochs in (2, 5):
    ...         model = Sequential([Linear(4, 1, rng=0)], loss_func=MSELoss(), optimizer=SGD(lr=0.1))
    ...         resume = folder if epochs == 5 else None
    ...         history = model.fit(x, x[:, :1], epochs=epochs, verbose_freq=0, rng=0,
    ...                             callbacks=[Checkpoint(folder)], resume=resume)
    >>> len(history)
    5
    """

    def __init__(
        self,
        folder: str | Path,
        epochs: int | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        keep: int = 2,
        best: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.epochs = None if epochs is None else integer(epochs, "epochs", 1)
        self.steps = None if steps is None else integer(steps, "steps", 1)
        if minutes is not None and not (isinstance(minutes, (int, float)) and 0 < minutes < math.inf):
            raise ValueError(f"minutes must be a number above 0, got {minutes!r}")
        self.minutes = minutes
        if epochs is steps is minutes is None:
            self.epochs = 1
        self.keep = integer(keep, "keep", 1)
        if best is not None and best not in METRICS:
            raise ValueError(f"best={best!r} is no metric of an epoch: choose one of {', '.join(METRICS)}")
        self.best = best
        self._lock = contextlib.ExitStack()
        self._total = -1  # steps that were done when the last one was written
        self._last = 0.0  # when the last one was written, by the monotonic clock

    def __call__(self, step: Any) -> None:
        """Nothing: checkpoints are written after all other callbacks and the caller's own loop."""

    def open(self, run: Any, resumed: Any) -> None:
        """Take the folder for this training."""
        if self.best is not None and self.best.startswith("val_") and run.validation_data is None:
            raise ValueError(f"best={self.best!r} needs validation_data")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"could not make this folder for checkpoints ({error.strerror}): give another"
            raise type(error)(error.errno, reason, str(self.folder)) from error
        self._lock.enter_context(locked(self.folder))
        try:
            there = find_checkpoints(self.folder)
            if there and (resumed is None or resumed.folder.resolve() != self.folder.resolve()):
                raise FileExistsError(
                    f"{self.folder} has checkpoints of another training, such as {there[0].name}: resume it with "
                    f"resume={str(self.folder)!r}, or choose another folder"
                )
            for damaged in resumed.damaged if resumed is not None else ():
                damaged.rename(damaged.with_name(f"damaged-{damaged.name}"))  # or it would count as the latest
            for leftover in self.folder.glob(".*.part"):  # of a training that was killed while it wrote
                leftover.unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise
        self._last = time.monotonic()

    def close(self) -> None:
        """Give the folder back."""
        self._lock.close()

    def begin(self, run: Any) -> None:
        """Write the first checkpoint, before the first step: a training that is killed early has one to go on from."""
        self._write(run, 0, is_best=False)

    def write_last(self, step: Any, run: Any) -> None:
        """Write one more, as the caller breaks off."""
        total = (step.epoch - 1) * step.steps + step.step
        if total != self._total:
            with contextlib.suppress(OSError):  # there is an older one
                self._write(run, total, is_best=False)

    def after(self, step: Any, run: Any) -> None:
        """Write a checkpoint if it is time for one."""
        is_end = step.metrics is not None
        total = (step.epoch - 1) * step.steps + step.step
        due = run.stopped or (is_end and step.epoch == step.epochs)
        due = due or (self.epochs is not None and is_end and step.epoch % self.epochs == 0)
        due = due or (self.steps is not None and total % self.steps == 0)
        due = due or (self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes)
        is_best = is_end and self.best is not None and self._is_best(run.history)
        if not (due or is_best):
            return
        try:
            self._write(run, total if due else None, is_best)
        except OSError as error:
            if run.stopped or (is_end and step.epoch == step.epochs):
                raise
            # the next may find room again, and what is in memory is worth more than an end
            warnings.warn(f"no checkpoint at step {total}: {error}; training goes on", CheckpointWarning, stacklevel=2)

    def _write(self, run: Any, total: int | None, is_best: bool) -> None:
        arrays, description = snapshot(run)
        if is_best:
            write(self.folder / BEST, arrays, description)
        if total is not None:
            write_bytes(self.folder / TIMES, json.dumps(times(run)).encode())
            write(self.folder / STEPS.format(total), arrays, description)
            for old in find_checkpoints(self.folder)[self.keep :]:
                old.unlink(missing_ok=True)
            self._total, self._last = total, time.monotonic()

    def _is_best(self, history: History) -> bool:
        metrics = getattr(history, str(self.best))
        sign = -1 if str(self.best).endswith("accuracy") else 1
        last = sign * metrics[-1]
        return last == last and all(not sign * metric <= last for metric in metrics[:-1])


def find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the latest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def times(run: Any) -> dict[str, Any]:
    """Return what is never the same in two runs."""
    return {"seconds": run.history.seconds, "epoch so far": run.seconds}


def snapshot(run: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the description of a training as it is now."""
    arrays: dict[str, Array] = {f"model.{name}": t.data for name, t in run.model.named_tensors()}
    metrics = {name: values for name, values in vars(run.history).items() if name != "seconds"}
    whole = {
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "input_shape": getattr(run.model, "input_shape", None),
        "stopped": run.stopped,
        "means": run.means.sums,
        "history": metrics,
        "optimizer": run.model.optimizer.state_dict(),
        "loader": run.loader.state_dict(),
        "random": states.random_state(run.model),
        "callbacks": [
            [type(callback).__name__, callback.state_dict() if hasattr(callback, "state_dict") else None]
            for callback in run.callbacks
        ],
        "architecture": states.architecture(run.model),
        "loss": repr(run.model.loss_func),
        "first": run.first,
        "data": run.data,
        "validation": run.validation,
        "evaluate_train": run.evaluate_train,
        "transforms": transforms_text(run.loader),
        "environment": states.environment(),
    }
    return arrays, states.pack(whole, arrays, "state")


def transforms_text(loader: Any) -> list[str]:
    """Return the transforms as texts that are the same in the next process."""
    return [getattr(t, "__qualname__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(t)) for t in loader.transforms]


def write(path: Path, arrays: dict[str, Array], description: dict[str, Any]) -> None:
    """Write one checkpoint, whole or not at all."""
    digest = checksum(arrays, description)
    write_tensors(path, arrays, {"checkpoint": FORMAT, "sha256": digest, "state": description})


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one checkpoint.

    Raises
    ------
    ValueError
        If it is damaged, or no checkpoint.
    """
    arrays, text = read_tensors(path)
    if not isinstance(text, dict) or "checkpoint" not in text:
        raise ValueError(f"{path} is no checkpoint")
    if text["checkpoint"] != FORMAT:
        raise ValueError(f"{path} has format {text['checkpoint']!r}, this version reads {FORMAT}: update the library")
    if checksum(arrays, text["state"]) != text["sha256"]:
        raise ValueError(f"{path} is damaged: its checksum is another")
    return arrays, text["state"]


def checksum(arrays: dict[str, Array], description: dict[str, Any]) -> str:
    """Return the SHA-256 of all numbers and texts of a checkpoint."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
