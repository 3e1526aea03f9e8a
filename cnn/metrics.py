"""Classification metrics: confusion matrix, report per class, and a confidence interval for an accuracy."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import plain_array
from cnn.core.text import printable
from cnn.errors import InputError, ShapeError
from cnn.model.summary import Table
from cnn.module import Array


def confusion_matrix(y_true: Any, y_pred: Any, classes: int) -> Array:
    """Count how often each class is predicted as each class.

    Parameters
    ----------
    y_true, y_pred : array_like of int
        True and predicted class ids from 0 to ``classes - 1``, in arrays of the same shape: (N,), or (N, ...).
    classes : int
        K, the number of classes, at least 1.

    Returns
    -------
    ndarray of int64, shape (K, K)
        Row i, column j: how often class i was predicted as class j. The diagonal counts correct predictions.

    Raises
    ------
    ShapeError
        If the shapes differ, or there is nothing to count.
    InputError
        If a label is not an integer or not a class id.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 1], [0, 1, 1, 0], classes=2)
    array([[1, 0],
           [1, 2]])
    """
    classes = integer(classes, "classes", 1)
    true, predicted = _ids(y_true, "y_true", classes), _ids(y_pred, "y_pred", classes)
    if true.shape != predicted.shape:
        raise ShapeError(f"y_true and y_pred must have the same shape, got {true.shape} and {predicted.shape}")
    counts = np.bincount(true.ravel() * classes + predicted.ravel(), minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


def _ids(labels: Any, name: str, classes: int) -> Array:
    """Return class ids as int64, or raise an error that names the fix."""
    ids = plain_array(labels)
    if ids.size == 0:
        raise ShapeError(f"{name} is empty, shape {ids.shape}: there is nothing to count")
    if ids.dtype.kind not in "iu":
        fix = f"pass {name}.astype(np.int64)"
        if ids.dtype.kind == "f" and ids.ndim > 1:
            fix = f"for probabilities or one-hot rows, pass {name}.argmax(axis=1)"
        elif ids.dtype.kind in "OSU":
            fix = f"pass ids: names, ids = np.unique({name}, return_inverse=True)"
        raise InputError(f"{name} must hold integers, the class ids, got {ids.dtype}: {fix}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= classes:
        fix = "leave out the samples to ignore" if low < 0 else f"pass {high + 1} classes or more"
        raise InputError(
            f"{name} must lie between 0 and {classes - 1} for {classes} classes, got {low} to {high}: {fix}"
        )
    return ids.astype(np.int64, copy=False)


class ClassReport(Table):
    """A table with precision, recall and F1 of every class; `class_report` creates it.

    ``print`` shows it as text, a notebook as HTML.

    Attributes
    ----------
    class_names : list of str
        K names.
    matrix : ndarray of int64, shape (K, K)
        The confusion matrix.
    precision, recall, f1 : ndarray of float64, shape (K,)
        Fractions, 0 to 1; nan where the denominator is 0.
    count : ndarray of int64, shape (K,)
        The number of samples of each class.
    macro : dict of str to float
        The means of "precision", "recall" and "f1" over the classes for which they are defined; nan if there are none.
    """

    headings = ("class", "precision", "recall", "F1", "count")
    text_columns = 1

    def __init__(self, matrix: Array, class_names: Sequence[str]) -> None:
        self.matrix, self.class_names = matrix, list(class_names)
        correct, predicted = np.diagonal(matrix), matrix.sum(axis=0)
        self.count = matrix.sum(axis=1)
        self.precision = _divide(correct, predicted)
        self.recall = _divide(correct, self.count)
        self.f1 = _divide(2 * correct, self.count + predicted)
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        self.macro = {name: _mean(values) for name, values in columns.items()}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the text of each cell, row by row; the last row has the means over the classes."""
        columns = (self.precision, self.recall, self.f1)
        rows = [
            (printable(name), *(_format(column[k]) for column in columns), f"{self.count[k]:,}")
            for k, name in enumerate(self.class_names)
        ]
        return [*rows, ("mean", *map(_format, self.macro.values()), f"{self.count.sum():,}")]

    def notes(self) -> str:
        """Return the text below the table: the accuracy, its confidence interval, and how to read the table."""
        correct, count = int(np.trace(self.matrix)), int(self.matrix.sum())
        low, high = accuracy_interval(correct, count)
        undefined = any(np.isnan(column).any() for column in (self.precision, self.recall, self.f1))
        return (
            f"Accuracy {100 * correct / count:.1f} % ({correct:,} of {count:,}; the 95 % interval is {100 * low:.1f} "
            f"to {100 * high:.1f} %). Each class counts the same in the mean."
            + (' "-": undefined, the denominator is 0.' if undefined else "")
        )


