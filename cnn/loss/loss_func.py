"""LossFunc: the base class of all losses."""

from typing import Any

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import InputError, ShapeError
from cnn.module import Array, Differentiable


class LossFunc(Differentiable):
    """A loss: a number that measures how wrong a prediction is, and its gradient.

    A subclass implements ``forward(prediction, target)``, which saves what ``backward()`` needs to return the gradient
    of the prediction, and overrides ``check_target`` if it restricts its targets. With `reduce` in forward and
    `reduce_backward` in backward it supports all three reductions; a loss that is always a mean returns a float and
    needs neither.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or an array with a loss for each target. Training needs one number.

    Raises
    ------
    ValueError
        If ``reduction`` is none of the three, or predictions and targets do not fit each other.

    Examples
    --------
    >>> class AbsoluteLoss(LossFunc):
    ...     def forward(self, prediction, target):
    ...         self.save_for_backward(np.sign(prediction - target))
    ...         return self.reduce(np.abs(prediction - target))
    ...     def backward(self, grad=None):
    ...         (slope,) = self.saved()
    ...         return self.reduce_backward(slope, grad)
    >>> loss_func = AbsoluteLoss()
    >>> loss_func(np.array([[1.0, 5.0]]), np.array([[2.0, 3.0]]))
    1.5
    >>> loss_func.backward()
    array([[-0.5,  0.5]])
    """

    reduction: str = "mean"

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
        self.reduction = reduction

    def forward(self, prediction: Array, target: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, prediction, target)")

    def backward(self, grad: Array | None = None) -> Array:
        raise NotImplementedError(
            f"{type(self).__name__} needs a method backward(self) that returns grad_of_prediction"
        )

    def __call__(self, prediction: Array, target: Any) -> Any:
        return self.forward(prediction, target)

    def check_prediction(self, prediction: Any) -> Array:
        """Return the prediction, or raise an error unless it is a floating-point array; float16 becomes float32.

        A mean also needs at least one sample.
        """
        prediction = check_input(prediction)
        if prediction.size == 0 and self.reduction == "mean":
            raise InputError(f"the mean over no samples is undefined: got a prediction of shape {prediction.shape}")
        return prediction

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array that fits predictions of ``shape``, or raise an error that names the fix."""
        target = np.asarray(target)
        if len(target) != shape[0]:
            raise ShapeError(f"{shape[0]} predictions need as many targets, got {len(target)}")
        return target

    def count(self, prediction: Array, target: Array) -> float:
        """Return the weight of this batch's mean in a mean over several batches: its number of samples."""
        return len(prediction)

    def reduce(self, losses: Array, count: float | None = None) -> float | Array:
        """Return the mean (the sum divided by ``count``, or by the number of losses), the sum, or the losses unchanged.

        Sums are taken in float64.
        """
        if self.reduction == "none":
            return losses
        total = float(np.sum(losses, dtype=np.float64))
        return total if self.reduction == "sum" else total / (losses.size if count is None else count)

    def reduce_backward(
        self, slope: Array, grad: Array | None, count: float | None = None, axis: int | None = None
    ) -> Array:
        """Return the gradient through `reduce`, from the derivative of each loss, ``slope``.

        ``grad`` is the gradient of the losses, which only reduction="none" has. If ``axis`` is given, the losses do not
        have that axis of ``slope``.
        """
        if self.reduction == "none":
            if grad is None:
                return slope
            shape = slope.shape if axis is None else slope.shape[:axis] + slope.shape[axis + 1 :]
            check_grad(self, grad, shape, slope.dtype)
            return slope * (grad if axis is None else np.expand_dims(grad, axis))
        if grad is not None:
            raise InputError(
                f"a loss that is one number (reduction={self.reduction!r}) takes no gradient: call backward() without "
                'one, or use reduction="none"'
            )
        return slope if self.reduction == "sum" else slope / (slope.size if count is None else count)


def check_loss_grad(loss_func: LossFunc, grad: Any, prediction: Array) -> None:
    """Raise an error that names the loss unless ``grad`` is a gradient of the prediction, of its shape and dtype."""
    right_shape = isinstance(grad, np.ndarray) and grad.shape == prediction.shape
    expected = np.dtype(np.float32) if prediction.dtype == np.float16 else prediction.dtype
    if right_shape and grad.dtype == expected:
        return
    got = f"{grad.dtype} of shape {grad.shape}" if isinstance(grad, np.ndarray) else type(grad).__name__
    fix = f': return grad.astype("{expected}")' if right_shape and grad.dtype.kind == "f" else ""
    raise InputError(
        f"{type(loss_func).__name__}.backward must return the gradient of the prediction, {expected} of shape "
        f"{prediction.shape}, got {got}{fix}"
    )


def check_one_number(loss_func: LossFunc) -> None:
    """Raise an error that names the fix if a loss returns an array, with which training is impossible."""
    if loss_func.reduction == "none":
        raise ValueError(
            f"{loss_func!r} returns a loss for each target, but training and evaluation need one number: use "
            'reduction="mean" or "sum", or call the loss and its backward(grad) yourself'
        )
