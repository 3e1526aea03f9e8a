"""Classes of very different sizes: what `cnn train` says about them, before and after training."""

import textwrap
from collections.abc import Sequence

import numpy as np

from cnn.core.text import printable
from cnn.data.class_folders import shortened
from cnn.metrics import ClassReport
from cnn.module import Array

# The largest class has at least this many times the images of the smallest: of two such classes, always guessing the
# larger one is correct for three quarters of the images, which looks like a good accuracy
UNEVEN = 3
LOW_RECALL = 0.5  # of a class: more of its images are predicted wrongly than correctly
CLASSES_SHOWN = 5


def is_uneven(labels: Array, classes: int) -> bool:
    """Return whether some classes have far fewer training images than others.

    Examples
    --------
    >>> is_uneven(np.array([0, 0, 0, 1]), 2), is_uneven(np.array([0, 0, 1]), 2)
    (True, False)
    """
    counts = np.bincount(labels, minlength=classes)
    return bool(counts.max() >= UNEVEN * counts.min())


def uneven_note(labels: Array, class_names: Sequence[str], balance: bool) -> str:
    """Return which classes are rare, and what to do; "" if none is.

    Examples
    --------
    >>> uneven_note(np.array([0, 0, 0, 0, 1]), ["cat", "dog"], balance=False)
    'uneven classes: the largest, cat, has 4 training images, but dog 1. Rare classes are easily overlooked: add
    images of them, or give --balance'
    """
    if not is_uneven(labels, len(class_names)):
        return ""
    counts = np.bincount(labels, minlength=len(class_names))
    largest = int(counts.argmax())
    rare = [k for k in np.argsort(counts, kind="stable") if counts[largest] >= UNEVEN * counts[k]]
    listed = shortened([f"{printable(class_names[k])} {counts[k]:,}" for k in rare], CLASSES_SHOWN)
    start = f"uneven classes: the largest, {printable(class_names[largest])}, has {counts[largest]:,} training images"
    if balance:
        return f"{start}, but {listed}: their errors count more (--balance), also in the losses of the epochs"
    return f"{start}, but {listed}. Rare classes are easily overlooked: add images of them, or give --balance"


def low_recall_note(report: ClassReport, can_balance: bool) -> str:
    """Return which classes are recognised in less than half of their images, and what to do; "" if there are none.

    Examples
    --------
    >>> from cnn.metrics import class_report
    >>> print(low_recall_note(class_report([0, 0, 1, 1, 1], [0, 0, 0, 0, 1], ["cat", "dog"]), can_balance=True))
    seldom recognised: dog (1 of 3). Add images of this class, or train with
    --balance.
    """
    low = [k for k in np.argsort(report.recall, kind="stable") if report.recall[k] < LOW_RECALL]
    if not low:
        return ""
    correct = np.diagonal(report.matrix)
    listed = shortened(
        [f"{printable(report.names[k])} ({correct[k]:,} of {report.count[k]:,})" for k in low], CLASSES_SHOWN
    )
    which = "this class" if len(low) == 1 else "these classes"
    more = ", or train with --balance" if can_balance else ""
    return textwrap.fill(f"seldom recognised: {listed}. Add images of {which}{more}.", 80)
