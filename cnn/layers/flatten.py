"""Flatten: each image becomes one row of numbers."""

import math

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import ShapeError
from cnn.module import Array, Module


class Flatten(Module):
    """Write all channels and pixels of each sample in one row, as a Linear layer needs them.

    y[n] = x[n] read in the order of its axes

    Values are only moved, so the gradient is moved back in the same way.

    Shape
    -----
    (N, C, H, W), or any shape of at least two axes -> (N, C H W).

    Raises
    ------
    ShapeError
        If the input has no batch axis.

    Source
    ------
    The order is that of torch.nn.Flatten: channel, then row, then column, for any memory layout.

    Examples
    --------
    >>> Flatten()(np.zeros((2, 3, 4, 4), np.float32)).shape
    (2, 48)
    """

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C*H*W)"""
        x = check_input(x)
        if x.ndim < 2:
            raise ShapeError(f"expected a batch, (N, ...), got {x.shape}: a single sample needs a batch axis: x[None]")
        self.save_for_backward(x.shape, x.dtype)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, grad: Array) -> Array | None:
        """(N, C*H*W) -> (N, C, H, W)"""
        shape, dtype = self.saved()
        check_grad(self, grad, (shape[0], math.prod(shape[1:])), dtype)
        return np.reshape(grad, shape)
