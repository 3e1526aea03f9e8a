"""Optimizer: what every optimizer is."""

import math
from collections.abc import Iterable

import numpy as np

from cnn.errors import ShapeError
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
        self.takes_all = params is None  # of the model that it is given to
        self.params: list[Parameter] = []
        self._state: list[dict[str, Array | int]] = []
        if params is not None:
            self.take(params)

    def take(self, params: Iterable[Parameter]) -> None:
        """Take over the parameters to train, each once."""
        if not isinstance(params, Iterable):
            kind = type(params).__name__
            raise TypeError(f"params must be model.parameters(), got {kind}; a learning rate is given as lr=...")
        unique = {id(parameter): parameter for parameter in params}
        if not all(isinstance(parameter, Parameter) for parameter in unique.values()):
            raise TypeError("params must be Parameters: pass model.parameters()")
        self.params = list(unique.values())
        self.reset()

    def reset(self) -> None:
        """Forget what was remembered of past gradients."""
        self._state = [{} for _ in self.params]

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has a gradient: backward has not run.
        """
        if all(parameter.grad is None for parameter in self.params):
            fix = "call backward before step" if self.params else "it has no parameters: give it model.parameters()"
            raise RuntimeError(f"{type(self).__name__}.step found no gradient: {fix}")
        for parameter, state in zip(self.params, self._state, strict=True):
            if parameter.grad is None:
                continue
            if parameter.grad.shape != parameter.shape:
                raise ShapeError(f"a parameter of shape {parameter.shape} has a grad of shape {parameter.grad.shape}")
            self.update(parameter, parameter.grad, state)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update(self, parameter: Parameter, grad: Array, state: dict[str, Array | int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} needs a method update(self, parameter, grad, state)")


def at_least_zero(value: float, name: str) -> float:
    """Return ``value`` as a plain float (a NumPy one would turn float32 weights into float64) or raise an error."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
