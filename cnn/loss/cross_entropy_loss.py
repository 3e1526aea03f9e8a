"""CrossEntropyLoss: minus the log-probability of the true class. The functions above the class are its formulas."""

import copy
import math
from typing import Any, Self

import numpy as np

from cnn.errors import InputError
from cnn.functional.sums import sum_of_many
from cnn.kernels import kernel
from cnn.loss.targets import ClassificationLoss, smoothing
from cnn.module import Array


def log_softmax(x: Array) -> Array:
    """Logarithms of the softmax along axis 1, computed without the softmax itself: (N, K, ...) -> the same"""
    x = x - x.max(axis=1, keepdims=True)  # does not change the result, and exp cannot overflow
    return x - np.log(sum_of_many(np.exp(x), 1, keepdims=True))


def cross_entropy(log_p: Array, q: Array) -> Array:
    """Minus the sum over the classes of q log p: (N, K, ...), (N, K, ...) -> (N, ...)"""
    terms = np.zeros_like(log_p)
    np.multiply(q, log_p, out=terms, where=q > 0)  # where q is 0, log p may be minus infinity, but the term is 0
    return 0.0 - terms.sum(axis=1, dtype=np.float64)


@kernel
def mean_and_gradient(logits: Array, ids: Array) -> tuple[float, Array] | None:
    """Mean loss of logits (N, K) for class ids (N,), and its gradient (p - q) / N; None if an id is not a class."""
    n, classes = logits.shape
    if ids.min() < 0 or ids.max() >= classes:
        return None
    q = (ids[:, None] == np.arange(classes)).astype(logits.dtype)
    log_p = log_softmax(logits)
    loss = float(cross_entropy(log_p, q).sum()) / n
    return loss, (np.exp(log_p) - q) / n


