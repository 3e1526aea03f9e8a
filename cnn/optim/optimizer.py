"""Optimizer: what every optimizer is."""

import math
from collections.abc import Iterable

from cnn.module import Array, Parameter


class Optimizer:
    """Change parameters along their gradients.

    A subclass writes ``update(parameter, grad, state)``, in which ``state`` is a dict of its own for each parameter,
    empty at first.

    Parameters
    ----------
    params : iterable of Parameter, optional
        What to train. Left out, the `Sequential` that is given the optimizer hands over its parameters.
    lr : float
        Learning rate, at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> class GradientDescent(Optimizer):
    ...     def update(self, parameter, grad, state):
    ...         parameter.data -= self.lr * grad
    >>> weight = Parameter([1.0])
    >>> weight.accumulate_grad(np.array([2.0]))
    >>> GradientDescent([weight], lr=0.1).step()
    >>> weight
    Parameter([0.8])
    """

    def __init__(self, params: Iterable[Parameter] | None = None, lr: float = 1e-3) -> None:
        self.lr = at_least_zero(lr, "lr")
        self.params: list[Parameter] = []
        self._state: list[dict[str, Array | int]] = []
        if params is not None:
            self.take(params)

    def take(self, params: Iterable[Parameter]) -> None:
        """Take over the parameters to train, once."""
        params = list(params)
        if not all(isinstance(parameter, Parameter) for parameter in params):
            raise TypeError("params must be Parameters: pass model.parameters()")
        self.params = params
        self._state = [{} for _ in params]

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        RuntimeError
            If there are parameters but none has a gradient: backward has not run.
        """
        if self.params and all(parameter.grad is None for parameter in self.params):
            raise RuntimeError(f"{type(self).__name__}.step found no gradient: call backward before step")
        for parameter, state in zip(self.params, self._state, strict=True):
            if parameter.grad is not None:
                self.update(parameter, parameter.grad, state)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Array | int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} needs a method update(self, parameter, grad, state)")


def at_least_zero(value: float, name: str) -> float:
    """Return ``value`` as a plain float (a NumPy one would turn float32 weights into float64) or raise an error."""
    value = float(value)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    return value
