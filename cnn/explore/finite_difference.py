"""One gradient, checked by hand: the weight a little larger and a little smaller, and what that makes of the loss."""

from typing import Any, NamedTuple

import numpy as np

from cnn.containers.chain import hide_internal_frames
from cnn.errors import InputError
from cnn.explore.trace import trace
from cnn.explore.walk import evaluated_copy
from cnn.module import Module


class Difference(NamedTuple):
    """What `finite_difference` returns: the loss with the weight increased and decreased by ``step``, and the slope."""

    step: float
    above: float
    below: float
    slope: float


@hide_internal_frames
def finite_difference(
    model: Module, x: Any, y: Any, name: str, index: tuple[int, ...], step: float = 1e-5
) -> Difference:
    """Return the slope of the loss in one weight as a difference quotient, computed in float64.

    slope = (L(w + h) - L(w - h)) / 2h

    It differs from the gradient in the order of h squared, and more where a ReLU or a maximum switches in between.

    Parameters
    ----------
    model : Module
        It does not change: a float64 copy runs.
    x, y
        As in `cnn.explore.trace`.
    name : str
        Of a parameter, as in `Module.state_dict`.
    index : tuple of int
        Of one number in it.
    step : float
        h.

    Returns
    -------
    Difference

    Raises
    ------
    InputError
        If there is no such weight.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> layer = Linear(1, 2)
    >>> layer.weight.data, layer.bias.data = [[0.0], [0.0]], [0.0, 0.0]
    >>> found = finite_difference(layer, np.ones((1, 1)), 0, "weight", (0, 0))
    >>> print(round(found.slope, 6))  # p - 1
    -0.5
    """
    copied = evaluated_copy(model).to(np.float64)
    parameters = dict(copied.named_parameters())
    if name not in parameters:
        raise InputError(f"there is no parameter {name!r}; there is {', '.join(parameters)}")
    data = parameters[name].data
    if len(index) != data.ndim or not all(0 <= i < n for i, n in zip(index, data.shape, strict=True)):
        raise InputError(f"index must be one of a number in {name} of shape {data.shape}, got {index}")
    value, losses = data[index], []
    if y is None:
        y = trace(copied, x).target
    for moved in (value + step, value - step):
        data[index] = moved
        losses.append(trace(copied, x, y).loss)
    return Difference(step, losses[0], losses[1], (losses[0] - losses[1]) / (2 * step))
