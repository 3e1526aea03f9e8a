"""GELU: a value times the probability that a standard normal variable is smaller.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x).
"""

import math

import numpy as np

from cnn.functional.elementwise import Elementwise
from cnn.functional.erf import erf
from cnn.module import Array

LIMIT = 40.0  # beyond ± this, every slope is 0 or 1 to the last bit; its square does not overflow


def gelu(x: Array) -> Array:
    return x * normal_cdf(x)


def gelu_slope(x: Array) -> Array:
    """Φ(x) + x φ(x), as the density φ is the slope of Φ."""
    clipped = np.clip(x, -LIMIT, LIMIT)
    density = np.exp(-0.5 * clipped * clipped) / math.sqrt(2 * math.pi)
    return normal_cdf(clipped) + clipped * density


def normal_cdf(x: Array) -> Array:
    """Φ(x), the probability that a standard normal variable is smaller than x."""
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Array) -> Array:
    return x * (0.5 * (1 + np.tanh(cubic(np.clip(x, -LIMIT, LIMIT)))))


def gelu_tanh_slope(x: Array) -> Array:
    clipped = np.clip(x, -LIMIT, LIMIT)
    t = np.tanh(cubic(clipped))
    cubic_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * clipped * clipped)
    return 0.5 * (1 + t) + 0.5 * clipped * (1 - t * t) * cubic_slope


def cubic(x: Array) -> Array:
    """Return u(x), chosen so that (1 + tanh(u)) / 2 approximates Φ."""
    return math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)


class GELU(Elementwise):
    """Weight each value by the probability that a standard normal variable is smaller: a ReLU smooth around zero.

    y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2

    By the product rule the gradient is multiplied by Φ(x) + x φ(x), φ(x) = exp(-x²/2) / √(2π).

    Parameters
    ----------
    approximate : "none" or "tanh"
        "tanh": Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, accurate to 0.0005 and faster; used in GPT-2.

    Shape
    -----
    Any shape -> the same.

    Raises
    ------
    ValueError
        If ``approximate`` is neither "none" nor "tanh".

    Source
    ------
    Hendrycks and Gimpel 2016, Gaussian error linear units, arXiv 1606.08415, section 2; numbers as in torch.nn.GELU.

    Examples
    --------
    >>> GELU()(np.array([[-1.0, 0.0, 1.0]]))
    array([[-0.15865525,  0.        ,  0.84134475]])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f'approximate must be "none" or "tanh", got {approximate!r}')
        self.approximate = approximate

    def value(self, x: Array) -> Array:
        return gelu(x) if self.approximate == "none" else gelu_tanh(x)

    def gradient(self, grad: Array, x: Array) -> Array:
        return grad * (gelu_slope(x) if self.approximate == "none" else gelu_tanh_slope(x))
