"""GELU: a value times the chance that a normal number is smaller.

forward and backward of this class are in cnn/functional/elementwise.py: y = value(x), dL/dx = gradient(g, x).
"""

import math

import numpy as np

from cnn.functional.elementwise import Elementwise
from cnn.functional.erf import erf
from cnn.module import Array

WIDEST = 40.0  # beyond ± this, every slope is 0 or 1 to the last bit; its square does not overflow


def gelu(x: Array) -> Array:
    return x * normal_cdf(x)


def gelu_slope(x: Array) -> Array:
    """Φ(x) + x φ(x), for φ, the density, is the slope of Φ."""
    near = np.clip(x, -WIDEST, WIDEST)
    density = np.exp(-0.5 * near * near) / math.sqrt(2 * math.pi)
    return normal_cdf(near) + near * density


def normal_cdf(x: Array) -> Array:
    """Φ(x), the probability that a normal number is smaller than x."""
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Array) -> Array:
    return x * (0.5 * (1 + np.tanh(cubic(np.clip(x, -WIDEST, WIDEST)))))


def gelu_tanh_slope(x: Array) -> Array:
    near = np.clip(x, -WIDEST, WIDEST)
    t = np.tanh(cubic(near))
    cubic_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near * near)
    return 0.5 * (1 + t) + 0.5 * near * (1 - t * t) * cubic_slope


def cubic(x: Array) -> Array:
    """Return u(x), chosen so that (1 + tanh(u)) / 2 comes close to Φ."""
    return math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)


class GELU(Elementwise):
    """Weigh each value by the probability that a normal number is smaller: a ReLU that hesitates around zero.

    y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2

    By the product rule the gradient is multiplied by Φ(x) + x φ(x), φ(x) = exp(-x²/2) / √(2π).

    Parameters
    ----------
    approximate : "none" or "tanh"
        "tanh": Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, right to 0.0005 and faster; GPT-2 was trained with it.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Hendrycks and Gimpel 2016, Gaussian error linear units, arXiv 1606.08415, section 2; numbers as torch.nn.GELU.

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
