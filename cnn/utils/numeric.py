"""Numerical gradients by central differences: slow, but correct without any derivation."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.core.checks import check_grad
from cnn.core.text import fields_text
from cnn.module import Array, Module, no_grad


class FiniteDifferences(NamedTuple):
    """Derivatives of a function with respect to each element of an array, by finite differences.

    Attributes
    ----------
    central : ndarray
        Central differences: the mean of the forward and the backward difference.
    jump : ndarray
        The forward difference minus the backward difference: almost zero, except at a kink.
    """

    central: Array
    jump: Array

    def __repr__(self) -> str:
        return fields_text(self)


def finite_differences(function: Callable[[], float], array: Array, step: float = 1e-5) -> FiniteDifferences:
    """Differentiate ``function()`` by perturbing each element of ``array`` by ``step`` in both directions, in place."""
    central, jump = np.zeros_like(array), np.zeros_like(array)
    centre = function()
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + step
        above = function()
        array[index] = before - step
        below = function()
        array[index] = before
        central[index] = (above - below) / (2 * step)
        jump[index] = (above - centre - (centre - below)) / step
    return FiniteDifferences(central, jump)


def numeric_gradient(function: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    """Return the gradient of ``function()`` with respect to ``array``, by central differences.

    Examples
    --------
    >>> x = np.array([1.0, 3.0])
    >>> numeric_gradient(lambda: float((x**2).sum()), x).round(6)
    array([2., 6.])
    """
    return finite_differences(function, array, step).central


def difference(a: Any, b: Any) -> float:
    """Return max|a - b| / max|b|, the relative difference of two arrays of the same shape.

    Examples
    --------
    >>> difference([1.0, 2.0], [1.0, 4.0])
    0.5
    """
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shape {a.shape}, not {b.shape}"
    if b.size == 0:
        return 0.0
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / (largest if largest > 0 else 1))


def float32_problem(module: Any, output: Callable[[Array], Any], x: Array) -> str:
    """Return an error message if ``output(x)`` for a float64 x is, or is computed in, float32; otherwise "".

    The precision of float32 is too low to show the effect of a small perturbation.
    """
    y = np.asarray(output(x))
    perturbation = np.random.default_rng(0).normal(size=x.shape) * (1 + np.abs(x))
    tiny, small = (np.count_nonzero(np.asarray(output(x + size * perturbation)) != y) for size in (1e-9, 1e-4))
    if y.dtype != np.float32 and 2 * tiny >= small:
        return ""
    verb = "returns" if y.dtype == np.float32 else "computes in"
    return (
        f"the forward of {type(module).__name__} {verb} float32 for a float64 input, too imprecise for finite "
        "differences: remove the astype/np.float32 in it"
    )


def numeric_backward(module: Module, step: float = 1e-5) -> Module:
    """Wrap a module without a backward in one whose backward uses central differences, so that it can be trained.

    Every element of the input and of the parameters is perturbed in both directions, so one backward costs two forwards
    per element. Use it to try out a layer in a small network before you derive its gradient.

    Parameters
    ----------
    module : Module
        Its forward must compute in float64, in which the differences are taken (otherwise backward raises a
        ValueError); its own backward is not called.
    step : float
        Size of the perturbation of each element.

    Returns
    -------
    Module
        A module with the same output and dtype; the original is its attribute ``module``. The gradient of a random
        layer is the gradient for the mask that its forward drew.

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
            raise TypeError(f"numeric_backward needs a Module, such as your own layer, got {module!r}")
        self.module = module
        self.step = float(step)

    def forward(self, x: Array) -> Array:
        """(...) -> the shape of the module's output"""
        before = copy.deepcopy(self.module)  # a random layer draws the same mask again
        with no_grad():
            y = self.module(x)
        self.save_for_backward(x, before, y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """The shape of the module's output -> (...)"""
        x, before, shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        module, perturbed = before.to(np.float64), np.array(x, np.float64)

        def output(x: Array) -> Array:
            with no_grad():
                return copy.deepcopy(module)(x)

        def weighted_output() -> float:
            return float(np.sum(grad * output(perturbed)))

        if problem := float32_problem(module, output, perturbed):
            raise ValueError(problem)

        copies = dict(module.named_parameters())
        for name, parameter in self.module.named_parameters():
            gradient = numeric_gradient(weighted_output, copies[name].data, self.step)
            parameter.accumulate_grad(gradient.astype(parameter.dtype))
        if not self.needs_input_grad:
            return None
        return numeric_gradient(weighted_output, perturbed, self.step).astype(x.dtype)
