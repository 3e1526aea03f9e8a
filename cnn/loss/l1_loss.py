"""L1Loss, SmoothL1Loss and HuberLoss: the absolute error, and two that are round at its corner."""

import math
from typing import Any

import numpy as np

from cnn.loss.targets import ElementwiseLoss
from cnn.module import Array


class L1Loss(ElementwiseLoss):
    """Mean of the absolute differences: one outlier counts no more than its distance.

    L = 1/M sum over all M values of |prediction - target|

    The gradient is the same however large the error: dL/dprediction = sign(prediction - target) / M.

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
        self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        self.save_for_backward(difference)
        return self.reduce(np.abs(difference))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (difference,) = self.saved()
        return self.reduce_backward(np.sign(difference), grad)


class HuberLoss(ElementwiseLoss):
    """Squares for small differences, distances for large ones: smooth at the target, and calm about outliers.

    L = 1/M sum over all M values of  d²/2 where |d| <= delta, delta (|d| - delta/2) elsewhere, d = prediction - target

    With c = d clipped to ±delta both are c (d - c/2), and the gradient is that of the square, clipped: c / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    delta : float
        Where the square goes over into the line, more than 0.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float, or (N, ...) with reduction="none".

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
        self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        clipped = np.clip(difference, -self.delta, self.delta)
        self.save_for_backward(clipped)
        return self.reduce(clipped * (difference - clipped / 2))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (clipped,) = self.saved()
        return self.reduce_backward(clipped, grad)


class SmoothL1Loss(ElementwiseLoss):
    """`L1Loss` with a round corner: `HuberLoss` divided by its delta, so that the slope far away is always 1.

    L = 1/M sum over all M values of  d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere, d = prediction - target

    With c = d / beta clipped to ±1 both are c (d - beta c/2), and the gradient is c / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    beta : float
        Where the square goes over into the line, at least 0; 0 is `L1Loss`.

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
        self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        clipped = np.clip(difference, -self.beta, self.beta) / self.beta if self.beta else np.sign(difference)
        self.save_for_backward(clipped)
        return self.reduce(clipped * (difference - self.beta * clipped / 2))

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (clipped,) = self.saved()
        return self.reduce_backward(clipped, grad)


def at_least_zero(value: float, name: str) -> float:
    """Return ``value`` as a plain float, or raise an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
