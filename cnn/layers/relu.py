"""ReLU: negative values become zero."""

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.functional.elementwise import gate
from cnn.kernels import kernel
from cnn.module import Array, Module


@kernel
def relu(x: Array) -> tuple[Array, Array]:
    """Any shape -> the output of the same shape, and a mask of the blocked elements."""
    y = np.maximum(x, 0, out=np.empty_like(x))  # NaN stays NaN
    return y, y <= 0


class ReLU(Module):
    """Keep positive values and block negative ones: a nonlinearity makes a stack of layers more than one linear map.

    y = max(x, 0)

    Where x > 0 the slope is 1, so the gradient is unchanged; elsewhere, including at x = 0, it is zero.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines; Glorot, Bordes and Bengio 2011,
    Deep sparse rectifier neural networks.

    Examples
    --------
    >>> ReLU()(np.array([[-1.0, 2.0]], np.float32))
    array([[0., 2.]], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        y, blocked = relu(x)
        self.save_for_backward(blocked, x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        blocked, dtype = self.saved()
        check_grad(self, grad, blocked.shape, dtype)
        # np.where(x > 0, grad, 0) takes ten times as long, and grad * (x > 0) turns a blocked infinity into NaN
        return gate(grad, blocked)
