"""RMSprop: the gradient, measured by how large it has been lately."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, below_one, remembered, switch


class RMSprop(Optimizer):
    """Divide each weight's gradient by its recent size, so that steep and flat directions are walked at the same pace.

    v = alpha v + (1 - alpha) g²
    w = w - lr g / (sqrt(v) + eps)

    With momentum, b = momentum b + g / (sqrt(v) + eps) and w = w - lr b. If centered, v - m² stands for v, the
    variance of the gradient, with m = alpha m + (1 - alpha) g. All start at zero, and nothing corrects that as in
    `Adam`: the first steps are 1 / sqrt(1 - alpha) times as long.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        What to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    alpha : float
        How much of the past v keeps, at least 0 and below 1.
    eps : float
        Keeps the division from blowing up, at least 0.
    weight_decay : float
        Adds weight_decay times w to g (L2 penalty), at least 0.
    momentum : float
        How much of its speed a weight keeps from step to step, at least 0 and below 1.
    centered : bool
        Whether to divide by the standard deviation of the gradient rather than by its size.

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
        self.centered = switch(self.centered, "centered")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        if self.weight_decay:
            grad = grad + self.weight_decay * w
        v = remembered(state, "v", w)
        v *= self.alpha
        v += (1 - self.alpha) * grad * grad
        variance = v
        if self.centered:
            m = remembered(state, "m", w)
            m += (1 - self.alpha) * (grad - m)
            variance = np.maximum(v - m * m, 0)  # rounding must not make it negative
        move = grad / (np.sqrt(variance) + self.eps)
        if self.momentum:
            b = remembered(state, "b", w)
            b *= self.momentum
            b += move
            move = b
        w -= self.lr * move
