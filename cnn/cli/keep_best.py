"""`cnn train --keep-best`: the weights of the best epoch are the result, instead of those of the last one."""

from dataclasses import replace
from typing import Any

import numpy as np

from cnn.cli.datasets import model_inputs
from cnn.core.text import printable
from cnn.errors import InputError
from cnn.metrics import class_report
from cnn.module import Array
from cnn.training import EarlyStopping, Step

BALANCED = "balanced-accuracy"
METRICS = {"accuracy": "val_accuracy", BALANCED: "val_accuracy", "loss": "val_loss"}  # and what the training calls them


class KeepBest(EarlyStopping):
    """Put the weights of the best epoch into the model at the end; training is never stopped early.

    Parameters
    ----------
    metric : str
        One of `METRICS`, measured on the validation images after each epoch.
    x, y : ndarray
        The validation images, as pixels or as features, and their classes.
    balance : bool
        Whether the loss has the weights of ``--balance``.

    Raises
    ------
    InputError
        (a ValueError) If there is no such metric.
    """

    def __init__(self, metric: str, x: Array, y: Array, balance: bool = False) -> None:
        if metric not in METRICS:
            raise InputError(f"unknown metric {printable(metric)}; known: {', '.join(METRICS)}")
        super().__init__(monitor=METRICS[metric])
        self.metric, self._x, self._y = metric, x, y
        self._inputs: Array | None = None  # the images as the model reads them
        self.name = "loss weighted by --balance" if balance and metric == "loss" else metric

    def __repr__(self) -> str:
        return f"KeepBest({self.metric!r}, best={self.best!r}, best_epoch={self.best_epoch!r})"

    def settings_text(self) -> str:
        """Return the call that makes it; a resumed training run must have the same."""
        return f"KeepBest({self.metric!r})"

    def __call__(self, step: Step) -> bool:
        """Keep the weights if the epoch that ends with this step is the best so far."""
        if step.metrics is not None and self.metric == BALANCED:
            if self._inputs is None:
                self._inputs = model_inputs(step.model, self._x)
            accuracy = balanced_accuracy(self._y, step.model.predict(self._inputs))
            step = replace(step, metrics=step.metrics | {"val_accuracy": accuracy})
        super().__call__(step)
        return False

    def text(self, has_test: bool) -> str:
        """Return which epoch was the best, for people; without test images the choice flatters its accuracy."""
        kept = f"the weights are those of epoch {self.best_epoch}, with the best validation {self.name} {self.best:.4f}"
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
