"""A numeric check of gradients: does ``backward`` say what ``forward`` does when a number is nudged?

    check_gradients(MyLayer(), x)

raises an AssertionError that names the array whose gradient is wrong.
"""

import copy

import numpy as np

from cnn import no_grad


def check_gradients(module, x, rng=987, tolerance=1e-6, step=1e-5):
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
        How large max|a - b| / max|b| may be for each array.
    step : float
        How far a number is nudged, up and down.

    Returns
    -------
    float
        The largest difference over all arrays.
    """
    module, x = copy.deepcopy(module).to(np.float64), np.array(x, np.float64)

    def output():
        with no_grad():
            return copy.deepcopy(module)(x)

    grad = np.random.default_rng(rng).normal(size=output().shape)
    worked = copy.deepcopy(module)
    worked.zero_grad()
    worked(x)
    backward = {"the input": worked.backward(grad)}
    backward.update({name: parameter.grad for name, parameter in worked.named_parameters()})
    nudged = {"the input": x} | {name: parameter.data for name, parameter in module.named_parameters()}
    worst = 0.0
    for name, array in nudged.items():
        assert backward[name] is not None, f"backward left no gradient for {name}"
        numeric = numeric_gradient(lambda: np.sum(grad * output()), array, step)
        error = difference(backward[name], numeric)
        assert error <= tolerance, f"the gradient of {name} is off by {error:.1e}:\n{backward[name]}\nnot\n{numeric}"
        worst = max(worst, error)
    return worst


def numeric_gradient(function, array, step=1e-5):
    """How much ``function()`` changes with each number in ``array``, by central differences."""
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


def difference(a, b):
    """Return max|a - b| / max|b|: how far two arrays of the same shape are apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shape {a.shape}, not {b.shape}"
    if b.size == 0:
        return 0.0
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / (largest if largest > 0 else 1))
