"""Adam: an adaptive step size for each weight."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from cnn.kernels import kernel
from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, check_betas, state_array
from cnn.optim.state import ARRAY, COUNT, LARGEST_COUNT, SQUARES


@kernel
def adam(
    weights: list[Array],
    grads: list[Array],
    means: list[Array],
    squares: list[Array],
    steps: list[int],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One step of all weights, in place; ``means`` are m, ``squares`` v, and ``steps`` t of the formula below."""
    b1, b2 = betas
    for w, grad, m, v, t in zip(weights, grads, means, squares, steps, strict=True):
        m += (1 - b1) * (grad - m)
        v *= b2
        v += (1 - b2) * grad * grad
        root = np.sqrt(v)
        root /= math.sqrt(1 - b2**t)
        root += eps
        w -= (lr / (1 - b1**t)) * m / root


def adam_of_states(
    weights: list[Array],
    grads: list[Array],
    states: list[dict[str, Any]],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Run `adam` with the m, v and t that the states hold."""
    means, squares, steps = [], [], []
    for w, state in zip(weights, states, strict=True):
        m, v = state.get("m"), state.get("v")
        if m is None or v is None or m.dtype != w.dtype or v.dtype != w.dtype:
            m, v = state_array(state, "m", w), state_array(state, "v", w)
        state["t"] = min(state.get("t", 0) + 1, LARGEST_COUNT)
        means.append(m)
        squares.append(v)
        steps.append(state["t"])
    adam(weights, grads, means, squares, steps, lr, betas, eps)


class Adam(Optimizer):
    """Step along the moving average of the gradients, divided for each weight by the recent size of its gradients.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g²
    w = w - lr mhat / (sqrt(vhat) + eps),  mhat = m / (1 - b1^t),  vhat = v / (1 - b2^t)

    m and v start at zero and are too small at first; the division by 1 - b^t corrects that bias.

    Parameters
    ----------
    params : iterable of Parameter, optional
        The parameters to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0: about how far a weight moves in one step.
    betas : pair of float
        b1 and b2, the decay rates of m and v, at least 0 and below 1.
    eps : float
        Avoids division by zero; at least 0.
    weight_decay : float
        Adds weight_decay times w to g, at least 0 (L2 penalty, not the decoupled weight decay of AdamW).

    Source
    ------
    Kingma and Ba 2015, Adam: a method for stochastic optimization, arXiv 1412.6980, algorithm 1; numbers as
    torch.optim.Adam.

    Examples
    --------
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([5.0]))
    >>> Adam([weight], lr=0.1).step()
    >>> weight
    Parameter([0.9])
    """

    STATE: ClassVar = {"m": ARRAY, "v": SQUARES, "t": COUNT}

    def __init__(
        self,
        params: Iterable[Parameter] | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        super().__init__(params, lr)

    def check(self) -> None:
        super().check()
        self.betas = check_betas(self.betas)
        self.eps = at_least_zero(self.eps, "eps")
        self.weight_decay = at_least_zero(self.weight_decay, "weight_decay")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        grad = grad + self.weight_decay * w if self.weight_decay else grad
        adam_of_states([w], [grad], [state], self.lr, self.betas, self.eps)

    def update_all(self, parameters: list[Parameter], grads: list[Array], states: list[dict[str, Any]]) -> None:
        """Change all parameters in place in one call, unless a subclass overrides ``update``."""
        if type(self).update is not Adam.update or self.weight_decay:
            super().update_all(parameters, grads, states)
        else:
            weights = [parameter.data for parameter in parameters]
            adam_of_states(weights, grads, states, self.lr, self.betas, self.eps)
