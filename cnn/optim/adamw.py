"""AdamW: Adam with weight decay decoupled from the gradients."""

from collections.abc import Iterable
from typing import Any, ClassVar

from cnn.module import Array, Parameter
from cnn.optim.adam import Adam, adam_of_states
from cnn.optim.optimizer import Optimizer


class AdamW(Adam):
    """Shrink all weights by the same factor, then take a step of `Adam`.

    w = (1 - lr weight_decay) w, then w = w - lr mhat / (sqrt(vhat) + eps) as in `Adam`

    Adam's own ``weight_decay`` passes through the division by sqrt(vhat), so weights with large gradients hardly decay.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train; see `Optimizer`. `decay_groups` exempts biases and norms from the decay.
    lr : float
        Learning rate, at least 0.
    betas : pair of float
        b1 and b2, the decay rates of m and v, at least 0 and below 1.
    eps : float
        Avoids division by zero; at least 0.
    weight_decay : float
        At least 0; each step subtracts lr times weight_decay times the weight.

    Source
    ------
    Loshchilov and Hutter 2019, Decoupled weight decay regularization, arXiv 1711.05101, algorithm 2; numbers as
    torch.optim.AdamW.

    Examples
    --------
    >>> import numpy as np
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([0.0]))
    >>> AdamW([weight], lr=0.1, weight_decay=0.5).step()
    >>> weight
    Parameter([0.95])
    """

    STATE: ClassVar = Adam.STATE  # because it has an update of its own

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        w *= 1 - self.lr * self.weight_decay
        adam_of_states([w], [grad], [state], self.lr, self.betas, self.eps)

    def update_all(self, parameters: list[Parameter], grads: list[Array], states: list[dict[str, Any]]) -> None:
        """Change all parameters in place in one call, unless a subclass overrides ``update``."""
        if type(self).update is not AdamW.update:
            Optimizer.update_all(self, parameters, grads, states)
            return
        weights = [parameter.data for parameter in parameters]
        for w in weights:
            w *= 1 - self.lr * self.weight_decay
        adam_of_states(weights, grads, states, self.lr, self.betas, self.eps)
