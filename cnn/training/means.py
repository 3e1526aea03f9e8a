"""Mean loss and accuracy over several batches, as if they were one batch."""

import math
from typing import Any

import numpy as np

from cnn.loss.targets import ClassificationLoss
from cnn.module import Array

MAX_PENDING, MAX_PENDING_NUMBERS = 64, 20_000  # batches, and numbers in their outputs, before they are evaluated


def correct_answers(loss_func: Any, outputs: Array, target: Array) -> tuple[Array, Array | None] | None:
    """Return which predicted classes are correct, and which count: one answer per sample, or one per position.

    Parameters
    ----------
    loss_func : LossFunc
        A classification loss may ignore some targets.
    outputs : ndarray
        (N, K, ...): the class with the largest score counts as predicted, so logits work as well as probabilities.
    target : ndarray
        Class ids (N, ...), or for a classification loss probabilities of the shape of the outputs.

    Returns
    -------
    pair of ndarray, or None
        Masks (N, ...); the second is None if all answers count. None if the targets are not classes.
    """
    is_classification = isinstance(loss_func, ClassificationLoss)
    if is_classification and target.ndim == outputs.ndim:
        target = target.argmax(axis=1)
    if outputs.ndim < 2 or target.shape != (len(outputs), *outputs.shape[2:]) or target.dtype.kind not in "iu":
        return None
    correct = outputs.argmax(axis=1) == target
    counted = target != loss_func.ignore_index if is_classification else None
    return (correct, None) if counted is None or counted.all() else (correct & counted, counted)


class PendingBatches:
    """Some consecutive batches, whose correct answers are counted together.

    Counting them for each small batch separately would take a noticeable part of the time of a training step. So the
    batches are stored here until a mean is needed, or until there are many.

    Parameters
    ----------
    before : list of float
        The sums over all batches before these: losses, weights of the losses, correct answers, answers.
    """

    def __init__(self, before: list[float]) -> None:
        self.before = before
        self.losses: list[float] = []
        self.outputs: list[Array] = []
        self.targets: list[Array] = []
        self.size = 0
        self._sums: list[float] | None = None  # over all batches, once they are computed

    @property
    def is_final(self) -> bool:
        """Whether the sums have been computed; after that no batch may be added."""
        return self._sums is not None

    def final_sums(self, loss_func: Any) -> list[float]:
        """Return the sums over all batches so far, and make them final."""
        if self._sums is None:
            self._sums = self.sums(loss_func, len(self.losses))
        return self._sums

    def sums(self, loss_func: Any, number: int) -> list[float]:
        """Return the sums over all batches up to this number, counted from 1."""
        pairs = list(zip(self.outputs[:number], self.targets[:number], strict=True))
        outputs, targets = self.outputs[:number], self.targets[:number]
        same_shape = number > 1 and outputs[0].ndim == 2 and len({(x.shape[1:], y.shape[1:]) for x, y in pairs}) == 1
        if same_shape:  # count the answers of all batches in one call
            pairs = [(np.concatenate(outputs), np.concatenate(targets))]
        losses, weight, correct, answers = self.before
        for output, target in pairs:
            found = correct_answers(loss_func, output, target)
            if found is None:
                correct, answers = math.nan, answers + len(output)
            else:
                mask, counted = found
                correct += int(np.count_nonzero(mask))
                answers += mask.size if counted is None else int(np.count_nonzero(counted))
            all_count = found is not None and counted is None
        is_sum = loss_func.reduction == "sum"
        is_plain = same_shape and all_count and getattr(loss_func, "weight", 0) is None  # then each id has weight 1
        for loss, output, target in zip(self.losses, outputs, targets, strict=False):
            count = len(output) if is_sum or is_plain else loss_func.count(output, target)
            losses, weight = losses + (loss if is_sum else loss * count), weight + count
        return [losses, weight, correct, answers]


class Means:
    """The mean loss and accuracy so far. Losses are added in double precision.

    Attributes
    ----------
    sums : list of float
        Losses, weights of the losses, correct answers, answers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._group = PendingBatches([0.0, 0.0, 0.0, 0.0])

    def add(self, loss: float, outputs: Array, target: Array) -> tuple[PendingBatches, int]:
        """Add a batch. A mean loss is weighted by what it is a mean over; a loss that is a sum is added unchanged.

        ``outputs`` are the input of the loss. Returns the group that the batch is in, and its number there.
        """
        group = self._group
        if len(group.losses) == MAX_PENDING or group.size > MAX_PENDING_NUMBERS or group.is_final:
            group = self._group = PendingBatches(group.final_sums(self._model.loss_func))
        group.losses.append(loss)
        group.outputs.append(outputs)
        group.targets.append(target)
        group.size += outputs.size
        return group, len(group.losses)

    @property
    def sums(self) -> list[float]:
        return self._group.final_sums(self._model.loss_func) if self._group.losses else self._group.before

    @sums.setter
    def sums(self, sums: list[float]) -> None:
        self._group = PendingBatches(sums)

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
