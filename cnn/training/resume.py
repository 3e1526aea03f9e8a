"""Resuming training: find the checkpoint, check that it fits, and restore the state."""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from cnn.core.files import parse_json
from cnn.core.text import printable, printable_lines
from cnn.data.fingerprint import differences
from cnn.errors import CheckpointError, CheckpointWarning
from cnn.module import Array
from cnn.training import state as states
from cnn.training.checkpoint_file import TIMES, find_checkpoints, read_state, settings_text, transforms_text
from cnn.training.content import expect

# What code raises that is handed a state of another form: that of a callback of the user's, for example
UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError)
LENGTH = re.compile(r"\b(total_steps|T_max)=\d+")  # of a schedule, which may grow with the number of epochs
NOTHING = re.compile(r"(?!)")


class Resumed:
    """A checkpoint that fits the training run."""

    def __init__(self, path: Path, arrays: dict[str, Array], state: dict[str, Any]) -> None:
        self.path, self.folder, self.arrays, self.state = path, path.parent, arrays, state
        self.damaged: list[Path] = []  # later checkpoints, which could not be read

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
            raise FileNotFoundError(f"there is no folder {printable(folder)} to resume from")
        paths = find_checkpoints(folder)
        for i, path in enumerate(paths):
            try:
                resumed = cls(path, *read_state(path))
                resumed._check_weights(run)
            except ValueError as error:
                if i + 1 == len(paths):
                    raise CheckpointError(f"no checkpoint in {printable(folder)} can be read: {error}") from None
                warnings.warn(f"{error}; using {printable(paths[i + 1].name)}", CheckpointWarning, stacklevel=4)
                continue
            try:
                resumed._check(run)
            except CheckpointError as error:  # it quotes texts of the file
                raise CheckpointError(printable_lines(str(error))) from None
            resumed.damaged = paths[:i]
            return resumed
        warnings.warn(
            f"{printable(folder)} has no checkpoint yet: training starts from the beginning",
            CheckpointWarning,
            stacklevel=4,
        )
        return None

    def _check_weights(self, run: Any) -> None:
        """Raise an error if a weight is NaN or infinite."""
        for name, parameter in run.model.named_parameters():
            array = self.arrays.get(f"model.{name}", parameter.data)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{printable(self.path)} is damaged: {name} has NaN or infinite numbers")

    def _check(self, run: Any) -> None:
        """Raise an error if the checkpoint belongs to another training run."""
        state = self.state
        loss_func = run.loss_func or run.model.loss_func
        given = [text.startswith("SampleWeighted(") for text in (state["loss"], repr(loss_func))]
        if given[0] != given[1]:
            was, fix = ("", "pass the same") if given[0] else ("not ", "leave it out")
            raise CheckpointError(f"sample_weight was {was}given before: {fix}")
        if state["loss"] != repr(loss_func):
            raise CheckpointError(f"the loss was {state['loss']}, but is {loss_func!r} now")
        wrong = states.architecture_difference(state["architecture"], states.architecture(run.model))
        if wrong is not None:
            raise CheckpointError(f"the checkpoint in {printable(self.folder)} belongs to another model: {wrong}")
        wrong = differences(state["data"], run.data)
        if given[0]:  # the targets carry the weights
            wrong = wrong.replace("targets", "targets or sample_weight")
        if wrong:
            raise CheckpointError(f"the data are not those of the checkpoint in {printable(self.folder)}: {wrong}")
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
        before, now = [name for name, _ in state["callbacks"]], [type(callback).__name__ for callback in run.callbacks]
        same = before == now
        if state.get("settings") is not None:  # version 0.1 had none
            before, now = state["settings"], [settings_text(callback) for callback in run.callbacks]
            longer = LENGTH if run.epochs != state["epochs"] else NOTHING
            same = same and [longer.sub("", text) for text in before] == [longer.sub("", text) for text in now]
        if not same:
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
                "the results may differ in their last bits from those of an uninterrupted run: "
                + printable_lines("; ".join(changed)),
                CheckpointWarning,
                stacklevel=5,
            )

    def apply(self, run: Any) -> None:
        """Restore the state of the checkpoint.

        Raises
        ------
        CheckpointError
            If a part of it does not fit; in that case model, optimizer, loader and random generators are as before.
        """
        state, model = self.state, run.model
        with self._undone_after_an_error(run):
            with self._part("the weights"):
                self._check_arrays(model)
                model.load_state_dict(states.weights(self.arrays))
            if state.get("frozen") is not None:  # version 0.1 had none
                with self._part("what is frozen"):
                    states.set_frozen(model, state["frozen"])
            with self._part("the optimizer"):
                model.optimizer.load_state_dict(state["optimizer"])
            with self._part("the loader"):
                states.check_generators(run.loader.rng, state["loader"])
                run.loader.load_state_dict(state["loader"])
            with self._part("the position"):
                steps, completed = len(run.loader), len(state["history"]["train_loss"])
                expect(state["step"] <= steps, "step", f"at most {steps}", state["step"])
                epochs = state["epoch"] - (state["step"] < steps and state["epoch"] > 0)
                expect(completed == epochs, "history", f"of the {epochs} completed epochs", f"{completed} epochs")
            for callback, (name, callback_state) in zip(run.callbacks, state["callbacks"], strict=True):
                if callback_state is not None:
                    with self._part(f"callback {name}"):
                        callback.load_state_dict(callback_state)
                        if hasattr(callback, "check_model"):
                            callback.check_model(model)
            # after the loader, which draws the order of the epoch again, perhaps from a generator shared with the model
            with self._part("the random generators"):
                states.set_random_state(model, state["random"])
        run.epoch, run.step, run.first = state["epoch"], state["step"], state["first"]
        run.stopped = state["stopped"] and run.epochs <= state["epochs"]  # more epochs continue a stopped run
        shape = state["input_shape"]
        model.input_shape = None if shape is None else tuple(shape)
        run.means.sums = list(state["means"])
        seconds, run.seconds = self._times(completed)
        for name, values in {**state["history"], "seconds": seconds}.items():
            getattr(run.history, name)[:] = values

    def _check_arrays(self, model: Any) -> None:
        """Raise an error unless the model has arrays of the same names, shapes and dtypes."""
        found = {name: f"{a.shape} of {a.dtype}" for name, a in states.weights(self.arrays).items()}
        own = {name: f"{tensor.shape} of {tensor.dtype}" for name, tensor in model.named_tensors()}
        for name in {**own, **found}:
            expected = own.get(name, "absent, because the model has no such array")
            expect(own.get(name) == found.get(name), name, expected, found.get(name))

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Turn what a state of the wrong form raises into one error that names the file and the part."""
        try:
            yield
        except UNFIT as error:
            problem = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise CheckpointError(
                f"the checkpoint {printable(self.path)} does not fit: {printable(name)}: {problem}"
            ) from error

    @contextmanager
    def _undone_after_an_error(self, run: Any) -> Iterator[None]:
        """Put model, optimizer, loader and random generators back to their state of before, if an error is raised."""
        model, loader = run.model, run.loader
        before = model.state_dict(), model.optimizer.state_dict(), loader.state_dict(), states.random_state(model)
        frozen = states.frozen(model)
        try:
            yield
        except BaseException:
            model.load_state_dict(before[0])
            model.optimizer.load_state_dict(before[1])
            loader.load_state_dict(before[2])
            states.set_random_state(model, before[3])
            states.set_frozen(model, frozen)
            raise

    def _times(self, epochs: int) -> tuple[list[float], float]:
        """Return the seconds of each epoch and of the current one, as far as they are known."""
        try:
            times = parse_json((self.folder / TIMES).read_text(encoding="utf-8"))
            seconds = [float(value) for value in times["seconds"]][:epochs]
            return seconds + [math.nan] * (epochs - len(seconds)), float(times["epoch so far"])
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return [math.nan] * epochs, 0.0
