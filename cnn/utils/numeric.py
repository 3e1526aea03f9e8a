"""Derivatives by trying: nudge a number, look at what changes. Slow, and right without any thought."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.core.checks import check_grad
from cnn.module import Array, Module, no_grad


class Slopes(NamedTuple):
    """How much a function changes with each number of an array.

    Attributes
    ----------
    central : ndarray
        The mean of the slope to the right and the slope to the left.
    jump : ndarray
        The slope to the right minus that to the left: almost zero, but on a kink.
    """

    central: Array
    jump: Array


def slopes(function: Callable[[], float], array: Array, step: float = 1e-5) -> Slopes:
    """Nudge each number of ``array`` up and down, and look at ``function()``."""
    central, jump = np.zeros_like(array), np.zeros_like(array)
    here = function()
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + step
        above = function()
        array[index] = before - step
        below = function()
        array[index] = before
        central[index] = (above - below) / (2 * step)
        jump[index] = (above - here - (here - below)) / step
    return Slopes(central, jump)


def numeric_gradient(function: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    """Return how much ``function()`` changes with each number in ``array``, by central differences."""
    return slopes(function, array, step).central


def difference(a: Any, b: Any) -> float:
    """Return max|a - b| / max|b|: how far two arrays of the same shape are apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shape {a.shape}, not {b.shape}"
    if b.size == 0:
        return 0.0
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / (largest if largest > 0 else 1))


def too_coarse(module: Any, output: Callable[[Array], Any], x: Array) -> str:
    """Say so if ``output(x)``, for a float64 x, is or goes through float32, which hides what a nudge does."""
    y = np.asarray(output(x))
    nudge = np.random.default_rng(0).normal(size=x.shape) * (1 + np.abs(x))
    tiny, small = (np.count_nonzero(np.asarray(output(x + size * nudge)) != y) for size in (1e-9, 1e-4))
    if y.dtype != np.float32 and 2 * tiny >= small:
        return ""
    gives = "gives" if y.dtype == np.float32 else "goes through"
    return (
        f"the forward of {type(module).__name__} {gives} float32 for a float64 input, too coarse for differences: "
        "remove the astype/np.float32 in it"
    )


def numeric_backward(module: Module, step: float = 1e-5) -> Module:
    """Give a module whose backward is not written yet one by central differences, so that it trains.

    Every number of the input and of the parameters is nudged up and down, so a backward costs as many forwards as two
    times these numbers. It is for trying a layer out on a small net, before its gradient is derived.

    Parameters
    ----------
    module : Module
        Its forward must work in float64, in which the differences are taken (backward raises a ValueError if it does
        not); its own backward is not called.
    step : float
        How far each number is nudged.

    Returns
    -------
    Module
        It holds the module as its attribute ``module`` and computes what that computes, in its dtype. The gradient of a
        random layer is that of the mask it drew.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> from cnn.loss import MSELoss
    >>> from cnn.optim import Adam
    >>> from cnn.sequential import Sequential
    >>> class Sine(Module):
    ...     def forward(self, x):
    ...         return np.sin(x)
    >>> x = np.linspace(-1, 1, 8)[:, None]
    >>> layers = [Linear(1, 4, rng=0), numeric_backward(Sine()), Linear(4, 1, rng=1)]
    >>> model = Sequential(layers, loss_func=MSELoss(), optimizer=Adam(lr=0.05))
    >>> history = model.fit(x, x**3, epochs=60, verbose_freq=0, rng=0)
    >>> history.train_loss[-1] < 0.1 * history.train_loss[0]
    True
    """
    return NumericBackward(module, step)


class NumericBackward(Module):
    """A module with a backward by central differences; see `numeric_backward`."""

    def __init__(self, module: Module, step: float = 1e-5) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"numeric_backward needs a Module, such as a layer of your own, got {module!r}")
        self.module = module
        self.step = float(step)

    def forward(self, x: Array) -> Array:
        """(...) -> that of the module's output"""
        before = copy.deepcopy(self.module)  # a random layer draws the same mask again
        with no_grad():
            y = self.module(x)
        self.save_for_backward(x, before, y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """That of the module's output -> (...)"""
        x, before, shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        module, nudged = before.to(np.float64), np.array(x, np.float64)

        def output(x: Array) -> Array:
            with no_grad():
                return copy.deepcopy(module)(x)

        def weighted_output() -> float:
            return float(np.sum(grad * output(nudged)))

        if problem := too_coarse(module, output, nudged):
            raise ValueError(problem)

        twins = dict(module.named_parameters())
        for name, parameter in self.module.named_parameters():
            found = numeric_gradient(weighted_output, twins[name].data, self.step)
            parameter.accumulate_grad(found.astype(parameter.dtype))
        if not self.needs_input_grad:
            return None
        return numeric_gradient(weighted_output, nudged, self.step).astype(x.dtype)
