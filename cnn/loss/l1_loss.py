"""L1Loss, SmoothL1Loss and HuberLoss: the absolute error, and two variants that are smooth at 0."""

from typing import Any

import numpy as np

from cnn.core.checks import is_finite
from cnn.loss.targets import ElementwiseLoss
from cnn.module import Array


class L1Loss(ElementwiseLoss):
    """Mean absolute error: an outlier counts only in proportion to its distance.

    L = 1/M sum over all M values of |prediction - target|

    The gradient does not depend on the size of the error: dL/dprediction = sign(prediction - target) / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float, or (N, ...) with reduction="none".

    Source
    ------
    Boscovich 1757, Laplace 1793; numbers as torch.nn.L1Loss.

    Examples
    --------
    >>> loss_func = L1Loss()
    >>> loss_func(np.array([[1.0], [5.0]]), np.array([[2.0], [3.0]]))
    1.5
    >>> loss_func.backward()
    array([[-0.5],
           [ 0.5]])
    """

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        self.save_for_backward(difference)
        return self.reduce(np.abs(difference))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (difference,) = self.saved()
        return self.reduce_backward(np.sign(difference), grad)


class HuberLoss(ElementwiseLoss):
    """Squared error for small differences, absolute error for large ones: smooth at 0, and robust to outliers.

    L = 1/M sum over all M values of  d²/2 where |d| <= delta, delta (|d| - delta/2) elsewhere, d = prediction - target

    With c = d clipped to ±delta both cases are c (d - c/2), and the gradient is the clipped difference: c / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    delta : float
        Where the squared error changes to the absolute error, above 0.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float, or (N, ...) with reduction="none".

    Raises
    ------
    ValueError
        If ``delta`` is 0 or less.

    Source
    ------
    Huber 1964, Robust estimation of a location parameter. Numbers as torch.nn.HuberLoss.

    Examples
    --------
    >>> loss_func = HuberLoss()
    >>> loss_func(np.array([[0.5], [5.0]]), np.array([[0.0], [2.0]]))
    1.3125
    >>> loss_func.backward()
    array([[0.25],
           [0.5 ]])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = at_least_zero(delta, "delta")
        if delta == 0:
            raise ValueError("delta must be more than 0: the loss would be 0 everywhere")

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        clipped = np.clip(difference, -self.delta, self.delta)
        self.save_for_backward(clipped)
        return self.reduce(clipped * (difference - clipped / 2))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (clipped,) = self.saved()
        return self.reduce_backward(clipped, grad)


class SmoothL1Loss(ElementwiseLoss):
    """`L1Loss` that is smooth at 0: `HuberLoss` divided by its delta, so that the slope for large errors is 1.

    L = 1/M sum over all M values of  d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere, d = prediction - target

    With c = d / beta clipped to ±1 both cases are c (d - beta c/2), and the gradient is c / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    beta : float
        Where the squared error changes to the absolute error, at least 0; 0 is `L1Loss`.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float, or (N, ...) with reduction="none".

    Source
    ------
    Girshick 2015, Fast R-CNN, equation 3. Numbers as torch.nn.SmoothL1Loss.

    Examples
    --------
    >>> loss_func = SmoothL1Loss(beta=2.0)
    >>> loss_func(np.array([[1.0], [5.0]]), np.array([[0.0], [2.0]]))
    1.125
    >>> loss_func.backward()
    array([[0.25],
           [0.5 ]])
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = at_least_zero(beta, "beta")

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        clipped = np.clip(difference, -self.beta, self.beta) / self.beta if self.beta else np.sign(difference)
        self.save_for_backward(clipped)
        return self.reduce(clipped * (difference - self.beta * clipped / 2))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (clipped,) = self.saved()
        return self.reduce_backward(clipped, grad)


def at_least_zero(value: float, name: str) -> float:
    """Return ``value`` as a Python float, or raise an error that names the argument."""
    if not is_finite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
