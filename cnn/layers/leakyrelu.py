"""LeakyReLU: negative values are scaled down.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x). A class
with a method `keep` passes the output of `keep` to gradient instead of x.
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, finite_float
from cnn.module import Array


class LeakyReLU(Elementwise):
    """Keep positive values and scale negative ones down, so that every unit always has a gradient.

    y = x where x > 0, else negative_slope x

    The gradient is unchanged where x > 0; elsewhere, including at 0, it is multiplied by negative_slope.

    Parameters
    ----------
    negative_slope : float
        Factor for negative values.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network acoustic models; numbers as in
    torch.nn.LeakyReLU.

    Examples
    --------
    >>> LeakyReLU(0.25)(np.array([[-1.0, 2.0]], np.float32))
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = finite_float(negative_slope, "negative_slope")

    def value(self, x: Array) -> Array:
        return np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)

    def gradient(self, grad: Array, positive: Array) -> Array:
        slope = grad.dtype.type(self.negative_slope)
        return grad * (positive + slope * ~positive)

    def keep(self, x: Array, y: Array) -> Array:
        return x > 0