class CrossEntropyLoss(ClassificationLoss):
    """How surprised the model is by the true class: minus the logarithm of the probability that it assigned to it.

    L = -1/N sum over n, k of  q[n, k] log p[n, k],  where q is 1 for the true class and 0 elsewhere

    From probabilities, dL/dp = -q / (p N). From logits x with p = softmax(x) the two formulas combine to
    dL/dx = (p - q) / N, which gives a gradient even where p underflows to 0. A Sequential that ends with Softmax trains
    with it; a loop written by hand over Softmax and this loss gives the same numbers as long as p does not underflow.

    Parameters
    ----------
    from_logits : bool
        False: predictions are probabilities, the output of Softmax. True: they are logits, the output of Linear.
    weight : K numbers, optional
        How much each class counts: q[n, k] is multiplied by weight[k], and a mean over class ids divides by the sum of
        their weights instead of N (over target probabilities it still divides by N, as PyTorch does).
    ignore_index : int
        Class ids of this value do not count. If no id counts, the mean is 0, with gradient 0: such a batch
        changes nothing and does not stop training (PyTorch's loss is NaN in this case).
    reduction : {"mean", "sum", "none"}
        One number for the batch, or one loss for each target.
    label_smoothing : float
        This fraction of each target, 0 to 1, is distributed evenly over all classes before they are weighted.

    Shape
    -----
    prediction (N, K) or (N, K, d1, ...); target (N,) or (N, d1, ...) class ids of any integer dtype, or probabilities
    of the prediction's shape that sum to one along axis 1 -> float, or (N,) or (N, d1, ...) with reduction="none".

    Raises
    ------
    ValueError
        If a setting is not one of those above, or predictions and targets do not fit each other.

    Source
    ------
    Shannon 1948, A mathematical theory of communication, section 6; with softmax: Bridle 1990, Probabilistic
    interpretation of feedforward classification network outputs, with relationships to statistical pattern recognition;
    smoothing: Szegedy et al. 2016, Rethinking the Inception architecture for computer vision, arXiv 1512.00567,
    section 7. Numbers as torch.nn.CrossEntropyLoss (from_logits=True).

    Examples
    --------
    >>> loss_func = CrossEntropyLoss()
    >>> print(round(loss_func(np.array([[0.25, 0.75]]), np.array([1])), 4))
    0.2877
    >>> loss_func = CrossEntropyLoss(from_logits=True)
    >>> print(round(loss_func(np.array([[0.0, 0.0]]), np.array([1])), 4))
    0.6931
    >>> loss_func.backward()
    array([[ 0.5, -0.5]])
    """

    def __init__(
        self,
        from_logits: bool = False,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        if not isinstance(from_logits, (bool, np.bool_)):
            raise ValueError(f"from_logits must be True or False, got {from_logits!r}; weights are given as weight=...")
        super().__init__(weight, ignore_index, reduction)
        self.from_logits = bool(from_logits)
        self.label_smoothing = smoothing(label_smoothing)

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, K, ...), (N, ...) or (N, K, ...) -> float; (N, ...) if not reduced"""
        if self._is_plain(prediction, target):
            result = mean_and_gradient(prediction, target)
            if result is not None:  # otherwise `check_target` raises the error
                self.save_for_backward(result[1])
                return result[0]
        prediction = self.check_prediction(prediction)
        target = self.check_target(target, prediction.shape)
        q, count = self.weighted_target(prediction, target), self.count(prediction, target) or math.inf
        if self.from_logits:
            log_p = log_softmax(prediction)
        else:
            check_probabilities(prediction)
            prediction = np.maximum(prediction, np.finfo(prediction.dtype).tiny)  # the logarithm of 0 is not finite
            log_p = np.log(prediction)
        self.save_for_backward(prediction, log_p, q, count)
        losses = cross_entropy(log_p, q)
        return self.reduce(losses.astype(prediction.dtype) if self.reduction == "none" else losses, count)

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, K, ...)"""
        saved = self.saved()
        if len(saved) == 1:
            return saved[0] if grad is None else self.reduce_backward(saved[0], grad)
        p, log_p, q, count = saved
        grad_of_prediction = np.exp(log_p) * sum_of_many(q, 1, keepdims=True) - q if self.from_logits else -q / p
        return self.reduce_backward(grad_of_prediction, grad, count, axis=1)

    def _is_plain(self, prediction: Any, target: Any) -> bool:
        """Whether this is the usual case: logits and one class id for each sample, all with the same weight."""
        return (
            self.from_logits
            and type(prediction) is type(target) is np.ndarray
            and prediction.ndim == 2
            and prediction.size > 0
            and prediction.dtype.kind == "f"
            and prediction.dtype.itemsize > 2  # float16 is converted first
            and target.dtype.kind in "iu"
            and target.shape == prediction.shape[:1]
            and self.weight is None
            and self.reduction == "mean"
            and not self.label_smoothing
            and self.ignore_index < 0  # no id from 0 on is ignored
        )

    def for_logits(self) -> Self:
        """Return the same loss with from_logits=True, which combines Softmax and loss in one formula."""
        joint = copy.copy(self)
        joint.from_logits = True
        return joint


def check_probabilities(p: Array) -> None:
    """Raise an error that names the fix unless all values are at least 0 and sum to 1 along axis 1."""
    sums = sum_of_many(p, 1)
    wrong = ~((p >= 0).all(axis=1) & (np.abs(sums - 1) <= 1e-3))
    if wrong.any():
        n, *position = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
        where = f"row {n}" + (f" at {tuple(position)}" if position else "")
        row = np.moveaxis(p, 1, -1)[(n, *position)]
        raise InputError(
            f"CrossEntropyLoss() reads probabilities, but {where} holds values from {row.min():.4g} to {row.max():.4g} "
            f"with sum {sums[(n, *position)]:.4g}: end the model with "
            f"Softmax({'dim=1' if position else ''}), or use CrossEntropyLoss(from_logits=True)"
        )
