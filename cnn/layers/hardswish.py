"""Hardsigmoid and Hardswish: piecewise lines and parabolas instead of exponentials.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x). A class
with a method `keep` passes the output of `keep` to gradient instead of x.
"""

import math

import numpy as np

from cnn.functional.elementwise import Elementwise, finite_float, gate
from cnn.module import Array


def hardsigmoid(x: Array, width: float = 6.0, beta: float = 0.5) -> Array:
    """0, then linear over an interval of this width, then 1."""
    return np.clip(x / width + beta, 0, 1)


class Hardsigmoid(Elementwise):
    """A piecewise linear sigmoid: 0 up to -3, 1 from 3 on, and linear between.

    y = min(max(alpha x + beta, 0), 1)

    Where y is linear the gradient is multiplied by alpha; elsewhere, including at the two kinks, it is zero.

    Parameters
    ----------
    alpha, beta : float
        The slope, above 0, and the value at 0. Others than PyTorch's 1/6 and 1/2 are in use: ONNX's alpha is 0.2 if a
        file names none.

    Shape
    -----
    Any shape -> the same.

    Raises
    ------
    ValueError
        If ``alpha`` is so small that its inverse is infinite.

    Source
    ------
    Courbariaux, Bengio and David 2015, BinaryConnect, arXiv 1511.00363, section 2.2 (linear from -1 to 1); numbers as
    in torch.nn.Hardsigmoid.

    Examples
    --------
    >>> Hardsigmoid()(np.array([[-4.0, 0.0, 1.5, 4.0]]))
    array([[0.  , 0.5 , 0.75, 1.  ]])
    """

    def __init__(self, alpha: float = 1 / 6, beta: float = 0.5) -> None:
        self.alpha, self.beta = finite_float(alpha, "alpha", above=0), finite_float(beta, "beta")
        if math.isinf(1 / self.alpha):
            raise ValueError(f"alpha={alpha!r} is too small: use a larger one")

    def value(self, x: Array) -> Array:
        return hardsigmoid(x, 1 / self.alpha, self.beta)

    def gradient(self, grad: Array, flat: Array) -> Array:
        return gate(grad, flat) / (1 / self.alpha)

    def keep(self, x: Array, y: Array) -> Array:
        return ~((-self.beta / self.alpha < x) & (x < (1 - self.beta) / self.alpha))  # also True where x is NaN


class Hardswish(Elementwise):
    """SiLU with a piecewise linear gate: the output is 0 below -3, x above 3, and a parabola between.

    y = x min(max(x + 3, 0), 6) / 6

    The gradient is zero up to -3, multiplied by x / 3 + 1/2 between, and unchanged from 3 on.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Howard and others 2019, Searching for MobileNetV3, arXiv 1905.02244, section 5.2; numbers as in torch.nn.Hardswish.

    Examples
    --------
    >>> Hardswish()(np.array([[-1.5, 0.0, 1.5, 4.0]]))
    array([[-0.375,  0.   ,  1.125,  4.   ]])
    """

    def value(self, x: Array) -> Array:
        return x * hardsigmoid(x)

    def gradient(self, grad: Array, x: Array) -> Array:
        ramp = np.clip(x, -3, 3) / 6
        slope = 0.5 + ramp + ramp * (np.abs(x) < 3)  # the gate, and x times its slope
        return gate(grad, x <= -3) * slope
