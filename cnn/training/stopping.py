"""Callbacks that stop training: EarlyStopping, StopAt, TimeBudget; and the lookup of the metrics that they watch."""

import math
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnn.core.checks import integer
from cnn.core.explain import explain_init
from cnn.module import Array
from cnn.optim.shared import at_least_zero, non_default_settings, short_repr
from cnn.training.content import arrays_by_name, has_keys, real, whole
from cnn.training.history import History

if TYPE_CHECKING:
    from cnn.training.step import Step

METRICS = [field.name for field in fields(History) if field.name.endswith(("loss", "accuracy"))]


def is_first_step(step: "Step") -> bool:
    """Whether this is the first step of a training run."""
    return step.epoch == 1 and step.step == 1


def check_metric(name: Any) -> str:
    """Return the name of a metric to watch, or raise an error that lists the valid names, before training starts."""
    if name not in METRICS:
        raise ValueError(f"monitor must be one of {', '.join(METRICS)}, got {short_repr(name)}")
    return str(name)


def metric_of(step: "Step", name: str) -> float:
    """Return a metric of the epoch that ends with this step; nan only if training diverged.

    Raises
    ------
    ValueError
        If it is not measured.
    """
    metrics = step.metrics or {}
    if name not in metrics:
        raise ValueError(f"{name} is not measured: the metrics of this training run are {', '.join(metrics)}")
    metric = float(metrics[name])
    if not math.isnan(metric):
        return metric
    no_validation = all(math.isnan(value) for other, value in metrics.items() if other.startswith("val_"))
    has_classes = not math.isnan(metrics.get("train_accuracy", math.nan))
    if name.startswith("val_") and no_validation and (has_classes or step.epoch == 1):
        raise ValueError(
            f"{name} is nan because there is no validation data, or all its labels are ignored: pass "
            f"validation_data=(x_val, y_val), or watch {name.replace('val_', 'train_')}"
        )
    if name.endswith("accuracy"):
        raise ValueError(f"{name} is nan because the targets are not classes: watch {name.replace('accuracy', 'loss')}")
    return metric


@explain_init
class EarlyStopping:
    """Early stopping: stop training when a metric stops improving, and restore the weights of the best epoch.

    The weights are restored however training ends, except by an exception or if the caller leaves the loop: then call
    ``model.load_state_dict(stopping.weights)``. The optimizer keeps the state of the last step.

    Parameters
    ----------
    patience : int
        Stop after this many epochs in a row without an improvement; at least 1.
    monitor : {"val_loss", "val_accuracy", "train_loss", "train_accuracy"}
        A loss improves by falling, an accuracy by rising; nan and infinity are never an improvement.
    min_delta : float
        Only a change by more than this counts as an improvement; at least 0.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int or None
        Its epoch, from 1.
    waited : int
        Number of epochs since then.
    weights : dict of str to ndarray
        All parameters and buffers after that epoch, by their names in the model.

    Raises
    ------
    ValueError
        If an argument is wrong, or after the first epoch if the metric is not measured.

    Source
    ------
    Goodfellow, Bengio and Courville 2016, Deep Learning, section 7.8, algorithm 7.1 with n = 1 epoch.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from cnn.layers import Linear
    >>> model, stopping = Linear(1, 1, rng=0), EarlyStopping(patience=2)
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45, 0.6], start=1):  # as the training loop does
    ...     model.weight.data = [[epoch]]
    ...     step = SimpleNamespace(epoch=epoch, step=1, metrics={"val_loss": loss}, model=model)
    ...     if stopping(step):
    ...         stopping.end(step)
    >>> stopping.best_epoch, stopping.best, float(model.weight.data[0, 0])
    (2, 0.4, 2.0)
    """

    first_epoch: ClassVar[int] = 1

    def __init__(self, patience: int = 5, monitor: str = "val_loss", min_delta: float = 0.0) -> None:
        self.patience = integer(patience, "patience", 1)
        self.monitor = check_metric(monitor)
        self.min_delta = at_least_zero(min_delta, "min_delta")
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self.weights: dict[str, Array] = {}

    def __repr__(self) -> str:
        state = [f"best={self.best!r}", f"best_epoch={self.best_epoch!r}"]
        return f"EarlyStopping({', '.join(non_default_settings(self) + state)})"

    def __call__(self, step: "Step") -> bool:
        if is_first_step(step):
            self._reset()
        if step.metrics is None:
            return False
        metric = metric_of(step, self.monitor)
        if self._is_better(metric):
            self.best, self.best_epoch, self.waited = metric, step.epoch, 0
            self.weights = step.model.state_dict()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def settings_text(self) -> str:
        """Return the call that makes it; a resumed training run must have the same."""
        return f"EarlyStopping({', '.join(non_default_settings(self))})"

    def watched(self) -> list[str]:
        """Return the metric that it watches."""
        return [self.monitor]

    def _is_better(self, metric: float) -> bool:
        if self.best is None or not math.isfinite(metric):
            return math.isfinite(metric)
        gain = metric - self.best if self.monitor.endswith("accuracy") else self.best - metric
        return gain > self.min_delta

    def end(self, step: "Step") -> None:
        """Restore the weights of the best epoch, if any epoch was completed."""
        if self.best_epoch is not None:
            step.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "best_epoch", "waited", "weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        has_keys(state, "state", ("best", "best_epoch", "waited", "weights"))
        waited, weights = whole(state["waited"], "waited"), arrays_by_name(state["weights"], "weights")
        best = best_epoch = None
        if state["best_epoch"] is not None:
            best, best_epoch = real(state["best"], "best"), whole(state["best_epoch"], "best_epoch", self.first_epoch)
        self.best, self.best_epoch, self.waited = best, best_epoch, waited
        self.weights = {name: np.array(array) for name, array in weights.items()}

    def check_model(self, model: Any) -> None:
        """Raise an error, before time is lost, if the weights to restore at the end do not fit the model."""
        if self.best_epoch is None:
            return
        own = {name: tensor.shape for name, tensor in model.named_tensors()}
        if {name: array.shape for name, array in self.weights.items()} != own:
            raise ValueError("weights belong to another model: resume that one")
        for name, _ in model.named_parameters():
            if not np.isfinite(self.weights[name]).all():
                raise ValueError(f"weights[{name!r}] must be finite numbers, got NaN or infinity")


