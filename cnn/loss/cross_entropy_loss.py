"""CrossEntropyLoss: how surprised the model is by the true class. Its mathematics are the functions above the class."""

from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError
from cnn.loss.loss_func import LossFunc, check_prediction
from cnn.module import Array


def log_softmax(x: Array) -> Array:
    """Logarithms of the softmax of each row, without ever writing a probability as a float: (N, K) -> (N, K)."""
    x = x - x.max(axis=1, keepdims=True)  # changes nothing and keeps exp from overflowing
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def one_hot(ids: Array, classes: int, dtype: np.dtype[Any]) -> Array:
    """Probability 1 for the given class: (N,) -> (N, K)."""
    target = np.zeros((len(ids), classes), dtype)
    target[np.arange(len(ids)), ids] = 1
    return target


class CrossEntropyLoss(LossFunc):
    """How surprised the model is by the true class: minus the logarithm of the probability that it gave to it.

    L = -1/N sum over n, k of  t[n, k] log p[n, k],  where t is 1 for the true class and 0 elsewhere

    From probabilities, dL/dp = -t / (p N). From logits x with p = softmax(x) the two formulas shrink to one,
    dL/dx = (p - t) / N, which has a gradient even where p is too small to be written as a float. A Sequential that ends
    with Softmax trains by it; a loop by hand over Softmax and this loss gives the same numbers until then.

    Parameters
    ----------
    from_logits : bool
        False: predictions are probabilities, as Softmax gives them. True: they are logits, as Linear gives them.

    Shape
    -----
    prediction (N, K); target (N,) class ids of any integer dtype, or (N, K) probabilities whose rows sum to one ->
    float.

    Source
    ------
    Shannon 1948; with softmax: Bridle 1990. Numbers as torch.nn.CrossEntropyLoss (from_logits=True).

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

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)

    def forward(self, prediction: Array, target: Any) -> float:
        """(N, K), (N,) or (N, K) -> float"""
        check_prediction(prediction)
        target = self.check_target(target, prediction.shape)
        if target.ndim == 1:
            target = one_hot(target, prediction.shape[1], prediction.dtype)
        target = target.astype(prediction.dtype, copy=False)
        if self.from_logits:
            log_p = log_softmax(prediction)
        else:
            self._check_probabilities(prediction)
            prediction = np.maximum(prediction, np.finfo(prediction.dtype).tiny)  # the logarithm of 0 is no number
            log_p = np.log(prediction)
        self.save_for_backward(prediction, log_p, target)
        told = target > 0  # elsewhere log p may be minus infinity, and counts nothing
        return float(-np.sum(target[told] * log_p[told], dtype=np.float64) / len(target))

    def backward(self) -> Array:
        """-> (N, K)"""
        p, log_p, target = self.saved()
        if self.from_logits:
            return (np.exp(log_p) * target.sum(axis=1, keepdims=True) - target) / len(target)
        return -target / p / len(target)

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array if it holds class ids, or probabilities, for predictions of shape (N, K)."""
        if len(shape) != 2:
            raise ShapeError(
                f"CrossEntropyLoss expects predictions (N, K), got {shape}: flatten before the last Linear"
            )
        target = np.asarray(target)
        n, classes = shape
        if target.dtype.kind not in "iuf":
            fix = "names, y = np.unique(y, return_inverse=True) turns names into integers"
            if target.dtype == bool:
                fix = "pass y.astype(np.int64)"
            elif target.shape == () and target.item() is None:
                fix = "the labels are missing"
            raise InputError(
                f"labels must be integers from 0 to {classes - 1}, got {target.dtype}: pass "
                + (
                    "y.astype(np.int64)"
                    if target.dtype == bool
                    else "ids: names, y = np.unique(y, return_inverse=True)"
                )
            )
        if target.ndim == 0 or len(target) != n:
            raise ShapeError(f"{n} samples need {n} labels, got {len(target) if target.ndim else 'a single number'}")
        if target.shape == (n, classes) and (classes > 1 or target.dtype.kind == "f"):
            if not (np.all(target >= 0) and np.allclose(target.sum(axis=1), 1, atol=1e-3)):
                raise InputError("targets (N, K) are probabilities: each row must hold no negative number and sum to 1")
            return target
        if target.ndim != 1:
            fix = (
                "pass y.ravel()" if target.size == n else f"for one-hot rows the model needs {target.shape[-1]} outputs"
            )
            raise ShapeError(f"expected labels (N,) or probabilities (N, {classes}), got {target.shape}: {fix}")
        if target.dtype.kind == "f":
            whole = np.isfinite(target).all() and bool(np.all(target == np.floor(target)))
            fix = "pass y.astype(np.int64)" if whole else "for real-valued targets use MSELoss"
            raise InputError(f"labels must be integers, got {'' if whole else 'fractional '}{target.dtype}: {fix}")
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= classes:
            fix = (
                "number the classes from 0" if low < 0 or low == 1 else f"give the last Linear {high + 1} out_features"
            )
            raise InputError(
                f"labels must lie between 0 and {classes - 1} for {classes} outputs, got {low} to {high}: {fix}"
            )
        return target

    @staticmethod
    def _check_probabilities(p: Array) -> None:
        sums = p.sum(axis=1)
        wrong = ~((p >= 0).all(axis=1) & (np.abs(sums - 1) <= 1e-3))
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"CrossEntropyLoss() reads probabilities, but row {row} holds values from {p[row].min():.4g} to "
                f"{p[row].max():.4g} with sum {sums[row]:.4g}: end the model with Softmax(), or use "
                "CrossEntropyLoss(from_logits=True)"
            )
