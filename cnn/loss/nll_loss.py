"""NLLLoss: the negative log-likelihood of the true class, from log-probabilities."""

import math
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.errors import InputError
from cnn.functional.sums import sum_of_many
from cnn.loss.cross_entropy_loss import cross_entropy
from cnn.loss.targets import ClassificationLoss
from cnn.module import Array


class NLLLoss(ClassificationLoss):
    """Minus the log-probability that the model gave to the true class; after LogSoftmax this is cross-entropy.

    L = -1/N sum over n, k of  q[n, k] log p[n, k],  where q is 1 for the true class and 0 elsewhere

    The loss is linear in its inputs, so the gradient is their coefficients: dL/d(log p) = -q / N.

    Parameters
    ----------
    weight : K numbers, optional
        The weight of each class; a mean over class ids divides by the sum of their weights instead of N.
    ignore_index : int
        Targets with this class id are ignored. The mean is 0 if all targets are ignored (PyTorch: NaN).
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each target.

    Shape
    -----
    prediction (N, K) or (N, K, d1, ...); target (N,) or (N, d1, ...) class ids, or probabilities of the prediction's
    shape -> float, or (N,) or (N, d1, ...) with reduction="none".

    Source
    ------
    Fisher 1922, maximum likelihood. Numbers as torch.nn.NLLLoss, which does not accept probabilities as targets.

    Examples
    --------
    >>> loss_func = NLLLoss()
    >>> print(round(loss_func(np.log(np.array([[0.25, 0.75]])), np.array([1])), 4))
    0.2877
    >>> loss_func.backward()
    array([[ 0., -1.]])
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, ignore_index, reduction)

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, K, ...), (N, ...) or (N, K, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        target = self.check_target(target, prediction.shape)
        check_log_probabilities(prediction)
        q, count = self.weighted_target(prediction, target), self.count(prediction, target) or math.inf
        self.save_for_backward(q, count)
        losses = cross_entropy(prediction, q)
        return self.reduce(losses.astype(prediction.dtype) if self.reduction == "none" else losses, count)

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, K, ...)"""
        q, count = self.saved()
        return self.reduce_backward(0 - q, grad, count, axis=1)


@without_warnings  # of an exponential that overflows
def check_log_probabilities(log_p: Array) -> None:
    """Raise an error that names the fix if the exponentials do not sum to one along axis 1; NaN is accepted."""
    sums = sum_of_many(np.exp(log_p), 1)
    wrong = np.abs(sums - 1) > 1e-3
    if wrong.any():
        fix = "end the model with LogSoftmax(dim=1), or use CrossEntropyLoss(from_logits=True)"
        if np.all(log_p >= 0) and np.all(np.abs(sum_of_many(log_p, 1) - 1) <= 1e-3):
            fix = "these are probabilities: take np.log of them, or end the model with LogSoftmax(dim=1)"
        raise InputError(
            f"NLLLoss expects log-probabilities, whose exponentials sum to 1 along axis 1, but got a sum of "
            f"{sums[wrong][0]:.4g}: {fix}"
        )
