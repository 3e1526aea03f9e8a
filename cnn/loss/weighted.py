"""Weights for samples and classes: `SampleWeighted` is a loss with them, and `class_weighted` returns one."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from cnn.core.parameter import plain_array
from cnn.errors import InputError, ShapeError
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.loss_func import LossFunc
from cnn.loss.targets import ClassificationLoss, as_tuple
from cnn.module import Array


class SampleWeighted(LossFunc):
    """A loss in which a sample of weight 2 counts like two samples, and one of weight 0 not at all.

    L = sum over n of  w[n] l[n] / sum over n of  w[n] c[n]

    l[n] is the sum of the losses of sample n, and c[n] what it counts without weights: the number of its values or
    targets, or the sum of their class weights. With reduction="sum" nothing is divided. The gradient of each l[n] is
    multiplied by the same factor, so ``loss_func`` itself is not changed.

    Parameters
    ----------
    loss_func : LossFunc
        Must be able to return a loss for each target, reduction="none".

    Attributes
    ----------
    sample_weight : ndarray (N,)
        Of the next batch; at least 0. If all are 0, the loss and its gradient are 0.

    Shape
    -----
    As for ``loss_func``, with a sample weight for each prediction -> float.

    Source
    ------
    The weighted mean, as in sklearn.metrics.log_loss and, with weights that depend on the class only, PyTorch's
    ``weight=``.

    Examples
    --------
    >>> from cnn.loss import MSELoss
    >>> loss_func = SampleWeighted(MSELoss())
    >>> loss_func.sample_weight = np.array([3.0, 1.0])
    >>> loss_func(np.array([[1.0], [5.0]]), np.array([[0.0], [3.0]]))  # (3 * 1 + 1 * 4) / (3 + 1)
    1.75
    >>> loss_func.backward()
    array([[1.5],
           [1. ]])
    """

    def __init__(self, loss_func: LossFunc) -> None:
        super().__init__(loss_func.reduction)
        self.loss_func = loss_func
        self.sample_weight: Array | None = None
        self._each = copy.copy(loss_func)
        self._each.reduction = "none"

    def forward(self, prediction: Array, target: Any) -> float:
        """(N, K, ...), (N, ...) or (N, K, ...) -> float"""
        losses = self._each.forward(prediction, target)
        weights = self._weights(len(prediction))
        if not isinstance(losses, np.ndarray) or losses.shape[:1] != weights.shape:
            raise InputError(
                f'sample_weight needs the loss of each sample, but {self.loss_func!r} has no reduction="none": return '
                "self.reduce(losses) in its forward and self.reduce_backward(slope, grad) in its backward"
            )
        divisor = 1.0
        if self.reduction != "sum":
            divisor = self.count(prediction, np.asarray(target))
            if not isinstance(self.loss_func, ClassificationLoss):
                divisor *= losses.size / len(losses)
        by_sample = (-1, *[1] * (losses.ndim - 1))
        factor = (weights / (divisor or math.inf)).reshape(by_sample)
        self.save_for_backward(np.broadcast_to(factor, losses.shape).astype(losses.dtype))
        return float(np.sum(losses * factor, dtype=np.float64))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, K, ...)"""
        (factor,) = self.saved()
        if grad is not None:
            raise InputError("a weighted loss is one number and takes no gradient: call backward() without one")
        return self._each.backward(factor)

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array, as ``loss_func`` does."""
        return self.loss_func.check_target(target, shape)

    def count(self, prediction: Array, target: Array) -> float:
        """Return the weight of this batch in a mean over several batches: its samples, each times its weight."""
        weights = self._weights(len(prediction))
        if self.reduction == "mean" and isinstance(self.loss_func, ClassificationLoss):
            return float((weights * self.loss_func.count_each(prediction, target)).sum())
        return float(weights.sum())

    def for_logits(self) -> Self:
        """Return the same loss with from_logits=True, as `CrossEntropyLoss.for_logits` does."""
        joint = copy.copy(self)
        joint._each = self._each.for_logits()  # type: ignore[attr-defined]
        return joint

    def _weights(self, samples: int) -> Array:
        weights = self.sample_weight
        if weights is None or weights.shape != (samples,):
            shape = None if weights is None else weights.shape
            raise ShapeError(f"sample_weight must hold a number for each of {samples} predictions, got shape {shape}")
        return weights


def check_sample_weight(sample_weight: Any, samples: int) -> Array:
    """Return sample weights as float64, or raise an error unless there is a finite number of at least 0 per sample."""
    weights = plain_array(sample_weight)
    if weights.shape != (samples,):
        fix = "pass sample_weight.ravel()" if weights.shape == (samples, 1) else f"give {samples} numbers"
        raise ShapeError(f"{samples} samples need a sample_weight of shape ({samples},), got {weights.shape}: {fix}")
    if weights.dtype.kind not in "iuf":
        raise InputError(f"sample_weight must hold finite numbers of at least 0, got {weights.dtype}")
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        index = int(wrong.argmax())
        raise InputError(
            f"sample_weight must hold finite numbers of at least 0, but sample_weight[{index}] is {weights[index]}, "
            f"and {np.count_nonzero(wrong)} in all are wrong: correct them, or leave these samples out"
        )
    if not weights.any():
        raise InputError("sample_weight is 0 for all samples: there is nothing to learn from")
    return weights.astype(np.float64)


def class_weighted(loss_func: LossFunc, class_weight: Any, target: Array, outputs: tuple[int, ...]) -> LossFunc:
    """Return a copy of a loss with weights for the classes.

    For `CrossEntropyLoss` and `NLLLoss` they become its ``weight``. For the binary losses the classes are 0 (no) and 1
    (yes) of every label, and they become ``weight`` (of 0) and ``pos_weight`` (of 1, divided by that of 0).

    Parameters
    ----------
    loss_func : LossFunc
        It is not changed.
    class_weight : dict or "balanced"
        {class id: weight}; classes that are not named have weight 1. "balanced": n / (K count) for each of the K
        classes that occur among the n targets, 1 for the others; for several labels, separately for each label.
    target : ndarray
        All targets: class ids (N, ...), probabilities (N, K, ...) or labels between 0 and 1 (N, ...).
    outputs : tuple of int
        Shape of the predictions for all samples.

    Raises
    ------
    InputError
        If the loss has no classes or has weights already, or if ``class_weight`` is not of this form.

    Source
    ------
    King and Zeng 2001, Logistic regression in rare events data; "balanced" as
    sklearn.utils.class_weight.compute_class_weight.

    Examples
    --------
    >>> from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss
    >>> class_weighted(CrossEntropyLoss(), "balanced", np.array([0, 0, 0, 1]), (4, 2)).weight
    (0.6666666666666666, 2.0)
    >>> class_weighted(BCEWithLogitsLoss(), {1: 5}, np.array([[0], [1]]), (2, 1)).pos_weight
    5.0
    """
    binary = isinstance(loss_func, BinaryLoss)
    if not binary and not isinstance(loss_func, ClassificationLoss):
        raise InputError(f"class_weight needs a loss with classes, but the loss is {loss_func!r}: pass sample_weight")
    given = [name for name in ("weight", "pos_weight") if getattr(loss_func, name, None) is not None]
    if given:
        raise InputError(f"{loss_func!r} has {given[0]} already: leave out class_weight, or {given[0]}")
    classes = 2 if binary or len(outputs) < 2 else outputs[1]
    counts = _label_counts(target) if binary else _class_counts(loss_func, target, outputs)
    if isinstance(class_weight, str) and class_weight == "balanced":
        occurring = (counts > 0).sum(axis=0)
        weights = np.divide(counts.sum(axis=0), occurring * counts, out=np.ones(counts.shape), where=counts > 0)
    else:
        weights = _from_dict(class_weight, classes)
    total = counts.reshape(classes, -1) * weights.reshape(classes, -1)
    if not total.any():
        raise InputError("class_weight is 0 for all classes that occur in the targets: there is nothing to learn from")
    weighted = copy.copy(loss_func)
    if not binary:
        weighted.weight = as_tuple(weights, "class_weight")  # type: ignore[attr-defined]
        return weighted
    if not np.all(weights[0] > 0):
        raise InputError("class_weight must be above 0 for class 0: without it the model would always say yes")
    weighted.weight = as_tuple(weights[0], "class_weight")  # type: ignore[attr-defined]
    weighted.pos_weight = as_tuple(weights[1] / weights[0], "class_weight")  # type: ignore[attr-defined]
    return weighted


def _class_counts(loss_func: Any, target: Array, outputs: tuple[int, ...]) -> Array:
    """Count how often each class occurs: (N, ...) or (N, K, ...) -> (K,)"""
    if target.ndim == len(outputs):
        return np.moveaxis(target, 1, 0).reshape(outputs[1], -1).sum(axis=1, dtype=np.float64)
    return np.bincount(target[target != loss_func.ignore_index], minlength=outputs[1]).astype(np.float64)


def _label_counts(target: Array) -> Array:
    """Count the no and the yes of each label, over samples and positions: (N, K, ...) -> (2, K, 1, ...)"""
    axes = tuple(axis for axis in range(target.ndim) if axis != 1)
    yes = target.sum(axis=axes, dtype=np.float64, keepdims=True)
    yes = yes.reshape(yes.shape[1:])
    return np.stack([target.size / yes.size - yes, yes])


def _from_dict(class_weight: Any, classes: int) -> Array:
    """Return a weight for each class from {class id: weight}."""
    if not isinstance(class_weight, Mapping):
        raise InputError(f'class_weight must be "balanced" or a dict {{class id: weight}}, got {class_weight!r}')
    weights = np.ones(classes)
    for key, value in class_weight.items():
        is_id = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
        if not is_id or not 0 <= key < classes:
            raise InputError(f"class_weight must name class ids from 0 to {classes - 1}, got {key!r}")
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not 0 <= value < np.inf:
            raise InputError(f"class_weight[{key}] must be a finite number of at least 0, got {value!r}")
        weights[key] = value
    if not weights.any():
        raise InputError("class_weight is 0 for all classes: there is nothing to learn from")
    return weights
