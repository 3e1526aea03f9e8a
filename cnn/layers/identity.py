"""Identity: the output is the input."""

from cnn.core.checks import check_grad, check_input
from cnn.module import Array, Module


class Identity(Module):
    """Return the input: the skip connection of a residual net, or a placeholder.

    y = x

    The gradient is unchanged.

    Shape
    -----
    Any shape -> the same.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Identity mappings in deep residual networks, arXiv 1603.05027.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        self.save_for_backward(x.shape, x.dtype)
        return x

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        check_grad(self, grad, *self.saved())
        return grad
