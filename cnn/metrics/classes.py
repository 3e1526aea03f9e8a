"""Metrics of classes: the confusion matrix, and a report with a row for each class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import plain_array
from cnn.core.text import printable
from cnn.errors import InputError, ShapeError
from cnn.metrics.interval import accuracy_interval
from cnn.model.summary import Table
from cnn.module import Array


def confusion_matrix(y_true: Any, y_pred: Any, classes: int) -> Array:
    """Count how often each class is predicted as each class.

    Parameters
    ----------
    y_true, y_pred : array_like of int or bool
        True and predicted class ids from 0 to ``classes - 1``, in arrays of the same shape: (N,), or (N, ...). False
        is class 0, and True is class 1.
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
    if ids.dtype == bool:  # no and yes
        ids = ids.astype(np.int64)
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


class Report(Table):
    """A table with precision, recall and F1 in each row: the base of `ClassReport` and `LabelReport`."""

    headings: tuple[str, ...] = ("class", "precision", "recall", "F1", "count")
    text_columns = 1

    def __init__(self, names: Sequence[str], correct: Array, predicted: Array, count: Array) -> None:
        self.names, self.count = list(names), count
        self.precision = _divide(correct, predicted)
        self.recall = _divide(correct, count)
        self.f1 = _divide(2 * correct, count + predicted)
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        self.macro = {name: _mean(values) for name, values in columns.items()}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the text of each cell, row by row; the last row has the means over the classes."""
        columns = (self.precision, self.recall, self.f1)
        rows = [
            (printable(name), *(_format(column[k]) for column in columns), f"{self.count[k]:,}")
            for k, name in enumerate(self.names)
        ]
        return [*rows, ("mean", *map(_format, self.macro.values()), f"{self.count.sum():,}")]

    def undefined(self) -> str:
        """Return an explanation of "-", if there is any in the table."""
        undefined = any(np.isnan(column).any() for column in (self.precision, self.recall, self.f1))
        return ' "-": undefined, the denominator is 0.' if undefined else ""


class ClassReport(Report):
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

    def __init__(self, matrix: Array, class_names: Sequence[str]) -> None:
        super().__init__(class_names, np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1))
        self.matrix, self.class_names = matrix, self.names

    def notes(self) -> str:
        """Return the text below the table: the accuracy, its confidence interval, and how to read the table."""
        correct, count = int(np.trace(self.matrix)), int(self.matrix.sum())
        low, high = accuracy_interval(correct, count)
        return (
            f"Accuracy {100 * correct / count:.1f} % ({correct:,} of {count:,}; the 95 % interval is {100 * low:.1f} "
            f"to {100 * high:.1f} %). Each class counts the same in the mean.{self.undefined()}"
        )


def class_report(y_true: Any, y_pred: Any, class_names: Sequence[str]) -> ClassReport:
    """Return a table with precision, recall, F1 and count of every class, and their means.

    precision = correct / predicted,  recall = correct / count,  F1 = 2 correct / (predicted + count)

    For each class, ``predicted`` is how often it was predicted, and ``correct`` how often correctly. F1 is the harmonic
    mean of precision and recall. Where the denominator is 0, a metric is nan, and "-" in the table.

    Parameters
    ----------
    y_true, y_pred : array_like of int or bool
        True and predicted class ids, in arrays of the same shape: (N,), or (N, ...). False is 0, and True is 1.
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
    check_names(class_names, "class_names")
    return ClassReport(confusion_matrix(y_true, y_pred, len(class_names)), class_names)


def check_names(names: Any, name: str) -> None:
    """Raise an error unless ``names``, the argument of that name, is a list of strings."""
    if isinstance(names, str) or not all(isinstance(each, str) for each in names):
        what = name.removesuffix("_names")
        raise InputError(f"{name} must be a list of strings, one for each {what}, got {names!r}")


def _divide(numerator: Array, denominator: Array) -> Array:
    """Divide, with nan where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)


def _mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _format(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
