"""RMSprop: the gradient divided by its recent size."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cnn.core.checks import boolean
from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, below_one, state_array
from cnn.optim.state import OPTIONAL_ARRAY, SQUARES


class RMSprop(Optimizer):
    """Divide each weight's gradient by its recent size, so that steps in steep and flat directions are equally long.

    v = alpha v + (1 - alpha) g²
    w = w - lr g / (sqrt(v) + eps)

    With momentum, b = momentum b + g / (sqrt(v) + eps) and w = w - lr b. If centered, v is replaced by v - m², the
    variance of the gradient, where m = alpha m + (1 - alpha) g. v, m and b start at zero, without the bias correction
    of `Adam`: the first steps are 1 / sqrt(1 - alpha) times as long.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    alpha : float
        Decay rate of v, at least 0 and below 1.
    eps : float
        Avoids division by zero; at least 0.
    weight_decay : float
        Adds weight_decay times w to g (L2 penalty), at least 0.
    momentum : float
        Decay rate of b, at least 0 and below 1.
    centered : bool
        Whether to divide by the standard deviation of the gradient instead of its root mean square.

    Source
    ------
    Tieleman and Hinton 2012, Lecture 6.5 of Neural networks for machine learning; centered: Graves 2013, arXiv
    1308.0850, equations 38 to 45; numbers as torch.optim.RMSprop.

    Examples
    --------
    >>> weight = Parameter([1.0, 1.0])
    >>> weight.accumulate_grad(np.array([100.0, 0.01]))
    >>> RMSprop([weight], lr=0.1, alpha=0.75, eps=0.0).step()
    >>> weight
    Parameter([0.8, 0.8])
    """

    STATE: ClassVar = {"v": SQUARES, "m": OPTIONAL_ARRAY, "b": OPTIONAL_ARRAY}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered
        super().__init__(params, lr)

    def check(self) -> None:
        super().check()
        self.alpha = below_one(self.alpha, "alpha")
        self.eps = at_least_zero(self.eps, "eps")
        self.weight_decay = at_least_zero(self.weight_decay, "weight_decay")
        self.momentum = below_one(self.momentum, "momentum")
        self.centered = boolean(self.centered, "centered")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        if self.weight_decay:
            grad = grad + self.weight_decay * w
        v = state_array(state, "v", w)
        v *= self.alpha
        v += (1 - self.alpha) * grad * grad
        variance = v
        if self.centered:
            m = state_array(state, "m", w)
            m += (1 - self.alpha) * (grad - m)
            variance = np.maximum(v - m * m, 0)  # rounding must not make it negative
        step = grad / (np.sqrt(variance) + self.eps)
        if self.momentum:
            b = state_array(state, "b", w)
            b *= self.momentum
            b += step
            step = b
        w -= self.lr * step
