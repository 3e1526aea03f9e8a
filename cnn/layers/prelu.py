"""PReLU: negative values are scaled by a factor that is learned."""

import numpy as np

from cnn.core.checks import check_grad, check_input, integer
from cnn.errors import ShapeError
from cnn.functional.elementwise import finite_float
from cnn.init import constant
from cnn.module import Array, Module, Parameter


def prelu(x: Array, weight: Array) -> Array:
    """Any shape -> the same; ``weight`` broadcasts against x."""
    return np.maximum(x, 0) + weight * np.minimum(x, 0)


def prelu_input_grad(grad: Array, x: Array, weight: Array) -> Array:
    """The gradient is unchanged where x > 0, elsewhere multiplied by the weight."""
    positive = x > 0
    return grad * (positive + weight * ~positive)


def prelu_weight_grad(grad: Array, x: Array) -> Array:
    """The contribution of each element, not yet summed: only negative x is multiplied by the weight."""
    return np.where(x > 0, 0, grad * x)


class PReLU(Module):
    """Keep positive values, and learn how much of negative ones to keep.

    y = x where x > 0, else w x

    The gradient of the input is g where x > 0 and w g elsewhere; that of w is the sum of g x over the x <= 0 that it
    multiplies.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels, so that each channel has its own w.
    init : float
        Initial value of w.

    Shape
    -----
    Any shape -> the same; with more than one w (N, C, ...) -> the same, where C is num_parameters.

    Attributes
    ----------
    weight : Parameter
        (num_parameters,). Weight decay would pull it towards 0, that is, towards ReLU.

    Raises
    ------
    ShapeError
        If the input has other channels than ``num_parameters``.

    Source
    ------
    He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, arXiv 1502.01852, section 2.1; numbers as in
    torch.nn.PReLU.

    Examples
    --------
    >>> PReLU()(np.array([[-1.0, 2.0]], np.float32))
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = integer(num_parameters, "num_parameters", 1)
        self.init = finite_float(init, "init")
        self.weight = Parameter(constant((self.num_parameters,), self.init))

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x, self.weight.dtype)
        if self.num_parameters > 1 and (x.ndim < 2 or x.shape[1] != self.num_parameters):
            fix = f"set num_parameters={x.shape[1]}, or 1 for all channels" if x.ndim > 1 else "add the channel axis"
            raise ShapeError(f"expected (N, {self.num_parameters}, ...), got {x.shape}: {fix}")
        self.save_for_backward(x)
        return np.asarray(prelu(x, self._broadcastable_weight(x)))

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        (x,) = self.saved()
        check_grad(self, grad, x.shape, x.dtype)
        others = tuple(axis for axis in range(x.ndim) if self.num_parameters == 1 or axis != 1)
        self.weight.accumulate_grad(prelu_weight_grad(grad, x).sum(axis=others).reshape(self.weight.shape))
        if not self.needs_input_grad:
            return None
        return np.asarray(prelu_input_grad(grad, x, self._broadcastable_weight(x)))

    def _broadcastable_weight(self, x: Array) -> Array:
        """Return the weight with axes of length 1 added, so that it broadcasts along axis 1 of x, or over all of x."""
        axes = (1, -1) + (1,) * (x.ndim - 2) if self.num_parameters > 1 else (1,) * x.ndim
        return self.weight.data.reshape(axes)
