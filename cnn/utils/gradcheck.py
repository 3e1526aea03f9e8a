"""A numeric check of gradients: does ``backward`` say what ``forward`` does when a number is nudged?"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.module import Array, Module, no_grad


def gradcheck(module: Module, x: Any, rng: Any = 987, tolerance: float = 1e-6, step: float = 1e-5) -> float:
    """Compare backward with central differences, for the input and for every parameter, in float64.

    Parameters
    ----------
    module : Module
        Left as it is: the check works on copies, so random layers draw the same mask each time.
    x : array_like
        An input, best away from places where the slope jumps, such as 0 for ReLU.
    rng : numpy.random.Generator or int
        Draws the gradient of the output.
    tolerance : float
        How far the two may be apart, as max|a - b| / max|b| over each array.
    step : float
        How far each number is nudged.

    Returns
    -------
    float
        The largest difference found.

    Raises
    ------
    AssertionError
        If one is larger than the tolerance, naming the array whose gradient is wrong.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> gradcheck(Linear(3, 2), [[1.0, 2.0, 3.0]]) < 1e-6
    True
    """
    module, x = copy.deepcopy(module).to(np.float64), np.array(x, np.float64)
    module.needs_input_grad = True  # a Sequential with an optimizer saves itself that gradient

    def output() -> Array:
        with no_grad():
            return copy.deepcopy(module)(x)

    grad = np.asarray(np.random.default_rng(rng).normal(size=output().shape))
    worked = copy.deepcopy(module)
    worked.zero_grad()
    worked(x)
    backward: dict[str, Array | None] = {"the input": worked.backward(grad)}
    backward.update({name: parameter.grad for name, parameter in worked.named_parameters()})
    nudged = {"the input": x} | {name: parameter.data for name, parameter in module.named_parameters()}
    worst = 0.0
    for name, array in nudged.items():
        found = backward[name]
        if found is None:
            raise AssertionError(f"backward left no gradient for {name}")
        numeric = numeric_gradient(lambda: float(np.sum(grad * output())), array, step)
        error = difference(found, numeric)
        if not error <= tolerance:
            raise AssertionError(f"the gradient of {name} is off by {error:.1e}:\n{found}\nnot\n{numeric}")
        worst = max(worst, error)
    return worst


def numeric_gradient(function: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    """Return how much ``function()`` changes with each number in ``array``, by central differences."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + step
        above = function()
        array[index] = before - step
        below = function()
        array[index] = before
        gradient[index] = (above - below) / (2 * step)
    return gradient


def difference(a: Any, b: Any) -> float:
    """Return max|a - b| / max|b|: how far two arrays of the same shape are apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shape {a.shape}, not {b.shape}"
    if b.size == 0:
        return 0.0
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / (largest if largest > 0 else 1))
