"""Resuming training: find the checkpoint, check that it fits, and restore the state."""

import json
import math
import warnings
from pathlib import Path
from typing import Any, Self

from cnn.data.fingerprint import differences
from cnn.errors import CheckpointError, CheckpointWarning
from cnn.module import Array
from cnn.training import state as states
from cnn.training.checkpoint import TIMES, find_checkpoints, read, transforms_text


class Resumed:
    """A checkpoint that fits the training run."""

    def __init__(self, folder: Path, arrays: dict[str, Array], description: dict[str, Any]) -> None:
        self.folder, self.arrays = folder, arrays
        self.damaged: list[Path] = []  # later checkpoints, which could not be read
        self.state: dict[str, Any] = states.unpack(description, arrays)

    @classmethod
    def find(cls, folder: str | Path, run: Any) -> Self | None:
        """Return the latest undamaged checkpoint in a folder, or None if there is none yet.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        CheckpointError
            If it belongs to another training run, or all are damaged.

        Warns
        -----
        CheckpointWarning
            If a checkpoint is damaged, or the results may not be bit-identical.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder} to resume from")
        paths = find_checkpoints(folder)
        for i, path in enumerate(paths):
            try:
                resumed = cls(folder, *read(path))
            except ValueError as error:
                if i + 1 == len(paths):
                    raise CheckpointError(f"no checkpoint in {folder} can be read: {error}") from None
                warnings.warn(f"{error}; using {paths[i + 1].name}", CheckpointWarning, stacklevel=4)
                continue
            resumed._check(run)
            resumed.damaged = paths[:i]
            return resumed
        warnings.warn(
            f"{folder} has no checkpoint yet: training starts from the beginning", CheckpointWarning, stacklevel=4
        )
        return None

    def _check(self, run: Any) -> None:
        """Raise an error if the checkpoint belongs to another training run."""
        state = self.state
        loss_func = run.loss_func or run.model.loss_func
        if state["loss"] != repr(loss_func):
            raise CheckpointError(f"the loss was {state['loss']}, but is {loss_func!r} now")
        wrong = states.architecture_difference(state["architecture"], states.architecture(run.model))
        if wrong is not None:
            raise CheckpointError(f"the checkpoint in {self.folder} belongs to another model: {wrong}")
        wrong = differences(state["data"], run.data)
        if wrong:
            raise CheckpointError(f"the data are not those of the checkpoint in {self.folder}: {wrong}")
        before, now = state["validation"], run.validation
        if (before is None) != (now is None):
            verb = "had no" if before is None else "had"
            raise CheckpointError(f"the training run {verb} validation data before: pass the same")
        if before is not None and differences(before, now):
            raise CheckpointError(f"the validation data are not those of the checkpoint: {differences(before, now)}")
        for name, old, new in (
            ("transforms", state["transforms"], transforms_text(run.loader)),
            ("evaluate_train", state["evaluate_train"], run.evaluate_train),
            ("clip_norm", state.get("clip_norm"), run.clip_norm),  # version 0.1 had none
        ):
            if old != new:
                raise CheckpointError(f"{name} was {old}, but is {new} now: pass the same")
        before = [name for name, _ in state["callbacks"]]
        now = [type(callback).__name__ for callback in run.callbacks]
        if before != now:
            raise CheckpointError(
                f"the callbacks were {', '.join(before) or 'none'}, but are {', '.join(now) or 'none'} now: "
                "pass the same"
            )
        if state["epoch"] > run.epochs:
            raise CheckpointError(
                f"training has already reached epoch {state['epoch']}: epochs={run.epochs} is too few"
            )
        before, now = state["environment"], states.environment()
        changed = [
            f"{key} {before.get(key)} before, {value} now" for key, value in now.items() if before.get(key) != value
        ]
        if changed:
            warnings.warn(
                f"the results may differ in their last bits from those of an uninterrupted run: {'; '.join(changed)}",
                CheckpointWarning,
                stacklevel=5,
            )

    def apply(self, run: Any) -> None:
        """Restore the state of the checkpoint."""
        state, model = self.state, run.model
        tensors = {name.removeprefix("model."): a for name, a in self.arrays.items() if name.startswith("model.")}
        model.load_state_dict(tensors)
        try:
            model.optimizer.load_state_dict(state["optimizer"])
            run.loader.load_state_dict(state["loader"])
        except ValueError as error:
            raise CheckpointError(f"the checkpoint in {self.folder} does not fit: {error}") from None
        run.epoch, run.step, run.first = state["epoch"], state["step"], state["first"]
        run.stopped = state["stopped"] and run.epochs <= state["epochs"]  # more epochs continue a stopped run
        shape = state["input_shape"]
        model.input_shape = None if shape is None else tuple(shape)
        run.means.sums = list(state["means"])
        seconds, run.seconds = self._times(len(state["history"]["train_loss"]))
        for name, values in {**state["history"], "seconds": seconds}.items():
            getattr(run.history, name)[:] = values
        for callback, (_, callback_state) in zip(run.callbacks, state["callbacks"], strict=True):
            if callback_state is not None:
                callback.load_state_dict(callback_state)
        # after the loader, which draws the order of the epoch again, perhaps from a generator shared with the model
        states.set_random_state(run.model, state["random"])

    def _times(self, epochs: int) -> tuple[list[float], float]:
        """Return the seconds of each epoch and of the current one, as far as they are known."""
        try:
            times = json.loads((self.folder / TIMES).read_text(encoding="utf-8"))
            seconds = [float(value) for value in times["seconds"]][:epochs]
            return seconds + [math.nan] * (epochs - len(seconds)), float(times["epoch so far"])
        except (OSError, ValueError, TypeError, KeyError):
            return [math.nan] * epochs, 0.0
