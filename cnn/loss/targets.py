"""The targets of losses: classes (`ClassificationLoss`) or numbers (`ElementwiseLoss`). Each error names the fix."""

import math
from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError
from cnn.functional.sums import sum_of_many
from cnn.loss.loss_func import LossFunc
from cnn.module import Array


class ClassificationLoss(LossFunc):
    """A loss over classes along axis 1, with class weights: the base of `CrossEntropyLoss` and `NLLLoss`.

    Parameters
    ----------
    weight : K numbers, optional
        The weight of each class; a mean divides by the sum of the weights.
    ignore_index : int
        Targets with this class id are ignored.
    reduction : {"mean", "sum", "none"}
        See `LossFunc`.
    """

    label_smoothing = 0.0

    def __init__(self, weight: Any, ignore_index: int, reduction: str) -> None:
        super().__init__(reduction)
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
            raise ValueError(f"ignore_index must be an integer, got {ignore_index!r}")
        self.weight = as_tuple(weight, "weight")
        if not (self.weight is None or (isinstance(self.weight, tuple) and np.ndim(self.weight) == 1)):
            raise ValueError(f"weight must be a list with one number for each class, got {weight!r}")
        self.ignore_index = int(ignore_index)

    def weighted_target(self, prediction: Array, target: Array) -> Array:
        """Return the factor of each log p[k] in the loss: (N, K, ...), (N, ...) or (N, K, ...) -> (N, K, ...)"""
        classes, by_class = prediction.shape[1], (-1, *[1] * (prediction.ndim - 2))
        ids = target if target.ndim < prediction.ndim else None
        if ids is not None:  # one-hot: probability 1 for the class with that id
            target = np.expand_dims(ids, 1) == np.arange(classes).reshape(by_class)
        q = target.astype(prediction.dtype, copy=False)
        if self.label_smoothing:
            q = q * (1 - self.label_smoothing) + self.label_smoothing / classes
        if self.weight is not None:
            q = q * np.array(self.weight, q.dtype).reshape(by_class)
        ignored = ids == self.ignore_index
        return q * ~np.expand_dims(ignored, 1) if np.any(ignored) else q

    def count(self, prediction: Array, target: Array) -> float:
        """Return the divisor of the mean: the sum of the weights of the ids not ignored, or the number of rows."""
        if target.ndim == prediction.ndim:
            return target.size / target.shape[1]
        counted = target != self.ignore_index
        if self.weight is None:
            return int(np.count_nonzero(counted))
        return float(np.array(self.weight)[target[counted]].sum())

    def count_each(self, prediction: Array, target: Array) -> Array:
        """Return the part of `count` that each sample has: (N,)"""
        rows = target.reshape(len(target), -1)
        if target.ndim == prediction.ndim:
            return np.full(len(rows), rows.shape[1] / prediction.shape[1])
        counted = rows != self.ignore_index
        if self.weight is None:
            return counted.sum(axis=1)
        return (np.array(self.weight)[np.where(counted, rows, 0)] * counted).sum(axis=1)

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array if it holds class ids, or probabilities, for predictions of this shape."""
        target, name = np.asarray(target), type(self).__name__
        if len(shape) < 2 or shape[1] == 0:
            raise ShapeError(f"{name} expects predictions (N, K) or (N, K, d1, ...) of K classes, got {shape}")
        if target.dtype == np.float16:  # too coarse for the sum of a row
            target = target.astype(np.float32)
        n, classes, *spatial = shape
        ids_shape = (n, *spatial)
        if self.weight is not None and len(self.weight) != classes:
            raise ShapeError(
                f"weight has {len(self.weight)} numbers, but predictions have {classes} classes: give {classes} numbers"
            )
        if target.dtype.kind not in "iuf":
            fix = "pass ids: names, y = np.unique(y, return_inverse=True)"
            if target.dtype == bool:
                fix = "pass y.astype(np.int64)"
            elif target.shape == () and target.item() is None:
                fix = "the labels are missing"
            raise InputError(f"labels must be integers from 0 to {classes - 1}, got {target.dtype}: {fix}")
        if target.ndim == 0 or len(target) != n:
            raise ShapeError(f"{n} samples need {n} labels, got {len(target) if target.ndim else 'a single number'}")
        if target.shape == shape and (classes > 1 or target.dtype.kind == "f"):
            sums = sum_of_many(target, 1)
            wrong = (target < 0).any(axis=1) | ~np.isclose(sums, 1, atol=1e-3)
            if wrong.any():
                index = tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
                row = f"{index[0]}{f' at {index[1:]}' if spatial else ''}"
                raise InputError(
                    f"targets {symbolic_shape(shape)} are probabilities: each row must hold no negative number and sum "
                    f"to 1, but row {row} has minimum {np.moveaxis(target, 1, -1)[index].min():.4g} and sum "
                    f"{sums[index]:.4g}"
                )
            return target
        if target.shape != ids_shape:
            raise ShapeError(
                f"expected labels {symbolic_shape(ids_shape)} or probabilities {symbolic_shape(shape)}, got "
                f"{target.shape}: {shape_fix(target.shape, shape)}"
            )
        if target.dtype.kind == "f":
            whole = np.isfinite(target).all() and bool(np.all(target == np.floor(target)))
            fix = "pass y.astype(np.int64)" if whole else "for real-valued targets use MSELoss"
            raise InputError(f"labels must be integers, got {'' if whole else 'fractional '}{target.dtype}: {fix}")
        ids = target[target != self.ignore_index]
        low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
        if low < 0 or high >= classes:
            fix = f"give the last Linear {high + 1} out_features"
            if spatial:
                fix = f"give the last Conv2d {high + 1} out_channels"
            if low < 0 or low == 1:
                fix = "number the classes from 0"
            if low < 0 or high == 255:
                fix += f", or set ignore_index={low if low < 0 else 255} if that marks targets to ignore"
            raise InputError(
                f"labels must lie between 0 and {classes - 1} for {classes} outputs, got {low} to {high}: {fix}"
            )
        return target


class ElementwiseLoss(LossFunc):
    """An element-wise loss of numbers: the base of `MSELoss`, `L1Loss`, `BCELoss` and similar losses."""

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array if it is real and finite and has the shape of the prediction."""
        target, name = np.asarray(target), type(self).__name__
        if target.dtype.kind not in "fiu":
            raise InputError(f"{name} expects targets that are real numbers, got {target.dtype}")
        if target.shape != shape:
            fix = "give the last Linear as many out_features as the target has columns"
            if target.size == np.prod(shape):
                fix = f"pass y.reshape({', '.join(str(n) for n in (-1, *shape[1:]))})"
            elif target.dtype.kind in "iu" and target.shape == (shape[0], *shape[2:]) and len(shape) > 1:
                fix = "these look like class ids: use CrossEntropyLoss"
            raise ShapeError(f"{name} expects a target of the prediction's shape {shape}, got {target.shape}: {fix}")
        if not np.isfinite(target).all():
            raise InputError(f"{name} expects finite targets, got NaN or infinity: remove or replace those samples")
        return target


