"""Softplus: a ReLU with a round corner.

forward and backward of this class are in cnn/functional/elementwise.py: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, real, sigmoid
from cnn.module import Array


class Softplus(Elementwise):
    """A ReLU with a round corner: always positive, which a variance or a rate must be.

    y = log(1 + exp(beta x)) / beta, and y = x where beta x > threshold

    The gradient is multiplied by the sigmoid of beta x, and passes above the threshold.

    Parameters
    ----------
    beta : float
        How sharp the corner is, larger than 0.
    threshold : float
        From where on y is x itself, larger than 0; at 20 the two are already closer than 1e-8.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Dugas, Bengio, Bélisle, Nadeau and Garcia 2001, Incorporating second-order functional knowledge for better option
    pricing; numbers as torch.nn.Softplus.

    Examples
    --------
    >>> Softplus()(np.array([[-np.inf, 0.0, 30.0]]))
    array([[ 0.        ,  0.69314718, 30.        ]])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = real(beta, "beta", above=0)
        self.threshold = real(threshold, "threshold", above=0)

    def value(self, x: Array) -> Array:
        rounding = np.log1p(np.exp(-self.beta * np.abs(x))) / self.beta  # what the round corner adds to max(x, 0)
        return np.maximum(x, 0) + rounding * (self.beta * x <= self.threshold)

    def gradient(self, grad: Array, x: Array) -> Array:
        straight = self.beta * x > self.threshold
        return grad * (straight + sigmoid(self.beta * x) * ~straight)
