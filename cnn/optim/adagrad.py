"""Adagrad: the more a weight has moved, the shorter its steps become."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, state_array
from cnn.optim.state import COUNT, LARGEST_COUNT, SQUARES


class Adagrad(Optimizer):
    """Divide each weight's gradient by the size of all its gradients so far, so that rare features keep long steps.

    s = s + g²
    w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    The sum s never decays, so steps shrink as 1 / sqrt(t); in `RMSprop` it decays.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    lr_decay : float
        Additionally makes the learning rate fall as 1 / t; at least 0.
    weight_decay : float
        Adds weight_decay times w to g (L2 penalty), at least 0.
    initial_accumulator_value : float
        Initial value of s, at least 0; a larger one makes the first steps shorter.
    eps : float
        Avoids division by zero; at least 0.

    Source
    ------
    Duchi, Hazan and Singer 2011, Adaptive subgradient methods for online learning and stochastic optimization, figure 1
    with a diagonal matrix; numbers as torch.optim.Adagrad.

    Examples
    --------
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([3.0]))
    >>> Adagrad([weight], lr=0.5, initial_accumulator_value=16.0).step()  # 0.5 * 3 / sqrt(16 + 9)
    >>> weight
    Parameter([0.7])
    """

    STATE: ClassVar = {"s": SQUARES, "t": COUNT}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.eps = eps
        super().__init__(params, lr)

    def check(self) -> None:
        super().check()
        self.lr_decay = at_least_zero(self.lr_decay, "lr_decay")
        self.weight_decay = at_least_zero(self.weight_decay, "weight_decay")
        self.initial_accumulator_value = at_least_zero(self.initial_accumulator_value, "initial_accumulator_value")
        self.eps = at_least_zero(self.eps, "eps")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        if self.weight_decay:
            grad = grad + self.weight_decay * w
        t = state["t"] = min(state.get("t", 0) + 1, LARGEST_COUNT)
        s = state_array(state, "s", w, self.initial_accumulator_value)
        s += grad * grad
        w -= self.lr / (1 + (t - 1) * self.lr_decay) * grad / (np.sqrt(s) + self.eps)