def symbolic_shape(shape: tuple[int, ...]) -> str:
    """Write a shape with N for the number of samples.

    Examples
    --------
    >>> symbolic_shape((64,)), symbolic_shape((64, 10))
    ('(N,)', '(N, 10)')
    """
    return "(" + ", ".join(["N", *map(str, shape[1:])]) + ("," if len(shape) == 1 else "") + ")"


def shape_fix(target: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return the fix for a target whose shape fits predictions (N, K, ...) neither as ids nor as probabilities."""
    n, classes, *spatial = shape
    if not spatial and math.prod(target) == n:
        return "pass y.ravel()"
    if target == (n, 1, *spatial):
        return "pass y[:, 0]"
    if target == (n, *spatial, classes) and spatial:
        return "the classes belong on axis 1: pass np.moveaxis(y, -1, 1)"
    if spatial and len(target) <= 2:
        return "for one class per sample, flatten before the last Linear"
    if len(target) == len(shape) and target[2:] == tuple(spatial):
        return f"for one-hot rows the model needs {target[1]} outputs"
    return "each spatial position of the prediction needs one label"


def smoothing(fraction: Any) -> float:
    """Return ``label_smoothing`` as a float, or raise an error unless it is a number between 0 and 1."""
    number = isinstance(fraction, (int, float, np.number)) and not isinstance(fraction, bool)
    if not (number and 0 <= fraction <= 1):
        raise ValueError(f"label_smoothing must be a number between 0 and 1, got {fraction!r}")
    return float(fraction)


def as_tuple(value: Any, name: str) -> Any:
    """Return non-negative numbers as a float or as (nested) tuples of floats, which repr and model files can hold.

    Examples
    --------
    >>> as_tuple(np.array([[1], [2]]), "weight")
    ((1.0,), (2.0,))
    """

    def tuples(item: Any) -> Any:
        return tuple(tuples(part) for part in item) if isinstance(item, list) else float(item)

    if value is None:
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf" or not np.all((array >= 0) & (array < np.inf)):
        raise ValueError(f"{name} must hold finite numbers of at least 0, got {value!r}")
    return tuples(array.tolist())
