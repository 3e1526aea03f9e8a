"""MSELoss: the mean squared error."""

from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError
from cnn.loss.loss_func import LossFunc, check_prediction
from cnn.module import Array


class MSELoss(LossFunc):
    """Mean of the squared differences: large errors count most.

    L = 1/M sum over all M values of (prediction - target)²

    The gradient pulls each prediction straight to its target: dL/dprediction = 2 (prediction - target) / M.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float.

    Source
    ------
    Legendre 1805, Gauss 1809; numbers as torch.nn.MSELoss.

    Examples
    --------
    >>> loss_func = MSELoss()
    >>> loss_func(np.array([[1.0], [3.0]]), np.array([[0.0], [3.0]]))
    0.5
    >>> loss_func.backward()
    array([[1.],
           [0.]])
    """

    def forward(self, prediction: Array, target: Any) -> float:
        """(N, ...), (N, ...) -> float"""
        check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        self.save_for_backward(difference)
        return float(np.mean(difference * difference, dtype=np.float64))

    def backward(self) -> Array:
        """-> (N, ...)"""
        (difference,) = self.saved()
        return difference * (2 / difference.size)

    def check_target(self, target: Any, shape: tuple[int, ...]) -> Array:
        """Return the target as an array if it is real and finite and has the shape of the prediction."""
        target = np.asarray(target)
        if target.dtype.kind not in "fiu":
            raise InputError(f"MSELoss expects targets that are real numbers, got {target.dtype}")
        if target.shape != shape:
            fix = "give the last Linear as many out_features as the target has columns"
            if target.size == np.prod(shape):
                fix = f"pass y.reshape({', '.join(str(n) for n in (-1, *shape[1:]))})"
            raise ShapeError(f"MSELoss expects a target of the prediction's shape {shape}, got {target.shape}: {fix}")
        if not np.isfinite(target).all():
            raise InputError("MSELoss expects finite targets, got NaN or infinity: remove or replace those samples")
        return target


MSE = MSELoss
