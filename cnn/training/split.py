"""validation_split: the last samples become the validation data, unless the samples are sorted by their labels."""

from typing import Any

import numpy as np

from cnn.errors import InputError
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.targets import ClassificationLoss
from cnn.module import Array


def split_off(loss_func: Any, x: Array, y: Array, split: float) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return the first samples, and a pair of the last ones, of which there are the fraction ``split``.

    Raises
    ------
    InputError
        If no sample is left for training, or the labels are sorted.
    """
    first = int(len(x) * (1 - split) + 1e-9)  # 10 (1 - 0.8) is 1.9999999999999996
    if first == 0:
        raise InputError(f"validation_split={split!r} of {len(x)} samples leaves none for training")
    if any(is_sorted(labels) for labels in _labels(loss_func, y)):
        raise InputError(
            f"validation_split takes the last {len(x) - first} samples, but the labels are sorted, so that those are "
            "of other classes than the rest: shuffle them first, order = np.random.default_rng(0).permutation(len(x)); "
            "x, y = x[order], y[order]"
        )
    return x[:first], y[:first], (x[first:], y[first:])


def _labels(loss_func: Any, y: Array) -> list[Array]:
    """Return the class ids (N,), or the yes and no (N,) of each label; nothing for masks and for other targets."""
    if isinstance(loss_func, ClassificationLoss) and y.ndim <= 2:
        ids = y if y.dtype.kind in "iu" else y.argmax(axis=1)
        return [ids[ids != loss_func.ignore_index]] if ids.ndim == 1 else []
    if isinstance(loss_func, BinaryLoss) and y.ndim <= 2:
        return list((y >= 0.5).reshape(len(y), -1).T)
    return []


def is_sorted(labels: Array) -> bool:
    """Whether each class is one block of labels (N,), and at least two classes have more than one sample.

    Examples
    --------
    >>> is_sorted(np.array([1, 1, 0, 0, 0])), is_sorted(np.array([0, 0, 0, 1])), is_sorted(np.array([0, 1, 0, 2]))
    (True, False, False)
    """
    classes, counts = np.unique(labels, return_counts=True)
    blocks = 1 + np.count_nonzero(np.diff(labels))
    return len(classes) == int(blocks) and int(np.count_nonzero(counts > 1)) > 1
