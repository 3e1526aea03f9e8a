"""Loss and accuracy over several batches, as if they were one."""

import math
from typing import Any

import numpy as np

from cnn.loss.targets import ClassificationLoss
from cnn.module import Array

MAX_PENDING, MAX_PENDING_NUMBERS = 64, 20_000  # batches, and outputs in them, before they are counted


def correct_answers(loss_func: Any, outputs: Array, target: Array) -> tuple[Array, Array | None] | None:
    """Return which predicted classes are correct, and which count: one answer per sample, or one per position.

    Parameters
    ----------
    loss_func : LossFunc
        One of classes may ignore some of them.
    outputs : ndarray
        (N, K, ...): the class with the largest score counts as predicted, so logits do as well as probabilities.
    target : ndarray
        Ids (N, ...), or probabilities of the shape of the outputs for a loss of classes.

    Returns
    -------
    pair of ndarray, or None
        Masks (N, ...); the second is None if all answers count. None if the targets are not classes.
    """
    of_classes = isinstance(loss_func, ClassificationLoss)
    if of_classes and target.ndim == outputs.ndim:
        target = target.argmax(axis=1)
    if outputs.ndim < 2 or target.shape != (len(outputs), *outputs.shape[2:]) or target.dtype.kind not in "iu":
        return None
    correct = outputs.argmax(axis=1) == target
    counted = target != loss_func.ignore_index if of_classes else None
    return (correct, None) if counted is None or counted.all() else (correct & counted, counted)


class Group:
    """Some batches in a row, whose answers are counted together.

    Counting those of each small batch by itself would take as long as a part of its training step. So they wait here
    until someone asks for a mean, or until there are many.

    Parameters
    ----------
    before : list of float
        The sums over all batches before these: losses, what they count for, correct answers, answers.
    """

    def __init__(self, before: list[float]) -> None:
        self.before = before
        self.losses: list[float] = []
        self.outputs: list[Array] = []
        self.targets: list[Array] = []
        self.size = 0
        self._sums: list[float] | None = None  # after the last batch

    @property
    def is_settled(self) -> bool:
        """Whether the batches have been counted; then no batch may come to them."""
        return self._sums is not None

    def settle(self, loss_func: Any) -> list[float]:
        """Return the sums over all batches so far."""
        if self._sums is None:
            self._sums = self.sums(loss_func, len(self.losses))
        return self._sums

    def sums(self, loss_func: Any, number: int) -> list[float]:
        """Return the sums over all batches up to the one of this number, from 1."""
        pairs = list(zip(self.outputs[:number], self.targets[:number], strict=True))
        outputs, targets = self.outputs[:number], self.targets[:number]
        alike = number > 1 and outputs[0].ndim == 2 and len({(x.shape[1:], y.shape[1:]) for x, y in pairs}) == 1
        if alike:  # the answers of all batches at once
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
        is_plain = alike and all_count and getattr(loss_func, "weight", 0) is None  # then each id counts 1
        for loss, output, target in zip(self.losses, outputs, targets, strict=False):
            count = len(output) if is_sum or is_plain else loss_func.count(output, target)
            losses, weight = losses + (loss if is_sum else loss * count), weight + count
        return [losses, weight, correct, answers]


class Means:
    """The means so far. Losses are added in double precision.

    Attributes
    ----------
    sums : list of float
        Losses, what they count for, correct answers, answers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._group = Group([0.0, 0.0, 0.0, 0.0])

    def add(self, loss: float, outputs: Array, target: Array) -> tuple[Group, int]:
        """Add a batch; its mean loss counts for as much as it is a mean of, a sum as it is.

        ``outputs`` are what the loss has read. Returned are the group that the batch is in, and its number there.
        """
        group = self._group
        if len(group.losses) == MAX_PENDING or group.size > MAX_PENDING_NUMBERS or group.is_settled:
            group = self._group = Group(group.settle(self._model.loss_func))
        group.losses.append(loss)
        group.outputs.append(outputs)
        group.targets.append(target)
        group.size += outputs.size
        return group, len(group.losses)

    @property
    def sums(self) -> list[float]:
        return self._group.settle(self._model.loss_func) if self._group.losses else self._group.before

    @sums.setter
    def sums(self, sums: list[float]) -> None:
        self._group = Group(sums)

    @property
    def loss(self) -> float:
        """The mean; of a loss that is a sum, its share of each sample."""
        return mean_loss(self.sums)

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return accuracy(self.sums)


def mean_loss(sums: list[float]) -> float:
    """Return the mean loss from the sums of `Means`."""
    return sums[0] / sums[1] if sums[1] else math.nan


def accuracy(sums: list[float]) -> float:
    """Return the share of correct answers from the sums of `Means`."""
    return sums[2] / sums[3] if sums[3] else math.nan
