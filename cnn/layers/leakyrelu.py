"""LeakyReLU: negative values become small.

forward and backward of this class are in functional/elementwise.py: y = value(x), dL/dx = gradient(g, x). (Where there is a
`keep`, gradient gets what that returns instead of x.)
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, real
from cnn.module import Array


class LeakyReLU(Elementwise):
    """Let positive values through and a little of negative ones, so that no unit is ever without a gradient.

    y = x where x > 0, else negative_slope x

    The gradient passes where x > 0; elsewhere, at 0 as well, it is multiplied by negative_slope.

    Parameters
    ----------
    negative_slope : float
        What negative values are multiplied by.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network acoustic models; numbers as
    torch.nn.LeakyReLU.

    Examples
    --------
    >>> LeakyReLU(0.25)(np.array([[-1.0, 2.0]], np.float32))
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = real(negative_slope, "negative_slope")

    def value(self, x: Array) -> Array:
        return np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)

    def gradient(self, grad: Array, positive: Array) -> Array:
        slope = grad.dtype.type(self.negative_slope)
        return grad * (positive + slope * ~positive)

    def keep(self, x: Array, y: Array) -> Array:
        return x > 0
