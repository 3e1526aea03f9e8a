"""Softplus: a smooth ReLU.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, finite_float, sigmoid
from cnn.module import Array


class Softplus(Elementwise):
    """A smooth ReLU: always positive, as a variance or a rate must be.

    y = log(1 + exp(beta x)) / beta, and y = x where beta x > threshold

    The gradient is multiplied by the sigmoid of beta x; above the threshold it is unchanged.

    Parameters
    ----------
    beta : float
        Sharpness of the bend at 0, larger than 0.
    threshold : float
        Value of beta x above which y is x, larger than 0; at 20 the two already differ by less than 1e-8.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Dugas, Bengio, Bélisle, Nadeau and Garcia 2001, Incorporating second-order functional knowledge for better option
    pricing; numbers as in torch.nn.Softplus.

    Examples
    --------
    >>> Softplus()(np.array([[-np.inf, 0.0, 30.0]]))
    array([[ 0.        ,  0.69314718, 30.        ]])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = finite_float(beta, "beta", above=0)
        self.threshold = finite_float(threshold, "threshold", above=0)

    def value(self, x: Array) -> Array:
        smoothing = np.log1p(np.exp(-self.beta * np.abs(x))) / self.beta  # the difference from max(x, 0)
        return np.maximum(x, 0) + smoothing * (self.beta * x <= self.threshold)

    def gradient(self, grad: Array, x: Array) -> Array:
        linear = self.beta * x > self.threshold
        return grad * (linear + sigmoid(self.beta * x) * ~linear)
