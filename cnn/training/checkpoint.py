"""Checkpoints: the full state of a training run in one file, so that it can be resumed with bit-identical results."""

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
from cnn.core.text import printable, short_text
from cnn.errors import CheckpointWarning
from cnn.module import Array
from cnn.training import state as states
from cnn.training.content import check_state
from cnn.training.history import History
from cnn.training.stopping import METRICS

FORMAT = 1
BEST, TIMES = "best.safetensors", "times.json"
STEPS = "step-{:08}.safetensors"


class Checkpoint:
    """Write checkpoints to a folder, from which `train`, `fit` and `cnn train` can resume.

    Each checkpoint is one file with a checksum, written atomically; old ones are deleted only when the new one is on
    disk. So whenever the process is killed or the power fails, the folder has a readable checkpoint.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist. Only one training run at a time may write to it.
    epochs, steps : int, optional
        Write after every ``epochs`` epochs or ``steps`` steps. Without epochs, steps and minutes: after every epoch.
    minutes : float, optional
        Write after the first step that ends this many minutes after the last checkpoint.
    keep : int
        How many of the latest checkpoints to keep, at least 1.
    best : str, optional
        A metric, such as "val_loss" or "val_accuracy": the checkpoint of the best epoch is kept as well.

    Raises
    ------
    FileExistsError
        From `train`, if the folder has checkpoints that are not resumed, or another training run is writing to it.

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
            raise ValueError(f"best={best!r} is not a metric: choose one of {', '.join(METRICS)}")
        self.best = best
        self._lock = contextlib.ExitStack()
        self._total = -1  # number of steps at the last checkpoint
        self._last = 0.0  # time of the last checkpoint, by the monotonic clock

    def __call__(self, step: Any) -> None:
        """Do nothing: checkpoints are written after all other callbacks and the caller's own loop."""

    def open(self, run: Any, resumed: Any) -> None:
        """Lock the folder for this training run."""
        if self.best is not None and self.best.startswith("val_") and run.validation_data is None:
            raise ValueError(f"best={self.best!r} needs validation_data")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"could not create this folder for checkpoints ({error.strerror}): choose another"
            raise type(error)(error.errno, reason, str(self.folder)) from error
        self._lock.enter_context(locked(self.folder))
        try:
            existing = find_checkpoints(self.folder)
            if existing and (resumed is None or resumed.folder.resolve() != self.folder.resolve()):
                raise FileExistsError(
                    f"{self.folder} has checkpoints of another training run, such as {existing[0].name}: resume it "
                    f"with resume={str(self.folder)!r}, or choose another folder"
                )
            for path in resumed.damaged if resumed is not None else ():
                path.rename(path.with_name(f"damaged-{path.name}"))  # otherwise it would count as the latest
            for leftover in self.folder.glob(".*.part"):  # of a run that was killed while it wrote
                leftover.unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise
        self._last = time.monotonic()

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()

    def begin(self, run: Any) -> None:
        """Write a checkpoint before the first step, so that a run that is killed early can be resumed as well."""
        self._write(run, 0, is_best=False)

    def write_last(self, step: Any, run: Any) -> None:
        """Write a final checkpoint when the caller stops iterating."""
        total = (step.epoch - 1) * step.steps + step.step
        if total != self._total:
            with contextlib.suppress(OSError):  # an older checkpoint exists
                self._write(run, total, is_best=False)

    def after(self, step: Any, run: Any) -> None:
        """Write a checkpoint if one is due after this step."""
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
            # the disk may have space again at the next one, and stopping would lose the work since the last one
            warnings.warn(
                f"no checkpoint at step {total}: {error}; training continues", CheckpointWarning, stacklevel=2
            )

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
    """Return the paths of the checkpoints in a folder, the latest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def times(run: Any) -> dict[str, Any]:
    """Return the times, which are never the same in two runs."""
    return {"seconds": run.history.seconds, "epoch so far": run.seconds}


def snapshot(run: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the current state of a training run: its arrays, and everything else in a form that JSON can hold."""
    arrays: dict[str, Array] = {f"model.{name}": t.data for name, t in run.model.named_tensors()}
    metrics = {name: values for name, values in vars(run.history).items() if name != "seconds"}
    state = {
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
    return arrays, states.pack(state, arrays, "state")


def transforms_text(loader: Any) -> list[str]:
    """Return the transforms as strings that are the same in every process."""
    return [getattr(t, "__qualname__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(t)) for t in loader.transforms]


def write(path: Path, arrays: dict[str, Array], description: dict[str, Any]) -> None:
    """Write one checkpoint atomically."""
    digest = checksum(arrays, description)
    write_tensors(path, arrays, {"checkpoint": FORMAT, "sha256": digest, "state": description})


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one checkpoint: its arrays, and everything else as JSON holds it.

    Raises
    ------
    ValueError
        If it is damaged or not a checkpoint.
    """
    arrays, text = read_tensors(path)
    name = printable(path)
    if not isinstance(text, dict) or "checkpoint" not in text:
        raise ValueError(f"{name} is not a checkpoint")
    if text["checkpoint"] != FORMAT:
        version = short_text(text["checkpoint"])
        raise ValueError(f"{name} has format {version}, this version reads {FORMAT}: update the library")
    if not {"state", "sha256"} <= text.keys() or checksum(arrays, text["state"]) != text["sha256"]:
        raise ValueError(f"{name} is damaged: its checksum does not match")
    return arrays, text["state"]


def read_state(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one checkpoint: its arrays, and its state as `snapshot` has it.

    Raises
    ------
    ValueError
        If it is damaged, not a checkpoint, or holds something that no checkpoint does; the message names the key.
    """
    arrays, description = read(path)
    try:
        state = states.unpack(description, arrays)
        check_state(state)
    except ValueError as error:
        raise ValueError(f"{printable(path)} is damaged or not of this library: {error}") from None
    return arrays, state


def checksum(arrays: dict[str, Array], description: dict[str, Any]) -> str:
    """Return the SHA-256 of the whole content of a checkpoint."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
