"""ELU, SELU and CELU: negative values saturate smoothly.

The base class in cnn/functional/elementwise.py has forward and backward: y = value(x), dL/dx = gradient(g, x).
"""

import numpy as np

from cnn.functional.elementwise import Elementwise, finite_float
from cnn.module import Array


def elu(x: Array, alpha: float, width: float = 1.0) -> Array:
    """Return x where x > 0, else alpha (exp(x / width) - 1): the sum of both parts, as one of them is always 0."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / width)


def elu_slope(x: Array, alpha: float, width: float = 1.0) -> Array:
    """1 where x > 0, else alpha / width exp(x / width)."""
    positive = x > 0
    return positive + alpha / width * np.exp(np.minimum(x, 0) / width) * ~positive


class ELU(Elementwise):
    """Keep positive values and let negative ones saturate at -alpha, so that the mean activation stays near zero.

    y = x where x > 0, else alpha (exp(x) - 1)

    The gradient is unchanged where x > 0; elsewhere it is multiplied by alpha exp(x), which is alpha at 0.

    Parameters
    ----------
    alpha : float
        Minus the value at which negative inputs saturate.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Clevert, Unterthiner and Hochreiter 2016, Fast and accurate deep network learning by exponential linear units,
    arXiv 1511.07289; numbers as in torch.nn.ELU.

    Examples
    --------
    >>> ELU(alpha=2.0)(np.array([[-np.log(2), 0.0, 3.0]]))
    array([[-1.,  0.,  3.]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = finite_float(alpha, "alpha")

    def value(self, x: Array) -> Array:
        return elu(x, self.alpha)

    def gradient(self, grad: Array, x: Array) -> Array:
        return grad * elu_slope(x, self.alpha)


class SELU(Elementwise):
    """An ELU whose two constants pull mean and variance towards 0 and 1 from layer to layer, without normalisation.

    y = scale x where x > 0, else scale alpha (exp(x) - 1)

    The gradient is multiplied by scale where x > 0 and by scale alpha exp(x) elsewhere. Mean and variance stay at
    0 and 1 if the weights start with mean 0 and variance 1 / fan_in.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Klambauer, Unterthiner, Mayr and Hochreiter 2017, Self-normalizing neural networks, arXiv 1706.02515, equations 2
    and 14; numbers as in torch.nn.SELU.

    Examples
    --------
    >>> SELU()(np.array([[-np.inf, 0.0, 1.0]]))
    array([[-1.75809934,  0.        ,  1.05070099]])
    """

    alpha = 1.6732632423543772848170429916717
    scale = 1.0507009873554804934193349852946

    def value(self, x: Array) -> Array:
        return self.scale * elu(x, self.alpha)

    def gradient(self, grad: Array, x: Array) -> Array:
        return grad * (self.scale * elu_slope(x, self.alpha))


class CELU(Elementwise):
    """An ELU with slope 1 at zero for every alpha: the lower its limit -alpha, the more slowly it gets there.

    y = x where x > 0, else alpha (exp(x / alpha) - 1)

    The gradient is unchanged where x > 0; elsewhere it is multiplied by exp(x / alpha).

    Parameters
    ----------
    alpha : float
        Minus the value at which negative inputs saturate, larger than 0.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Barron 2017, Continuously differentiable exponential linear units, arXiv 1704.07483; numbers as in torch.nn.CELU.

    Examples
    --------
    >>> CELU(alpha=2.0)(np.array([[-np.inf, 0.0, 3.0]]))
    array([[-2.,  0.,  3.]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = finite_float(alpha, "alpha", above=0)

    def value(self, x: Array) -> Array:
        return elu(x, self.alpha, width=self.alpha)

    def gradient(self, grad: Array, x: Array) -> Array:
        return grad * elu_slope(x, self.alpha, width=self.alpha)
