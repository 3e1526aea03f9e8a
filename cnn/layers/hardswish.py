"""Hardsigmoid and Hardswish: three straight pieces, or parabola between lines, instead of exponentials.

forward and backward of these classes are in functional/elementwise.py: y = value(x), dL/dx = gradient(g, x). (Where there is a
`keep`, gradient gets what that returns instead of x.)
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, gate
from cnn.module import Array


def hardsigmoid(x: Array) -> Array:
    """0 up to -3, 1 from 3, a straight line between."""
    return np.clip(x / 6 + 0.5, 0, 1)


class Hardsigmoid(Elementwise):
    """A sigmoid made of straight lines: 0 up to -3, 1 from 3, and a ramp between.

    y = min(max(x + 3, 0), 6) / 6

    On the ramp the gradient is divided by 6; on both flats, at -3 and 3 as well, it is zero.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Courbariaux, Bengio and David 2015, BinaryConnect, arXiv 1511.00363, section 2.2 (with a ramp from -1 to 1); numbers
    as torch.nn.Hardsigmoid.

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
        return ~(np.abs(x) < 3)  # where x is NaN as well


class Hardswish(Elementwise):
    """SiLU with straight lines for its gate: nothing passes below -3, everything above 3, a parabola joins them.

    y = x min(max(x + 3, 0), 6) / 6

    The gradient is zero up to -3, multiplied by x / 3 + 1/2 between, and passes from 3.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Howard and others 2019, Searching for MobileNetV3, arXiv 1905.02244, section 5.2; numbers as torch.nn.Hardswish.

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
