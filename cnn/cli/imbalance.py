"""Classes of very different sizes: what `cnn train` says about them, before and after training."""

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
    largest, rare = int(counts.argmax()), rare_classes(labels, len(class_names))
    listed = shortened([f"{printable(class_names[k])} {counts[k]:,}" for k in rare], CLASSES_SHOWN)
    start = f"uneven classes: the largest, {printable(class_names[largest])}, has {counts[largest]:,} training images"
    if balance:
        return f"{start}, but {listed}: their errors count more in training and in its loss (--balance)"
    return f"{start}, but {listed}. Rare classes are easily overlooked: add images of them, or give --balance"


def rare_classes(labels: Array, classes: int) -> list[int]:
    """Return the classes with far fewer training images than the largest, the rarest first.

    Examples
    --------
    >>> rare_classes(np.array([0, 0, 0, 0, 1, 2, 2]), 3)
    [1]
    """
    counts = np.bincount(labels, minlength=classes)
    return [int(k) for k in np.argsort(counts, kind="stable") if counts.max() >= UNEVEN * counts[k]]


def low_recall_note(report: ClassReport, labels: Array, can_balance: bool) -> str:
    """Return which classes are recognised in less than half of their images, and what to do; "" if there are none.

    More images are advised for the rare ones: for a class that has as many as the others, the reason is another.

    Parameters
    ----------
    report : ClassReport
        Of the validation or test images.
    labels : ndarray of int
        Class ids of the training images, by which a class is rare.
    can_balance : bool
        Whether the training was without ``--balance``.

    Examples
    --------
    >>> from cnn.metrics import class_report
    >>> report = class_report([0, 0, 1, 1, 1], [0, 0, 0, 0, 1], ["cat", "dog"])
    >>> print(low_recall_note(report, np.array([0, 0, 1]), can_balance=True))
    seldom recognised: dog (1 of 3)
    >>> print(low_recall_note(report, np.array([0, 0, 0, 1]), can_balance=True))
    seldom recognised: dog (1 of 3). Add images of dog, which is rare, or train with --balance
    """
    low = [k for k in np.argsort(report.recall, kind="stable") if report.recall[k] < LOW_RECALL]
    if not low:
        return ""
    correct = np.diagonal(report.matrix)
    listed = shortened(
        [f"{printable(report.names[k])} ({correct[k]:,} of {report.count[k]:,})" for k in low], CLASSES_SHOWN
    )
    rare = [printable(report.names[k]) for k in rare_classes(labels, len(report.names)) if k in low]
    if not rare:
        return f"seldom recognised: {listed}"
    which = f"{shortened(rare, CLASSES_SHOWN)}, which {'is' if len(rare) == 1 else 'are'} rare"
    more = ", or train with --balance" if can_balance else ""
    return f"seldom recognised: {listed}. Add images of {which}{more}"
