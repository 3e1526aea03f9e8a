"""Hardsigmoid and Hardswish: piecewise lines and parabolas instead of exponentials.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x). A class
with a method `keep` passes the output of `keep` to gradient instead of x.
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, gate
from cnn.module import Array


def hardsigmoid(x: Array) -> Array:
    """0 up to -3, 1 from 3 on, and linear between."""
    return np.clip(x / 6 + 0.5, 0, 1)


class Hardsigmoid(Elementwise):
    """A piecewise linear sigmoid: 0 up to -3, 1 from 3 on, and linear between.

    y = min(max(x + 3, 0), 6) / 6

    Between -3 and 3 the gradient is divided by 6; elsewhere, including at -3 and 3, it is zero.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Courbariaux, Bengio and David 2015, BinaryConnect, arXiv 1511.00363, section 2.2 (linear from -1 to 1); numbers as
    in torch.nn.Hardsigmoid.

    Examples
    --------
    >>> Hardsigmoid()(np.array([[-4.0, 0.0, 1.5, 4.0]]))
    array([[0.  , 0.5 , 0.75, 1.  ]])
    """

    def value(self, x: Array) -> Array:
        return hardsigmoid(x)

    def gradient(self, grad: Array, flat: Array) -> Array:
        return gate(grad, flat) / 6

    def keep(self, x: Array, y: Array) -> Array:
        return ~(np.abs(x) < 3)  # also True where x is NaN


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
