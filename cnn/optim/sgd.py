"""SGD: gradient descent, with optional momentum."""

from collections.abc import Iterable
from typing import Any, ClassVar

from cnn.core.checks import boolean
from cnn.module import Array, Parameter
from cnn.optim.optimizer import Optimizer
from cnn.optim.shared import at_least_zero, below_one, state_array
from cnn.optim.state import OPTIONAL_ARRAY


class SGD(Optimizer):
    """Step against the gradient; momentum averages out zigzags and accelerates along a steady slope.

    g = gradient + weight_decay w
    b = momentum b + (1 - dampening) g,  b = g in the first step
    w = w - lr b,  or with nesterov  w = w - lr (g + momentum b)

    With a constant gradient, steps become 1 / (1 - momentum) times as long as without momentum.

    Parameters
    ----------
    params : iterable of Parameter, or list of dict, optional
        The parameters to train; see `Optimizer`.
    lr : float
        Learning rate, at least 0.
    momentum : float
        Decay rate of b, the velocity, at least 0 and below 1; 0.9 is usual.
    dampening : float
        The fraction of the new gradient that is left out of the velocity, at least 0.
    weight_decay : float
        Adds weight_decay times w to the gradient (L2 penalty), at least 0.
    nesterov : bool
        Whether to use Nesterov momentum. It needs momentum and no dampening.

    Raises
    ------
    ValueError
        If ``nesterov`` is set without momentum or with dampening.

    Source
    ------
    Robbins and Monro 1951; momentum: Polyak 1964; nesterov: Sutskever, Martens, Dahl and Hinton 2013, On the importance
    of initialization and momentum in deep learning, section 2; numbers as torch.optim.SGD.

    Examples
    --------
    >>> import numpy as np
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([1.0]))
    >>> sgd = SGD([weight], lr=0.25, momentum=0.5)
    >>> sgd.step()  # velocity 1
    >>> sgd.step()  # velocity 1.5
    >>> weight
    Parameter([0.375])
    """

    STATE: ClassVar = {"b": OPTIONAL_ARRAY}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        super().__init__(params, lr)

    def check(self) -> None:
        super().check()
        self.momentum = below_one(self.momentum, "momentum")
        self.dampening = at_least_zero(self.dampening, "dampening")
        self.weight_decay = at_least_zero(self.weight_decay, "weight_decay")
        self.nesterov = boolean(self.nesterov, "nesterov")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs momentum and no dampening: SGD(momentum=0.9, dampening=0, nesterov=True)")

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Any]) -> None:
        """Change the parameter in place."""
        w = parameter.data
        if self.weight_decay:
            grad = grad + self.weight_decay * w
        if self.momentum:
            first = "b" not in state
            b = state_array(state, "b", w)
            b *= self.momentum
            b += grad if first else (1 - self.dampening) * grad
            grad = grad + self.momentum * b if self.nesterov else b
        w -= self.lr * grad