def class_report(y_true: Any, y_pred: Any, class_names: Sequence[str]) -> ClassReport:
    """Return a table with precision, recall, F1 and count of every class, and their means.

    precision = correct / predicted,  recall = correct / count,  F1 = 2 correct / (predicted + count)

    For each class, ``predicted`` is how often it was predicted, and ``correct`` how often correctly. F1 is the harmonic
    mean of precision and recall. Where the denominator is 0, a metric is nan, and "-" in the table.

    Parameters
    ----------
    y_true, y_pred : array_like of int
        True and predicted class ids, in arrays of the same shape: (N,), or (N, ...).
    class_names : sequence of str
        A name for each class id, in order.

    Returns
    -------
    ClassReport

    Raises
    ------
    ShapeError
        If the shapes differ, or there is nothing to count.
    InputError
        If a label is not an integer or has no name.

    Source
    ------
    van Rijsbergen 1979, Information Retrieval, chapter 7. Numbers as sklearn.metrics.classification_report with
    zero_division=nan.

    Examples
    --------
    >>> class_report([0, 0, 0, 1], [0, 0, 1, 1], ["cat", "dog", "owl"])
    class  precision  recall     F1  count
    --------------------------------------
    cat        1.000   0.667  0.800      3
    dog        0.500   1.000  0.667      1
    owl            -       -      -      0
    --------------------------------------
    mean       0.750   0.833  0.733      4
    Accuracy 75.0 % (3 of 4; the 95 % interval is 30.1 to 95.4 %). Each class counts the same in the mean. "-":
    undefined, the denominator is 0.
    """
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise InputError(f"class_names must be a list of strings, one for each class, got {class_names!r}")
    return ClassReport(confusion_matrix(y_true, y_pred, len(class_names)), class_names)


def _divide(numerator: Array, denominator: Array) -> Array:
    """Divide, with nan where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)


def _mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _format(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def accuracy_interval(correct: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return a confidence interval (Wilson) for the accuracy that an infinitely large test set would give.

    It contains every accuracy p that is compatible with the result: |correct / count - p| <= z sqrt(p (1 - p) / count),
    where a standard normal variable lies between -z and z with probability ``confidence``. Solved for p:

    (q + z² / 2n ± z sqrt(q (1 - q) / n + z² / 4n²)) / (1 + z² / n),  q = correct / n,  n = count

    Two models whose intervals overlap widely may be equally good. The samples are assumed to be independent of each
    other and of the training data; the variation between random seeds is not included.

    Parameters
    ----------
    correct, count : int
        The number of correct predictions and of all predictions; 0 <= correct <= count, count at least 1.
    confidence : float
        Above 0 and below 1: the probability that such an interval contains the accuracy.

    Returns
    -------
    low, high : float
        Fractions. low is exactly 0 if no prediction is correct, high exactly 1 if all are.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source
    ------
    Wilson 1927, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22.

    Examples
    --------
    >>> low, high = accuracy_interval(9234, 10_000)
    >>> print(f"{low:.4f} to {high:.4f}")
    0.9180 to 0.9285
    """
    count = integer(count, "count", 1)
    correct = integer(correct, "correct", 0)
    if correct > count:
        raise InputError(
            f"correct must be at most count, got {correct} of {count}: pass accuracy_interval(correct, count)"
        )
    number = isinstance(confidence, (int, float, np.number)) and not isinstance(confidence, bool)
    if not (number and 0 < confidence < 1):
        raise InputError(f"confidence must be a number between 0 and 1, such as 0.95, got {confidence!r}")
    z2 = NormalDist().inv_cdf((1 - confidence) / 2) ** 2
    q = correct / count
    centre = q + z2 / (2 * count)
    half = math.sqrt(z2 * q * (1 - q) / count + z2 * z2 / (4 * count * count))
    low, high = ((centre + side * half) / (1 + z2 / count) for side in (-1, 1))
    # q lies between the two, and rounding must not change that; for q = 0 and q = 1 one end is q itself
    return (0.0 if correct == 0 else min(low, q)), (1.0 if correct == count else max(high, q))
