"""Mean loss and accuracy over several batches, as if they were one batch."""

import math
from typing import Any

import numpy as np

from cnn.loss.targets import ClassificationLoss
from cnn.module import Array


def count_correct(loss_func: Any, outputs: Array, target: Array) -> tuple[float, int]:
    """Return how many predicted classes are correct, and how many count: one per sample, or one per position.

    Parameters
    ----------
    loss_func : LossFunc
        A classification loss may ignore some targets.
    outputs : ndarray
        (N, K, ...): the class with the largest score is predicted, so logits work as well as probabilities.
    target : ndarray
        Class ids (N, ...), or for a classification loss probabilities of the shape of the outputs.

    Returns
    -------
    correct : int, or nan if the targets are not classes
    answers : int
    """
    is_classification = isinstance(loss_func, ClassificationLoss)
    if is_classification and target.ndim == outputs.ndim:
        target = target.argmax(axis=1)
    if outputs.ndim < 2 or target.shape != (len(outputs), *outputs.shape[2:]) or target.dtype.kind not in "iu":
        return math.nan, len(outputs)
    correct, answers = outputs.argmax(axis=1) == target, target.size
    if is_classification:
        counted = target != loss_func.ignore_index
        answers = int(np.count_nonzero(counted))
        if answers < target.size:
            correct &= counted
    return int(np.count_nonzero(correct)), answers


class Means:
    """The mean loss and accuracy so far. The sums are kept in double precision.

    Attributes
    ----------
    sums : list of float
        Losses, weights of the losses, correct answers, answers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def add(self, loss: float, outputs: Array, target: Array) -> None:
        """Add a batch. A mean loss is weighted by what it is a mean over; a loss that is a sum is added unchanged."""
        loss_func, sums = self._model.loss_func, self.sums
        correct, answers = count_correct(loss_func, outputs, target)
        weight: float = len(outputs)
        if loss_func.reduction != "sum":
            by_class = type(loss_func).count is not ClassificationLoss.count or loss_func.weight is not None
            weight = loss_func.count(outputs, target) if by_class or target.ndim == outputs.ndim else answers
            loss = loss * weight
        sums[0] += float(loss)
        sums[1] += float(weight)
        sums[2] += correct
        sums[3] += answers

    @property
    def loss(self) -> float:
        """The mean loss; for a loss that is a sum, the sum divided by the number of samples."""
        losses, weight, _, _ = self.sums
        return losses / weight if weight else math.nan

    @property
    def accuracy(self) -> float:
        """The fraction of correct answers."""
        _, _, correct, answers = self.sums
        return correct / answers if answers else math.nan
