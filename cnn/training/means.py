"""Mean loss and accuracy over several batches, as if they were one batch."""

import math
from typing import Any

import numpy as np

from cnn.loss import LossFunc
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.targets import ClassificationLoss
from cnn.loss.weighted import SampleWeighted
from cnn.module import Array


def count_correct(loss_func: Any, outputs: Array, target: Array) -> tuple[float, float]:
    """Return how many answers are correct, and how many count.

    An answer is the predicted class of a sample or of a position; for binary losses, the yes or no for each label.
    Each counts as much as its sample (`SampleWeighted`).

    Parameters
    ----------
    loss_func : LossFunc
        A classification loss may ignore some targets. For a binary loss, yes is a probability of at least 0.5.
    outputs : ndarray
        (N, K, ...): the class with the largest score is predicted, so logits work as well as probabilities.
    target : ndarray
        Class ids (N, ...), or for a classification loss probabilities of the shape of the outputs. For a binary loss,
        labels of that shape: 1 is yes, and so are labels between 0.5 and 1.

    Returns
    -------
    correct : int, or float with weights; nan if the targets are neither classes nor labels
    answers : int, or float with weights
    """
    weights = None
    if isinstance(loss_func, SampleWeighted):
        weights, loss_func = loss_func.sample_weight, loss_func.loss_func
    if isinstance(loss_func, BinaryLoss):
        correct = (loss_func.probabilities(outputs) >= 0.5) == (target >= 0.5)
        return _count(correct, weights), _count(np.ones_like(correct), weights) if weights is not None else correct.size
    is_classification = isinstance(loss_func, ClassificationLoss)
    if is_classification and target.ndim == outputs.ndim:
        target = target.argmax(axis=1)
    if outputs.ndim < 2 or target.shape != (len(outputs), *outputs.shape[2:]) or target.dtype.kind not in "iu":
        return math.nan, len(outputs)
    correct, answers = outputs.argmax(axis=1) == target, target.size
    if weights is not None:
        counted = target != getattr(loss_func, "ignore_index", None)
        return _count(correct & counted, weights), _count(counted, weights)
    if is_classification:
        counted = target != loss_func.ignore_index
        answers = int(np.count_nonzero(counted))
        if answers < target.size:
            correct &= counted
    return int(np.count_nonzero(correct)), answers


def _count(answers: Array, weights: Array | None) -> float:
    """Count the answers that are True, each as often as the weight of its sample says."""
    if weights is None:
        return int(np.count_nonzero(answers))
    return float(weights @ answers.reshape(len(answers), -1).sum(axis=1))


class Means:
    """The mean loss and accuracy so far. The sums are kept in double precision.

    Attributes
    ----------
    sums : list of float
        Losses, weights of the losses, correct answers, answers.
    """

    def __init__(self, model: Any, loss_func: LossFunc | None = None) -> None:
        self._model = model
        self._loss_func = loss_func  # with weights; None: the model's own
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def add(self, loss: float, outputs: Array, target: Array) -> None:
        """Add a batch. A mean loss is weighted by what it is a mean over; a loss that is a sum is added unchanged."""
        sums = self.sums
        loss_func: Any = self._loss_func or self._model.loss_func
        correct, answers = count_correct(loss_func, outputs, target)
        weight: float = len(outputs)
        if isinstance(loss_func, SampleWeighted):
            weight = loss_func.count(outputs, target)
            loss = loss if loss_func.reduction == "sum" else loss * weight
        elif loss_func.reduction != "sum":
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
