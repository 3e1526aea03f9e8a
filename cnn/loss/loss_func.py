"""LossFunc: what every loss is."""

from typing import Any

import numpy as np

from cnn.checks import check_input
from cnn.errors import InputError, ShapeError
from cnn.module import Array, Differentiable


class LossFunc(Differentiable):
    """A number that says how wrong a prediction is, and its gradient.

    A subclass writes ``forward(prediction, target)``, which returns the mean over the batch as a float and saves what
    ``backward()`` needs to return the gradient of the prediction; and, if its targets have rules, ``check_target``.

    Examples
    --------
    >>> class AbsoluteLoss(LossFunc):
    ...     def forward(self, prediction, target):
    ...         self.save_for_backward(np.sign(prediction - target) / prediction.size)
    ...         return float(np.abs(prediction - target).mean())
    ...     def backward(self):
    ...         return self.saved()[0]
    >>> loss_func = AbsoluteLoss()
    >>> loss_func(np.array([[1.0, 5.0]]), np.array([[2.0, 3.0]]))
    1.5
    >>> loss_func.backward()
    array([[-0.5,  0.5]])
    """

    def forward(self, prediction: Array, target: Any) -> float:
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, prediction, target)")

    def backward(self) -> Array:
        raise NotImplementedError(
            f"{type(self).__name__} needs a method backward(self) that returns grad_of_prediction"
        )

    def __call__(self, prediction: Array, target: Any) -> float:
        return self.forward(prediction, target)

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array that fits predictions of ``shape``, or raise an error that names the fix."""
        target = np.asarray(target)
        if len(target) != shape[0]:
            raise ShapeError(f"{shape[0]} predictions need as many targets, got {len(target)}")
        return target


def check_prediction(prediction: Any) -> None:
    """Raise an error unless ``prediction`` is a floating array with at least one sample."""
    check_input(prediction)
    if prediction.size == 0:
        raise InputError(f"a mean over no samples has no value: got a prediction of shape {prediction.shape}")
