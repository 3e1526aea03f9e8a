"""Hardtanh and ReLU6: the identity between two bounds, and constant outside.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, keep(x, y)).
"""

import math
from typing import Any

import numpy as np

from cnn.functional.elementwise import Elementwise, gate
from cnn.module import Array


def hardtanh(x: Array, min_val: float, max_val: float) -> Array:
    """Any shape -> the same; NaN stays NaN."""
    return np.clip(x, min_val, max_val)


def bound(value: Any, name: str) -> float:
    """Return a bound as a float, or raise an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or math.isnan(value):
        raise ValueError(f"{name} must be a number, or infinity for no bound, got {value!r}")
    return float(value)


class Hardtanh(Elementwise):
    """Clip the values to an interval: the identity inside, the nearer bound outside.

    y = min(max(x, min_val), max_val)

    Inside the interval the slope is 1, so the gradient is unchanged; elsewhere, including at the bounds, it is zero.

    Parameters
    ----------
    min_val, max_val : float
        The bounds; infinity for none.

    Shape
    -----
    Any shape -> the same.

    Raises
    ------
    ValueError
        If ``min_val`` is not less than ``max_val``.

    Source
    ------
    Collobert 2004, Large scale machine learning, thesis, section 2.3; numbers as in torch.nn.Hardtanh.

    Examples
    --------
    >>> Hardtanh()(np.array([[-3.0, 0.5, 2.0]], np.float32))
    array([[-1. ,  0.5,  1. ]], dtype=float32)
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = bound(min_val, "min_val"), bound(max_val, "max_val")
        if not self.min_val < self.max_val:
            raise ValueError(f"min_val={min_val!r} must be less than max_val={max_val!r}: change one of them")

    def value(self, x: Array) -> Array:
        return hardtanh(x, self.min_val, self.max_val)

    def gradient(self, grad: Array, flat: Array) -> Array:
        return gate(grad, flat)

    def keep(self, x: Array, y: Array) -> Array:
        return ~((self.min_val < y) & (y < self.max_val))  # also True where y is NaN


class ReLU6(Hardtanh):
    """ReLU with the upper bound 6: values so small that few bits hold them well.

    y = min(max(x, 0), 6)

    Between 0 and 6 the gradient is unchanged; elsewhere, including at 0 and 6, it is zero.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10, section 2; Howard and others 2017, MobileNets,
    arXiv 1704.04861. Numbers as in torch.nn.ReLU6.

    Examples
    --------
    >>> ReLU6()(np.array([[-1.0, 2.0, 8.0]], np.float32))
    array([[0., 2., 6.]], dtype=float32)
    """

    def __init__(self) -> None:
        super().__init__(0.0, 6.0)
