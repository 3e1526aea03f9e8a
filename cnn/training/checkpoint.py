"""Checkpoints: the full state of a training run in one file, so that it can be resumed with bit-identical results."""

import contextlib
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

from cnn.core.checks import integer
from cnn.core.explain import explain_init
from cnn.core.files import BEST, locked, write_bytes
from cnn.core.loading import LOAD_SOME
from cnn.core.text import printable
from cnn.errors import CheckpointWarning
from cnn.module import Module
from cnn.training import state as states
from cnn.training.checkpoint_file import STEPS, TIMES, find_checkpoints, read_state, snapshot, times, write
from cnn.training.divergence import has_finite_weights
from cnn.training.history import History
from cnn.training.stopping import METRICS


@explain_init
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
        A metric, such as "val_loss" or "val_accuracy": the checkpoint of the best epoch is kept as well; `load_best`
        reads it.

    Raises
    ------
    FileExistsError
        From `train`, if the folder has checkpoints that are not resumed, or another training run is writing to it.
    ValueError
        If an argument is wrong; from `train`, if the metric of ``best`` is not measured.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
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
                    f"{printable(self.folder)} has checkpoints of another training run, such as "
                    f"{printable(existing[0].name)}: resume it "
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

    def watched(self) -> list[str]:
        """Return the metric that decides which epoch is the best, if any."""
        return [] if self.best is None else [self.best]

    def load_best(self, model: Module) -> int:
        """Put the weights of the best epoch into a model, and return the number of that epoch.

        Parameters
        ----------
        model : Module
            The model that was trained, or a new one of the same layers.

        Raises
        ------
        FileNotFoundError
            If the folder has no checkpoint of a best epoch, because ``best`` was not given.
        ValueError
            If it is damaged or of another model; in that case the model is unchanged.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from cnn import Sequential
        >>> from cnn.layers import Linear
        >>> from cnn.loss import MSELoss
        >>> from cnn.optim import SGD
        >>> model = Sequential([Linear(4, 1, rng=0)], loss_func=MSELoss(), optimizer=SGD(lr=0.1))
        >>> x = np.eye(4, dtype=np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = Checkpoint(folder, best="train_loss")
        ...     history = model.fit(x, x[:, :1], epochs=3, verbose_freq=0, callbacks=[checkpoint])
        ...     checkpoint.load_best(model)
        3
        """
        path = self.folder / BEST
        if not path.exists():
            raise FileNotFoundError(
                f"{printable(self.folder)} has no checkpoint of a best epoch: train with "
                'Checkpoint(folder, best="val_loss"), at least one epoch'
            )
        arrays, state = read_state(path)
        try:
            model.load_state_dict(states.weights(arrays))
        except ValueError as error:
            problem = str(error).partition(f"\n  {LOAD_SOME}")[0]  # the caller has no state to load some of
            raise ValueError(f"{printable(path)} is of another model: {problem}") from None
        return int(state["epoch"])

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
        if not has_finite_weights(run.model):
            return  # the next step reports it, and puts back the weights of before
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
        if not math.isfinite(last):
            return False
        return all(not sign * metric <= last for metric in metrics[:-1] if math.isfinite(metric))
