"""BCELoss and BCEWithLogitsLoss: binary cross-entropy, for labels that are each 0 or 1."""

from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.errors import InputError, ShapeError
from cnn.functional.elementwise import sigmoid
from cnn.loss.targets import ElementwiseLoss, as_tuple, smoothing
from cnn.module import Array

MIN_DENOMINATOR = float(np.float32(1e-12))  # in BCELoss's gradient; float32, as in PyTorch


@without_warnings  # log(0) is minus infinity, and becomes -100
def clamped_logs(p: Array) -> tuple[Array, Array]:
    """Return log(p) and log(1 - p), at least -100."""
    return np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow; it is minus the logarithm of sigmoid(-x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


class BinaryLoss(ElementwiseLoss):
    """The base of both losses: targets between 0 and 1, their smoothing, and weights for elements and for label 1."""

    def __init__(self, weight: Any, reduction: str, pos_weight: Any, label_smoothing: float) -> None:
        super().__init__(reduction)
        self.weight = as_tuple(weight, "weight")
        self.pos_weight = as_tuple(pos_weight, "pos_weight")
        self.label_smoothing = smoothing(label_smoothing)

    def smoothed(self, target: Any, prediction: Array) -> Array:
        """Return the checked target in the prediction's dtype, after smoothing: (N, ...) -> the same"""
        y = self.check_target(target, prediction.shape).astype(prediction.dtype)
        return y * (1 - self.label_smoothing) + self.label_smoothing / 2 if self.label_smoothing else y

    def probabilities(self, prediction: Array) -> Array:
        """Return the probability of label 1: (N, ...) -> the same"""
        return prediction

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array if it has the prediction's shape and values in 0 to 1; True counts as 1."""
        target = np.asarray(target)
        target = super().check_target(target.astype(np.uint8) if target.dtype == bool else target, shape)
        if target.size and not (target.min() >= 0 and target.max() <= 1):
            low, high = target.min(), target.max()
            fix = "for labels -1 and 1 pass (y + 1) / 2" if low == -1 else "for classes use CrossEntropyLoss"
            if low == -100:
                fix = 'for masks with -100 outside the image give the transform mask_fill=0 or edge="reflect"'
            if low >= 0 and 1 < high <= 255 and (high == 255 or target.ndim > 2):
                fix = "divide a mask of 0 and 255 by 255" + (f"; {fix}" if high < 255 else "")
            raise InputError(f"{type(self).__name__} expects targets between 0 and 1, got {low} to {high}: {fix}")
        return target


class BCELoss(BinaryLoss):
    """Binary cross-entropy from probabilities: minus the log of the probability that the model gave to each label.

    L = -1/M sum over all M values of  w y log p + (1 - y) log(1 - p),  with logarithms of at least -100

    Without w the gradient, dL/dp = (p - y) / (p (1 - p) M), is large where the model is sure and wrong. Near p = 0 and
    p = 1 precision is lost; `BCEWithLogitsLoss` without Sigmoid keeps it.

    Parameters
    ----------
    weight : array_like, optional
        Numbers that the losses are multiplied by, of a shape that broadcasts to the prediction's.
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    pos_weight : array_like, optional
        w, the weight of label 1: above 1 it raises recall, which helps with rare labels. One number, one for each
        column of predictions (N, K), or any shape that broadcasts to the prediction's, such as (K, 1, 1) for
        (N, K, H, W). PyTorch has it in BCEWithLogitsLoss only.
    label_smoothing : float
        s, 0 to 1: targets y become y (1 - s) + s / 2, before they are weighted. So the model is never asked to be sure.

    Shape
    -----
    prediction (N, ...) between 0 and 1, target of the same shape -> float, or (N, ...) with reduction="none".

    Raises
    ------
    InputError
        If a prediction is not between 0 and 1.

    Source
    ------
    Good 1952, Rational decisions; smoothing: Szegedy et al. 2016, Rethinking the Inception architecture for computer
    vision, arXiv 1512.00567, section 7. Numbers as torch.nn.BCELoss.

    Examples
    --------
    >>> loss_func = BCELoss()
    >>> print(round(loss_func(np.array([[0.5, 0.75]]), np.array([[1, 1]])), 4))
    0.4904
    >>> loss_func.backward()
    array([[-1.        , -0.66666667]])
    """

    def __init__(
        self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction, pos_weight, label_smoothing)

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        p, y = prediction, self.smoothed(target, prediction)
        wrong = (p < 0) | (p > 1)  # False for NaN, which the training loop reports
        if wrong.any():
            raise InputError(
                f"BCELoss expects probabilities between 0 and 1, got {p[wrong][0]:.4g}: end the model with Sigmoid(), "
                "or use BCEWithLogitsLoss()"
            )
        weight, positive = (
            broadcast_weight(self.weight, "weight", p),
            broadcast_weight(self.pos_weight, "pos_weight", p),
        )
        log_p, log_not_p = clamped_logs(p)
        self.save_for_backward(p, y, weight, positive)
        return self.reduce(((y - 1) * log_not_p - y * positive * log_p) * weight)

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        p, y, weight, positive = self.saved()
        difference = p - y if self.pos_weight is None else (1 - y) * p - y * positive * (1 - p)
        return self.reduce_backward(difference / np.maximum(p * (1 - p), MIN_DENOMINATOR) * weight, grad)


class BCEWithLogitsLoss(BinaryLoss):
    """Sigmoid and `BCELoss` combined, without loss of precision: the model ends without Sigmoid.

    L = -1/M sum over all M values of  w y log s(x) + (1 - y) log(1 - s(x)),  where s(x) = 1 / (1 + exp(-x))

    Without w the gradient has the same form as for softmax and cross-entropy: dL/dx = (s(x) - y) / M. With w it is
    dL/dx = ((1 - y) s(x) - w y (1 - s(x))) / M.

    Parameters
    ----------
    weight : array_like, optional
        Numbers that the losses are multiplied by, of a shape that broadcasts to the prediction's.
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.
    pos_weight : array_like, optional
        w, the weight of label 1: above 1 it raises recall, which helps with rare labels. One number, one for each
        column of predictions (N, K), or any shape that broadcasts to the prediction's, such as (K, 1, 1) for
        (N, K, H, W).
    label_smoothing : float
        s, 0 to 1: targets y become y (1 - s) + s / 2, before they are weighted. So the model is never asked to be sure.

    Shape
    -----
    prediction (N, ...) of any real numbers, target of the same shape -> float, or (N, ...) with reduction="none".

    Source
    ------
    Cox 1958, The regression analysis of binary sequences; smoothing: see `BCELoss`. Numbers as
    torch.nn.BCEWithLogitsLoss, which has no label_smoothing.

    Examples
    --------
    >>> loss_func = BCEWithLogitsLoss()
    >>> print(round(loss_func(np.array([[0.0, 1000.0]]), np.array([[1, 0]])), 4))
    500.3466
    >>> loss_func.backward()
    array([[-0.25,  0.5 ]])
    >>> print(round(BCEWithLogitsLoss(label_smoothing=0.2)(np.array([[10.0]]), np.array([[1]])), 4))  # label 0.9
    1.0
    """

    def __init__(
        self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction, pos_weight, label_smoothing)

    def probabilities(self, prediction: Array) -> Array:
        """Return the probability of label 1: (N, ...) -> the same"""
        return sigmoid(prediction)

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        y = self.smoothed(target, prediction)
        weight = broadcast_weight(self.weight, "weight", prediction)
        positive, negative = y * weight * broadcast_weight(self.pos_weight, "pos_weight", prediction), (1 - y) * weight
        minus_log_s, minus_log_not_s = softplus(-prediction), softplus(prediction)
        self.save_for_backward(positive, negative, minus_log_s, minus_log_not_s)
        return self.reduce(positive * minus_log_s + negative * minus_log_not_s)

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        positive, negative, minus_log_s, minus_log_not_s = self.saved()
        return self.reduce_backward(negative * np.exp(-minus_log_s) - positive * np.exp(-minus_log_not_s), grad)


def broadcast_weight(weight: Any, name: str, prediction: Array) -> Array | float:
    """Return a weight as an array that broadcasts to the prediction, or raise an error that names the fix."""
    if weight is None:
        return 1.0
    array, shape = np.array(weight, prediction.dtype), prediction.shape
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        fix = f"give {shape[-1]} numbers"
        if len(shape) > 2 and array.shape == shape[1:2]:
            fix = f"for one number per channel pass np.reshape({name}, {(shape[1], *[1] * (len(shape) - 2))})"
        raise ShapeError(f"{name} of shape {array.shape} does not fit predictions of shape {shape}: {fix}")
    return array
