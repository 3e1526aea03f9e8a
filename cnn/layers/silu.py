"""SiLU and Mish: a value times a smooth gate computed from the value itself.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, sigmoid
from cnn.module import Array


class SiLU(Elementwise):
    """Multiply each value by its own sigmoid gate: large values pass, very negative ones do not; also known as Swish.

    y = x σ(x),  σ(x) = 1 / (1 + exp(-x))

    By the product rule the gradient is multiplied by σ(x) + x σ(x) (1 - σ(x)).

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Elfwing, Uchibe and Doya 2018, Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning, arXiv 1702.03118; Ramachandran, Zoph and Le 2017, Searching for activation functions, arXiv
    1710.05941; numbers as in torch.nn.SiLU.

    Examples
    --------
    >>> SiLU()(np.array([[-np.log(3), 0.0, np.log(3)]]))
    array([[-0.27465307,  0.        ,  0.82395922]])
    """

    def value(self, x: Array) -> Array:
        return x * sigmoid(x)

    def gradient(self, grad: Array, x: Array) -> Array:
        s = sigmoid(x)
        return grad * (s * (1 + x * (1 - s)))


LIMIT = 20.0  # beyond it tanh(softplus(x)) is 1 to the last bit, and for large x the square of exp(x) would overflow


def mish_gate(x: Array) -> Array:
    """tanh(softplus(x)) = n / (n + 2), n = e (e + 2), e = exp(x): one exponential instead of three functions."""
    e = np.exp(np.minimum(x, LIMIT))
    n = e * (e + 2)
    return n / (n + 2)


def mish_gate_slope(x: Array) -> Array:
    """2 n' / (n + 2)², n' = 2 e (e + 1)."""
    e = np.exp(np.minimum(x, LIMIT))
    n = e * (e + 2)
    return 4 * e * (e + 1) / (n + 2) ** 2


class Mish(Elementwise):
    """Multiply each value by its own gate, as in SiLU, but with a slightly steeper gate.

    y = x tanh(softplus(x)),  softplus(x) = log(1 + exp(x))

    By the product rule the gradient is multiplied by the gate plus x times the slope of the gate.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Misra 2019, Mish: a self regularized non-monotonic activation function, arXiv 1908.08681; numbers as in
    torch.nn.Mish.

    Examples
    --------
    >>> Mish()(np.array([[-np.log(2), 0.0, np.log(2)]]))
    array([[-0.26659507,  0.        ,  0.55451774]])
    """

    def value(self, x: Array) -> Array:
        return x * mish_gate(x)

    def gradient(self, grad: Array, x: Array) -> Array:
        return grad * (mish_gate(x) + np.minimum(x, LIMIT) * mish_gate_slope(x))
