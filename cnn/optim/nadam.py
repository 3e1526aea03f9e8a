"""NAdam: Adam with Nesterov momentum."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cnn.core.checks import boolean
from cnn.module import Array, Parameter
from cnn.optim.adam import Adam
from cnn.optim.shared import at_least_zero, state_array
from cnn.optim.state import ARRAY, COUNT, FRACTION, LARGEST_COUNT, SQUARES


class NAdam(Adam):
    """`Adam` with Nesterov momentum: the step already includes the momentum of the next step.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g²,  vhat = v / (1 - b2^t)
    mu_t = b1 (1 - 0.96^(t momentum_decay) / 2),  P_t = mu_1 mu_2 ... mu_t
    w = w - lr ((1 - mu_t) / (1 - P_t) g + mu_t+1 / (1 - P_t+1) m) / (sqrt(vhat) + eps)

    mu grows slowly from b1 / 2 to b1, so momentum builds up as training proceeds.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    betas : pair of float
        b1 and b2, the decay rates of m and v, at least 0 and below 1.
    eps : float
        Avoids division by zero; at least 0.
    weight_decay : float
        At least 0. Adds weight_decay times w to g (L2 penalty), or with ``decoupled_weight_decay`` subtracts lr times
        weight_decay times w from w, as `AdamW` does.
    momentum_decay : float
        How fast mu grows, at least 0.
    decoupled_weight_decay : bool
        See ``weight_decay``.

    Source
    ------
    Dozat 2016, Incorporating Nesterov momentum into Adam (ICLR workshop); numbers as torch.optim.NAdam.

    Examples
    --------
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([4.0]))
    >>> NAdam([weight], lr=0.1, betas=(0.0, 0.0), eps=0.0).step()  # without momentum: the sign of the gradient
    >>> weight
    Parameter([0.9])
    """

    STATE: ClassVar = {"m": ARRAY, "v": SQUARES, "t": COUNT, "product": FRACTION}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self.momentum_decay = momentum_decay
        self.decoupled_weight_decay = decoupled_weight_decay
        super().__init__(params, lr, betas, eps, weight_decay)

    def check(self) -> None:
        super().check()
        self.momentum_decay = at_least_zero(self.momentum_decay, "momentum_decay")
        self.decoupled_weight_decay = boolean(self.decoupled_weight_decay, "decoupled_weight_decay")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        if self.decoupled_weight_decay:
            w *= 1 - self.lr * self.weight_decay
        elif self.weight_decay:
            grad = grad + self.weight_decay * w
        b1, b2 = self.betas
        t = state["t"] = min(state.get("t", 0) + 1, LARGEST_COUNT)
        mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (s * self.momentum_decay)) for s in (t, t + 1))
        product = state["product"] = state.get("product", 1.0) * mu
        m, v = state_array(state, "m", w), state_array(state, "v", w)
        m += (1 - b1) * (grad - m)
        v *= b2
        v += (1 - b2) * grad * grad
        root = np.sqrt(v) / math.sqrt(1 - b2**t) + self.eps
        w -= self.lr * ((1 - mu) / (1 - product) * grad + mu_next / (1 - product * mu_next) * m) / root
