"""`cnn train --keep-best`: the weights of the best epoch are the result, instead of those of the last one."""

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from cnn.cli.datasets import model_inputs
from cnn.core.text import printable
from cnn.errors import InputError
from cnn.metrics import class_report
from cnn.module import Array
from cnn.sequential import Sequential
from cnn.training import EarlyStopping, Step
from cnn.training.content import real

BALANCED = "balanced-accuracy"
METRICS = {"accuracy": "val_accuracy", BALANCED: "val_accuracy", "loss": "val_loss"}  # and what the training calls them


class KeepBest(EarlyStopping):
    """Put the weights of the best epoch into the model at the end; training is never stopped early.

    Of epochs with the same accuracy, which are many if there are few images, the one with the lowest loss is the best.

    Parameters
    ----------
    metric : str
        One of `METRICS`, measured on the validation images after each epoch.
    x, y : ndarray
        The validation images, as pixels or as features, and their classes.

    Raises
    ------
    InputError
        (a ValueError) If there is no such metric.
    """

    first_epoch: ClassVar[int] = 0
    _before: tuple[float, float, dict[str, Array]] | None = None  # metric, loss and weights of epoch 0

    def __init__(self, metric: str, x: Array, y: Array) -> None:
        if metric not in METRICS:
            raise InputError(f"unknown metric {printable(metric)}; known: {', '.join(METRICS)}")
        super().__init__(monitor=METRICS[metric])
        self.metric, self._x, self._y = metric, x, y
        self._inputs: Array | None = None  # the images as the model reads them
        self._loss = math.nan  # on the validation images in the epoch that ends

    def start_with(self, model: Sequential) -> None:
        """Count the weights before the first epoch as those of epoch 0: they may stay the best."""
        x = self._inputs_of(model)
        self._loss, accuracy = model.evaluate(x, self._y)
        if self.metric == BALANCED:
            accuracy = balanced_accuracy(self._y, model.predict(x))
        self._before = (self._loss if self.metric == "loss" else accuracy, self._loss, model.state_dict())
        self._reset()

    def __repr__(self) -> str:
        return f"KeepBest({self.metric!r}, best={self.best!r}, best_epoch={self.best_epoch!r})"

    def settings_text(self) -> str:
        """Return the call that makes it; a resumed training run must have the same."""
        return f"KeepBest({self.metric!r})"

    def __call__(self, step: Step) -> bool:
        """Keep the weights if the epoch that ends with this step is the best so far."""
        if step.metrics is not None and self.metric == BALANCED:
            accuracy = balanced_accuracy(self._y, step.model.predict(self._inputs_of(step.model)))
            step = replace(step, metrics=step.metrics | {"val_accuracy": accuracy})
        self._loss = math.nan if step.metrics is None else step.metrics["val_loss"]
        super().__call__(step)
        return False

    def _inputs_of(self, model: Sequential) -> Array:
        if self._inputs is None:
            self._inputs = model_inputs(model, self._x)
        return self._inputs

    def _reset(self) -> None:
        super()._reset()
        self._best_loss = math.nan  # on the validation images in the best epoch
        if self._before is not None:
            self.best, self._best_loss, self.weights = self._before
            self.best_epoch = self.first_epoch

    def _is_better(self, metric: float) -> bool:
        is_better = super()._is_better(metric)
        if metric == self.best and self.metric != "loss":
            is_better = self._loss < self._best_loss
        if is_better:
            self._best_loss = self._loss if math.isfinite(self._loss) else math.inf
        return is_better

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, with the loss of the best epoch; None if it is not a number."""
        return super().state_dict() | {"best_loss": self._best_loss if math.isfinite(self._best_loss) else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; in one of an earlier version, without the loss, the first of equal epochs stays."""
        super().load_state_dict(state)
        self._best_loss = math.nan
        if "best_loss" in state:
            self._best_loss = math.inf if state["best_loss"] is None else real(state["best_loss"], "best_loss")

    def text(self, has_test: bool) -> str:
        """Return which epoch was the best, for people; without test images the choice flatters its accuracy."""
        which = f"of epoch {self.best_epoch}" if self.best_epoch else "before the upper layers were trained"
        kept = f"the weights are those {which}, with the best validation {self.metric} {self.best:.4f}"
        if has_test:
            return kept
        return f"{kept}; the accuracy on the images by which they were chosen is a little too optimistic"


def balanced_accuracy(y_true: Any, y_pred: Any) -> float:
    """Return the mean over the classes of the share of their images that are predicted correctly.

    Classes without an image do not count. Where all classes are equally large, it is the accuracy.

    Examples
    --------
    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    names = [str(k) for k in range(int(max(np.max(y_true), np.max(y_pred))) + 1)]
    return class_report(y_true, y_pred, names).macro["recall"]
