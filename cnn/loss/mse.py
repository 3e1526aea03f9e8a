"""MSELoss: the mean squared error."""

from typing import Any

from cnn.loss.targets import ElementwiseLoss
from cnn.module import Array


class MSELoss(ElementwiseLoss):
    """Mean squared error: large errors count most.

    L = 1/M sum over all M values of (prediction - target)²

    The gradient is proportional to the error: dL/dprediction = 2 (prediction - target) / M.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        One number for the batch, or a loss for each value.

    Shape
    -----
    prediction (N, ...), target of the same shape -> float, or (N, ...) with reduction="none".

    Source
    ------
    Legendre 1805, Gauss 1809; numbers as torch.nn.MSELoss.

    Examples
    --------
    >>> import numpy as np
    >>> loss_func = MSELoss()
    >>> loss_func(np.array([[1.0], [3.0]]), np.array([[0.0], [3.0]]))
    0.5
    >>> loss_func.backward()
    array([[1.],
           [0.]])
    """

    def forward(self, prediction: Array, target: Any) -> float | Array:
        """(N, ...), (N, ...) -> float; (N, ...) if not reduced"""
        prediction = self.check_prediction(prediction)
        difference = prediction - self.check_target(target, prediction.shape).astype(prediction.dtype)
        self.save_for_backward(difference)
        return self.reduce(difference * difference)

    def backward(self, grad: Array | None = None) -> Array:
        """-> (N, ...)"""
        (difference,) = self.saved()
        return self.reduce_backward(2 * difference, grad)


MSE = MSELoss