class StopAt:
    """Stop training after an epoch in which every named metric reaches its target.

    Parameters
    ----------
    **metrics : float
        The targets, by the names of the metrics in `History`: a loss must fall to its target, an accuracy (a fraction)
        must rise to it.

    Raises
    ------
    ValueError
        If no metric is given, or an accuracy is above 1.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> enough = StopAt(val_accuracy=0.93)
    >>> [enough(SimpleNamespace(epoch=1, step=9, metrics={"val_accuracy": value})) for value in (0.92, 0.93)]
    [False, True]
    >>> enough
    StopAt(val_accuracy=0.93)
    """

    def __init__(self, **metrics: float) -> None:
        if not metrics:
            raise ValueError("StopAt needs a metric and its target, such as StopAt(val_accuracy=0.93)")
        self.metrics = {check_metric(name): at_least_zero(target, name) for name, target in metrics.items()}
        for name, target in self.metrics.items():
            if name.endswith("accuracy") and target > 1:
                raise ValueError(f"{name} is a fraction, at most 1, got {target!r}: for percent divide by 100")

    def __repr__(self) -> str:
        return f"StopAt({', '.join(f'{name}={target!r}' for name, target in self.metrics.items())})"

    def __call__(self, step: "Step") -> bool:
        if step.metrics is None:
            return False
        found = {name: metric_of(step, name) for name in self.metrics}
        return all(
            found[name] >= target if name.endswith("accuracy") else found[name] <= target
            for name, target in self.metrics.items()
        )

    def watched(self) -> list[str]:
        """Return the metrics that have a target."""
        return list(self.metrics)


class TimeBudget:
    """Stop training after a number of minutes, summed over resumed runs.

    It is checked after every step. Time is counted from the end of the first step and includes validation and the
    caller's own loop, but not work that was lost because the process was killed. The step at which it stops depends on
    the speed of the machine, so two runs do not end with the same bits. Its state contains the seconds, so checkpoints
    differ in some bytes, too. Changes of the system clock do not matter.

    Parameters
    ----------
    minutes : float
        Above 0.

    Attributes
    ----------
    seconds : float
        The time used so far.

    Raises
    ------
    ValueError
        If ``minutes`` is 0 or less.

    Examples
    --------
    >>> budget = TimeBudget(minutes=30)
    >>> budget.load_state_dict({"seconds": 1799.0})  # as a resume does
    >>> budget
    TimeBudget(minutes=30.0, seconds=1799.0)
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = at_least_zero(minutes, "minutes")
        if self.minutes == 0:
            raise ValueError("minutes must be above 0, got 0: there would be no time for a step")
        self.seconds = 0.0
        self._last: float | None = None

    def __repr__(self) -> str:
        return f"TimeBudget(minutes={self.minutes!r}, seconds={self.seconds!r})"

    def __call__(self, step: "Step") -> bool:
        now = time.monotonic()
        if is_first_step(step):
            self.seconds = 0.0
        elif self._last is not None:
            self.seconds += now - self._last
        self._last = now
        return self.seconds >= 60 * self.minutes

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        has_keys(state, "state", ("seconds",))
        seconds = real(state["seconds"], "seconds")
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, got {seconds}")
        self.seconds, self._last = seconds, time.monotonic()
