"""Metrics of labels that are each 0 or 1: a confusion matrix for each, and a report with a row for each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn.core.parameter import plain_array
from cnn.errors import InputError, ShapeError
from cnn.metrics.classes import Report, check_names
from cnn.module import Array


def multilabel_confusion_matrix(y_true: Any, y_pred: Any) -> Array:
    """Count the right and wrong answers for each label.

    Parameters
    ----------
    y_true, y_pred : array_like
        True and predicted labels, 0 or 1, of any real dtype or bool, in arrays of the same shape: (N, K), or
        (N, K, ...). `Sequential.predict` returns them for a model with a binary loss.

    Returns
    -------
    ndarray of int64, shape (K, 2, 2)
        For each label [[true 0, false 1], [false 0, true 1]]: row i, column j counts label i predicted as j.

    Raises
    ------
    ShapeError
        If the shapes differ or have no axis of labels, or there is nothing to count.
    InputError
        If a label is neither 0 nor 1.

    Source
    ------
    Numbers as sklearn.metrics.multilabel_confusion_matrix.

    Examples
    --------
    >>> multilabel_confusion_matrix([[1, 0], [1, 1], [0, 0]], [[1, 0], [0, 1], [0, 1]]).tolist()
    [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    """
    true, predicted = _labels(y_true, "y_true"), _labels(y_pred, "y_pred")
    if true.shape != predicted.shape:
        raise ShapeError(f"y_true and y_pred must have the same shape, got {true.shape} and {predicted.shape}")
    counts = [np.bincount(2 * t + p, minlength=4) for t, p in zip(_by_label(true), _by_label(predicted), strict=True)]
    return np.array(counts, np.int64).reshape(-1, 2, 2)


def _by_label(labels: Array) -> Array:
    """(N, K, ...) -> (K, M)"""
    return np.moveaxis(labels, 1, 0).reshape(labels.shape[1], -1)


def _labels(values: Any, name: str) -> Array:
    """Return labels as int64, or raise an error that names the fix."""
    labels = plain_array(values)
    if labels.ndim < 2:
        raise ShapeError(f"{name} must be (N, K) with K labels, got {labels.shape}: for one label pass {name}[:, None]")
    if labels.size == 0:
        raise ShapeError(f"{name} is empty, shape {labels.shape}: there is nothing to count")
    if labels.dtype.kind not in "biuf" or not np.all((labels == 0) | (labels == 1)):
        raise InputError(f"{name} must hold labels of 0 and 1, got {labels.dtype}: pass {name} >= 0.5")
    return labels.astype(np.int64)


class LabelReport(Report):
    """A table with precision, recall and F1 of every label; `label_report` creates it.

    ``print`` shows it as text, a notebook as HTML.

    Attributes
    ----------
    label_names : list of str
        K names.
    matrix : ndarray of int64, shape (K, 2, 2)
        The confusion matrix of each label.
    precision, recall, f1 : ndarray of float64, shape (K,)
        Fractions, 0 to 1; nan where the denominator is 0.
    count : ndarray of int64, shape (K,)
        How often each label is 1.
    macro : dict of str to float
        The means of "precision", "recall" and "f1" over the labels for which they are defined; nan if there are none.
    """

    headings = ("label", "precision", "recall", "F1", "count")

    def __init__(self, matrix: Array, label_names: Sequence[str]) -> None:
        super().__init__(label_names, matrix[:, 1, 1], matrix[:, :, 1].sum(axis=1), matrix[:, 1].sum(axis=1))
        self.matrix, self.label_names = matrix, self.names

    def notes(self) -> str:
        """Return the text below the table: the accuracy, and how to read the table."""
        correct, answers = int(self.matrix.trace(axis1=1, axis2=2).sum()), int(self.matrix.sum())
        return (
            f"Accuracy {100 * correct / answers:.1f} % ({correct:,} of {answers:,} answers, over samples and labels). "
            f"The count is how often a label is 1. Each label counts the same in the mean.{self.undefined()}"
        )


def label_report(y_true: Any, y_pred: Any, label_names: Sequence[str]) -> LabelReport:
    """Return a table with precision, recall, F1 and count of every label, and their means.

    They are those of `class_report` for the answer 1, separately for each label.

    Parameters
    ----------
    y_true, y_pred : array_like
        True and predicted labels, 0 or 1, in arrays of the same shape: (N, K), or (N, K, ...).
    label_names : sequence of str
        K names, in order.

    Returns
    -------
    LabelReport

    Raises
    ------
    ShapeError
        If the shapes differ, or do not fit the names.
    InputError
        If a label is neither 0 nor 1.

    Source
    ------
    Numbers as sklearn.metrics.classification_report for several labels, with zero_division=nan.

    Examples
    --------
    >>> label_report([[1, 0], [1, 1], [0, 0]], [[1, 0], [0, 1], [0, 1]], ["sun", "sea"])
    label  precision  recall     F1  count
    --------------------------------------
    sun        1.000   0.500  0.667      2
    sea        0.500   1.000  0.667      1
    --------------------------------------
    mean       0.750   0.750  0.667      3
    Accuracy 66.7 % (4 of 6 answers, over samples and labels). The count is how often a label is 1. Each label counts
    the same in the mean.
    """
    check_names(label_names, "label_names")
    matrix = multilabel_confusion_matrix(y_true, y_pred)
    if len(matrix) != len(label_names):
        raise ShapeError(f"label_names has {len(label_names)} names, but there are {len(matrix)} labels")
    return LabelReport(matrix, label_names)
