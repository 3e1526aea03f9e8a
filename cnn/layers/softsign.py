"""Softsign: squash any number into the interval from -1 to 1, slowly.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise
from cnn.module import Array


class Softsign(Elementwise):
    """Squash any number into the interval from -1 to 1 as Tanh does, but more slowly, so that fewer units saturate.

    y = x / (1 + |x|)

    The gradient is divided by (1 + |x|)².

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, section 3.3;
    numbers as in torch.nn.Softsign.

    Examples
    --------
    >>> Softsign()(np.array([[-1.0, 0.0, 3.0]]))
    array([[-0.5 ,  0.  ,  0.75]])
    """

    def value(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def gradient(self, grad: Array, x: Array) -> Array:
        inverse = 1 / (1 + np.abs(x))  # its square may underflow to 0, which is right; that of 1 + |x| would overflow
        return grad * (inverse * inverse)
