"""Gradient clipping: gradients that are too large are scaled down or cut before the optimizer's step."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.module import Array, Module, Parameter
from cnn.optim.shared import at_least_zero, short_repr


def clip_grad_norm_(
    parameters: Iterable[Parameter], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients in place by one factor so that their total norm is at most ``max_norm``; the direction stays.

    grad = grad min(1, max_norm / (norm + 1e-6)),  norm = (sum |grad|^norm_type)^(1 / norm_type) over all parameters

    Parameters
    ----------
    parameters : iterable of Parameter
        Parameters without a gradient are skipped; at least one must have one.
    max_norm : float
        At least 0.
    norm_type : float
        Above 0, or math.inf for the largest absolute value.
    error_if_nonfinite : bool
        Whether to raise an error if the norm is NaN or infinite. If not, a NaN spreads to all gradients.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        If ``norm_type`` is not above 0.
    RuntimeError
        If the norm is NaN or infinite, and ``error_if_nonfinite``.

    Source
    ------
    Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks, arXiv 1211.5063,
    algorithm 1; numbers as torch.nn.utils.clip_grad_norm_.

    Examples
    --------
    >>> weight, bias = Parameter([0.0]), Parameter([0.0])
    >>> weight.grad, bias.grad = np.array([30.0]), np.array([40.0])
    >>> clip_grad_norm_([weight, bias], max_norm=5.0)
    50.0
    >>> weight.grad.round(4), bias.grad.round(4)
    (array([3.]), array([4.]))

    In a training loop written by hand, clip between backward and the optimizer's step:

    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> from cnn.loss import MSELoss
    >>> from cnn.optim import SGD, OneCycleLR, WeightAverage
    >>> x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    >>> model = Sequential([Linear(2, 1)], loss_func=MSELoss(), optimizer=SGD())
    >>> schedule, average = OneCycleLR(model.optimizer, max_lr=0.1, total_steps=10), WeightAverage(model)
    >>> for step in range(10):
    ...     loss, _ = model.loss_and_grad(x, y)
    ...     norm = clip_grad_norm_(model.parameters(), max_norm=1.0)
    ...     model.optimizer.step()
    ...     model.zero_grad()
    ...     schedule.step()
    ...     average.update()
    """
    max_norm = at_least_zero(max_norm, "max_norm")
    if not isinstance(norm_type, (int, float)) or not norm_type > 0:
        raise ValueError(f"norm_type must be a number above 0, or math.inf, got {short_repr(norm_type)}")
    grads = _grads(parameters)
    norm = _norm(grads, float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"the norm of the gradients is {norm}, so they cannot be clipped: look for a NaN or an infinity in the "
            "data, or try a smaller learning rate"
        )
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # NaN included
        _multiply(grads, scale)
    return norm


@without_warnings  # of infinity times 0
def _multiply(grads: list[Array], scale: float) -> None:
    for grad in grads:
        grad *= scale


def clip_grad_value_(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Limit each element of each gradient, in place, to -clip_value ... clip_value; numbers as torch.nn.utils.

    Examples
    --------
    >>> weight = Parameter([0.0, 0.0])
    >>> weight.grad = np.array([0.5, -7.0])
    >>> clip_grad_value_([weight], clip_value=1.0)
    >>> weight.grad
    array([ 0.5, -1. ])
    """
    clip_value = at_least_zero(clip_value, "clip_value")
    for grad in _grads(parameters):
        np.clip(grad, -clip_value, clip_value, out=grad)


def _grads(parameters: Iterable[Parameter]) -> list[np.ndarray]:
    given: list[Any] = [parameters] if isinstance(parameters, (Module, Parameter)) else list(parameters)
    if not all(isinstance(parameter, Parameter) for parameter in given):
        raise TypeError("parameters must be Parameters: pass model.parameters()")
    grads = [parameter.grad for parameter in given if parameter.grad is not None]
    if not grads:
        raise RuntimeError("no gradient to clip: call it between backward (loss_and_grad) and optimizer.step")
    return grads


def _norm(grads: list[np.ndarray], norm_type: float) -> float:
    """Return the norm of all gradients as one vector; dividing by the largest element first avoids overflow."""
    largest = float(np.max([np.abs(grad).max(initial=0) for grad in grads], initial=0))
    if norm_type == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    total = sum(float(np.sum((np.abs(grad) / largest) ** norm_type, dtype=np.float64)) for grad in grads)
    return float(largest * total ** (1 / norm_type))
