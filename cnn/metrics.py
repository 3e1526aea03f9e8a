"""How good predicted classes are: which is taken for which, a report of every class, and how sure an accuracy is."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import plain_array
from cnn.errors import InputError, ShapeError
from cnn.model.summary import Table
from cnn.module import Array


def confusion_matrix(y_true: Any, y_pred: Any, classes: int) -> Array:
    """Count which class is taken for which.

    Parameters
    ----------
    y_true, y_pred : array_like of int
        True and predicted class ids from 0 to ``classes - 1``, in arrays of one shape: (N,), or one a place.
    classes : int
        K, how many classes there are; at least 1.

    Returns
    -------
    ndarray of int64, shape (K, K)
        Row i, column j: how often class i was taken for class j. The diagonal is what is right.

    Raises
    ------
    ShapeError
        If the shapes differ, or there is nothing to count.
    InputError
        If a label is no integer or no id of a class.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 1], [0, 1, 1, 0], classes=2)
    array([[1, 0],
           [1, 2]])
    """
    classes = integer(classes, "classes", 1)
    true, said = _ids(y_true, "y_true", classes), _ids(y_pred, "y_pred", classes)
    if true.shape != said.shape:
        raise ShapeError(f"y_true and y_pred must have one shape, got {true.shape} and {said.shape}")
    counts = np.bincount(true.ravel() * classes + said.ravel(), minlength=classes * classes)
    return counts.astype(np.int64).reshape(classes, classes)


def _ids(labels: Any, name: str, classes: int) -> Array:
    """Return class ids as int64, or raise an error that names the fix."""
    ids = plain_array(labels)
    if ids.size == 0:
        raise ShapeError(f"{name} is empty, shape {ids.shape}: there is nothing to count")
    if ids.dtype.kind not in "iu":
        fix = f"pass {name}.astype(np.int64)"
        if ids.dtype.kind == "f" and ids.ndim > 1:
            fix = f"of probabilities or one-hot rows, pass {name}.argmax(axis=1)"
        elif ids.dtype.kind in "OSU":
            fix = f"pass ids: names, ids = np.unique({name}, return_inverse=True)"
        raise InputError(f"{name} must hold integers, the ids of classes, got {ids.dtype}: {fix}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= classes:
        fix = "leave out the samples that are not to count" if low < 0 else f"give {high + 1} classes or more"
        raise InputError(
            f"{name} must lie between 0 and {classes - 1} for {classes} classes, got {low} to {high}: {fix}"
        )
    return ids.astype(np.int64, copy=False)


class ClassReport(Table):
    """A table of precision, recall and F1 of every class; `class_report` makes it.

    ``print`` shows it as text; a notebook as HTML.

    Attributes
    ----------
    class_names : list of str
        K of them.
    matrix : ndarray of int64, shape (K, K)
        The confusion matrix.
    precision, recall, f1 : ndarray of float64, shape (K,)
        Fractions, 0 to 1; nan where there is nothing to divide by.
    count : ndarray of int64, shape (K,)
        How many samples of each class there are.
    macro : dict of str to float
        The mean of "precision", "recall" and "f1" over the classes for which it is defined; nan if there is none.
    """

    headings = ("class", "precision", "recall", "F1", "count")
    left = 1

    def __init__(self, matrix: Array, class_names: Sequence[str]) -> None:
        self.matrix, self.class_names = matrix, list(class_names)
        right, said = np.diagonal(matrix), matrix.sum(axis=0)
        self.count = matrix.sum(axis=1)
        self.precision = _share(right, said)
        self.recall = _share(right, self.count)
        self.f1 = _share(2 * right, self.count + said)
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        self.macro = {name: _mean(values) for name, values in columns.items()}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's texts, row by row, the mean over the classes last."""
        columns = (self.precision, self.recall, self.f1)
        rows = [
            (name, *(_text(column[k]) for column in columns), f"{self.count[k]:,}")
            for k, name in enumerate(self.class_names)
        ]
        return [*rows, ("mean", *map(_text, self.macro.values()), f"{self.count.sum():,}")]

    def notes(self) -> str:
        """Return what the metrics mean."""
        right, count = int(np.trace(self.matrix)), int(self.matrix.sum())
        low, high = accuracy_interval(right, count)
        undefined = any(np.isnan(column).any() for column in (self.precision, self.recall, self.f1))
        return (
            f"Accuracy {100 * right / count:.1f} % ({right:,} of {count:,}; the 95 % interval is {100 * low:.1f} to "
            f"{100 * high:.1f} %). Each class counts the same in the mean."
            + (' "-": there is nothing to divide by.' if undefined else "")
        )


def class_report(y_true: Any, y_pred: Any, class_names: Sequence[str]) -> ClassReport:
    """Make a table of precision, recall, F1 and count of every class, and of their means.

    precision = right / predicted,  recall = right / count,  F1 = 2 right / (predicted + count)

    Of one class, ``predicted`` is how often it was said and ``right`` how often rightly. F1 is the harmonic mean. Where
    there is nothing to divide by, a figure is nan, and "-" in the table.

    Parameters
    ----------
    y_true, y_pred : array_like of int
        True and predicted class ids, in arrays of one shape: (N,), or one a place.
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
        If a label is no integer or has no name.

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
    Accuracy 75.0 % (3 of 4; the 95 % interval is 30.1 to 95.4 %). Each class counts the same in the mean. "-": there is
    nothing to divide by.
    """
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise InputError(f"class_names must be a list of texts, one for each class, got {class_names!r}")
    return ClassReport(confusion_matrix(y_true, y_pred, len(class_names)), class_names)


def _share(part: Array, whole: Array) -> Array:
    """Divide, nan where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _text(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.3f}"


def accuracy_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return between which two numbers the accuracy lies that a set of endless samples would give.

    All p are in it for which ``right`` of ``count`` is no surprise: |right / count - p| <= z sqrt(p (1 - p) / count),
    where z is how many standard deviations a normal number stays within with probability ``confidence``. Solved for p:

    (q + z² / 2n ± z sqrt(q (1 - q) / n + z² / 4n²)) / (1 + z² / n),  q = right / n,  n = count

    Two models whose intervals overlap much may be equally good. It takes the samples as independent of each other and
    of the training; what another seed would change is not in it.

    Parameters
    ----------
    right, count : int
        How many predictions are right, and of how many; 0 <= right <= count, count at least 1.
    confidence : float
        Above 0 and below 1: how often the interval of such a set has the accuracy in it.

    Returns
    -------
    low, high : float
        Fractions. low is exactly 0 if nothing is right, high exactly 1 if all is.

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
    right = integer(right, "right", 0)
    if right > count:
        raise InputError(f"right must be at most count, got {right} of {count}: pass accuracy_interval(right, count)")
    number = isinstance(confidence, (int, float, np.number)) and not isinstance(confidence, bool)
    if not (number and 0 < confidence < 1):
        raise InputError(f"confidence must be a number between 0 and 1, such as 0.95, got {confidence!r}")
    z2 = NormalDist().inv_cdf((1 - confidence) / 2) ** 2
    q = right / count
    middle = q + z2 / (2 * count)
    half = math.sqrt(z2 * q * (1 - q) / count + z2 * z2 / (4 * count * count))
    low, high = ((middle + side * half) / (1 + z2 / count) for side in (-1, 1))
    # q lies between the two, and rounding must not put it outside; at the ends the formula gives q itself
    return (0.0 if right == 0 else min(low, q)), (1.0 if right == count else max(high, q))
