"""Softsign: any number becomes one between -1 and 1, slowly.

forward and backward of this class are in cnn/functional/elementwise.py: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise
from cnn.module import Array


class Softsign(Elementwise):
    """Squeeze any number between -1 and 1 as Tanh does, but come near the limits slowly, so that less saturates.

    y = x / (1 + |x|)

    The gradient is divided by (1 + |x|)².

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, section 3.3;
    numbers as torch.nn.Softsign.

    Examples
    --------
    >>> Softsign()(np.array([[-1.0, 0.0, 3.0]]))
    array([[-0.5 ,  0.  ,  0.75]])
    """

    def value(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def gradient(self, grad: Array, x: Array) -> Array:
        share = 1 / (1 + np.abs(x))  # its square may underflow to the 0 that is due; that of 1 + |x| would overflow
        return grad * (share * share)
