"""Mean loss and accuracy over several batches, as if they were one batch."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnn.loss.targets import ClassificationLoss
from cnn.module import Array

MAX_PENDING, MAX_PENDING_NUMBERS = 64, 20_000  # batches, and numbers in their outputs


def correct_answers(loss_func: Any, prediction: Array, target: Array) -> tuple[Array, Array] | None:
    """Return which predicted classes are correct, and which count: one answer per sample, or one per position.

    Parameters
    ----------
    loss_func : LossFunc
        A classification loss may ignore some targets.
    prediction : ndarray
        (N, K, ...): the class with the largest score is predicted.
    target : ndarray
        Class ids (N, ...), or for a classification loss probabilities of the shape of the prediction.

    Returns
    -------
    pair of ndarray of bool, or None
        Masks (N, ...). None if the targets are not classes.
    """
    is_classification = isinstance(loss_func, ClassificationLoss)
    if is_classification and target.ndim == prediction.ndim:
        target = target.argmax(axis=1)
    if prediction.ndim < 2 or target.shape != (len(prediction), *prediction.shape[2:]) or target.dtype.kind not in "iu":
        return None
    correct = prediction.argmax(axis=1) == target
    counted = target != loss_func.ignore_index if is_classification else np.ones_like(correct)
    return correct & counted, counted


class PendingBatches:
    """Some consecutive batches, whose correct answers are counted together.

    Counting them for each small batch separately would take a noticeable part of the time of a training step. So the
    batches are stored here until a mean is needed, or until there are many; then only the sums are kept.

    Parameters
    ----------
    before : list of float
        The sums over all batches before these: losses, weights of the losses, correct answers, answers.
    loss_func : LossFunc
        It gave the losses.
    to_prediction : callable or None
        Turns the inputs of the loss into the model's outputs; None: they are the same.
    """

    def __init__(self, before: list[float], loss_func: Any, to_prediction: Callable[[Array], Array] | None) -> None:
        self.before, self.loss_func, self.to_prediction = before, loss_func, to_prediction
        self.losses: list[float] = []
        self.outputs: list[Array] = []
        self.targets: list[Array] = []
        self.size = 0
        self._sums: list[list[float]] | None = None  # up to each batch, once they are counted

    @property
    def is_final(self) -> bool:
        """Whether the batches have been counted; after that no batch may be added."""
        return self._sums is not None

    def sums(self, number: int) -> list[float]:
        """Count the batches, and return the sums up to the one of this number, from 1; 0: the sums before them."""
        if number == 0:
            return self.before
        if self._sums is None:
            outputs, targets = self.outputs, self.targets
            alike = len({(x.shape[1:], y.shape[1:], y.dtype) for x, y in zip(outputs, targets, strict=True)}) == 1
            if alike and outputs[0].ndim == 2:  # rows, which are independent of each other in all that follows
                counts = self._count(outputs, targets)
            else:
                counts = [self._count([x], [y])[0] for x, y in zip(outputs, targets, strict=True)]
            is_sum, last = self.loss_func.reduction == "sum", self.before
            self._sums = [last]
            for loss, (weight, correct, answers) in zip(self.losses, counts, strict=True):
                losses = last[0] + (loss if is_sum else loss * weight)
                last = [losses, last[1] + weight, last[2] + correct, last[3] + answers]
                self._sums.append(last)
            self.outputs, self.targets = [], []
        return self._sums[number]

    def _count(self, outputs: list[Array], targets: list[Array]) -> list[tuple[float, float, float]]:
        """Return for each batch its weight in the mean loss, the correct answers, and the answers."""
        correct: Sequence[float]
        answers: Sequence[float]
        weights: Sequence[float]
        loss_func, sizes = self.loss_func, [len(batch) for batch in outputs]
        output, target = (part[0] if len(part) == 1 else np.concatenate(part) for part in (outputs, targets))
        prediction = output if self.to_prediction is None else self.to_prediction(output)
        masks = correct_answers(loss_func, prediction, target)
        if masks is None:
            correct, answers = [math.nan] * len(sizes), sizes
        elif len(sizes) == 1:
            correct, answers = ([int(np.count_nonzero(mask))] for mask in masks)
        else:
            starts = [0, *itertools.accumulate(sizes[:-1])]
            correct, answers = (np.add.reduceat(mask, starts, dtype=np.int64).tolist() for mask in masks)
        of_ids = isinstance(loss_func, ClassificationLoss) and target.ndim < output.ndim
        if loss_func.reduction == "sum":
            weights = sizes
        elif of_ids and loss_func.weight is None and masks is not None:
            weights = answers  # each id that is not ignored counts 1
        else:
            weights = [float(loss_func.count(x, y)) for x, y in zip(outputs, targets, strict=True)]
        return list(zip(weights, correct, answers, strict=True))


class Means:
    """The mean loss and accuracy so far. Losses are added in double precision.

    Attributes
    ----------
    sums : list of float
        Losses, weights of the losses, correct answers, answers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._pending = PendingBatches([0.0, 0.0, 0.0, 0.0], None, None)

    def add(
        self, target: Array, loss: float, outputs: Array, to_prediction: Callable[[Array], Array] | None
    ) -> tuple[PendingBatches, int]:
        """Add a batch: its targets, and what `train_step` returns.

        A mean loss is weighted by what it is a mean over; a loss that is a sum is added unchanged. Returns the batches
        that are counted together with this one, and its number among them.
        """
        pending, loss_func = self._pending, self._model.loss_func
        if pending.is_final or pending.loss_func is not loss_func or pending.to_prediction is not to_prediction:
            pending = self._pending = PendingBatches(self.sums, loss_func, to_prediction)
        pending.losses.append(float(loss))
        pending.outputs.append(outputs)
        pending.targets.append(target)
        base = outputs.base  # a view keeps the whole array in memory
        pending.size += outputs.size if base is None else getattr(base, "size", outputs.size)
        number = len(pending.losses)
        if number == MAX_PENDING or pending.size > MAX_PENDING_NUMBERS:
            pending.sums(number)
        return pending, number

    @property
    def sums(self) -> list[float]:
        return self._pending.sums(len(self._pending.losses))

    @sums.setter
    def sums(self, sums: list[float]) -> None:
        self._pending = PendingBatches(sums, None, None)

    @property
    def loss(self) -> float:
        """The mean loss; for a loss that is a sum, the sum divided by the number of samples."""
        return mean_loss(self.sums)

    @property
    def accuracy(self) -> float:
        """The fraction of correct answers."""
        return accuracy(self.sums)


def mean_loss(sums: list[float]) -> float:
    """Return the mean loss from the sums of `Means`."""
    return sums[0] / sums[1] if sums[1] else math.nan


def accuracy(sums: list[float]) -> float:
    """Return the fraction of correct answers from the sums of `Means`."""
    return sums[2] / sums[3] if sums[3] else math.nan
