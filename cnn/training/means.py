"""Loss and accuracy over several batches, as if they were one."""

import math
from typing import Any

import numpy as np

from cnn.loss.targets import ClassificationLoss
from cnn.module import Array


def count_correct(model: Any, prediction: Array, target: Array) -> tuple[float, float]:
    """Return how many predicted classes are right, and of how many: one a sample, or in each one a place, but for
    those that the loss ignores; nan of all samples if the targets are no classes.
    """
    loss_func = model.loss_func
    if isinstance(loss_func, ClassificationLoss) and target.ndim == prediction.ndim:
        target = target.argmax(axis=1)
    if prediction.ndim < 2 or target.shape != (len(prediction), *prediction.shape[2:]) or target.dtype.kind not in "iu":
        return math.nan, len(prediction)
    right = prediction.argmax(axis=1) == target
    if not isinstance(loss_func, ClassificationLoss):
        return int(np.count_nonzero(right)), target.size
    counted = target != loss_func.ignore_index
    return int(np.count_nonzero(right & counted)), int(np.count_nonzero(counted))


class Means:
    """The means so far. Losses are added in double precision."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.sums = [0.0, 0.0, 0.0, 0.0]  # losses, what they count for, right answers, answers

    def add(self, loss: float, prediction: Array, target: Array) -> None:
        """Add a batch; its mean counts as what it is a mean of, a sum as it is."""
        loss_func = self._model.loss_func
        is_sum = loss_func.reduction == "sum"
        count = len(prediction) if is_sum else loss_func.count(prediction, target)
        right, places = count_correct(self._model, prediction, target)
        for i, part in enumerate((loss if is_sum else loss * count, count, right, places)):
            self.sums[i] += float(part)

    @property
    def loss(self) -> float:
        """The mean; of a loss that is a sum, its share of each sample."""
        losses, count, _, _ = self.sums
        return losses / count if count else math.nan

    @property
    def accuracy(self) -> float:
        """The share of what is right."""
        _, _, right, places = self.sums
        return right / places if places else math.nan
