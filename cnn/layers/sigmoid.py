"""Sigmoid and Tanh: squash any number into an interval.

The base class of Sigmoid in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx =
gradient(g, x). A class with a method `keep` passes the output of `keep` to gradient instead of x.
"""

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.functional.elementwise import Elementwise, in_blocks, sigmoid
from cnn.kernels import kernel
from cnn.module import Array


@kernel
def tanh(x: Array) -> Array:
    """Any shape -> the same."""
    return in_blocks(np.tanh, x)


@kernel
def tanh_grad(grad: Array, y: Array) -> Array:
    """The gradient times 1 - y²: any shape -> the same."""
    return in_blocks(lambda grad, y: grad * (1 - y * y), grad, y)


class Sigmoid(Elementwise):
    """Turn a score into a probability: 0 becomes one half, large scores near 1, very negative ones near 0.

    y = 1 / (1 + exp(-x))

    The slope follows from the output: the gradient is multiplied by y (1 - y), at most 1/4 and close to 0 at both ends.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors, equation 2; numbers as in
    torch.nn.Sigmoid.

    Examples
    --------
    >>> Sigmoid()(np.array([[-np.inf, 0.0, np.log(3)]]))
    array([[0.  , 0.5 , 0.75]])
    """

    def value(self, x: Array) -> Array:
        return sigmoid(x)

    def gradient(self, grad: Array, y: Array) -> Array:
        return grad * (y * (1 - y))

    def keep(self, x: Array, y: Array) -> Array:
        return y


class Tanh(Elementwise):
    """Squash any number into the interval from -1 to 1: a sigmoid that maps zero to zero.

    y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))

    The slope follows from the output: the gradient is multiplied by 1 - y², 1 at 0 and close to 0 at both ends.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.4, on why it trains faster than a sigmoid; numbers
    as in torch.nn.Tanh.

    Examples
    --------
    >>> Tanh()(np.array([[-np.inf, 0.0, np.log(2)]]))
    array([[-1. ,  0. ,  0.6]])
    """

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        y = tanh(x)
        self.save_for_backward(y, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        y, dtype = self.saved()
        check_grad(self, grad, y.shape, dtype)
        return tanh_grad(grad, y)
