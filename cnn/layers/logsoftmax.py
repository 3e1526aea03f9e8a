"""LogSoftmax: scores become log-probabilities."""

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import ShapeError
from cnn.functional.sums import sum_of_many
from cnn.module import Array, Module


def log_softmax(x: Array, dim: int = -1) -> Array:
    """Any shape -> the same; the exponentials sum to 1 along ``dim``."""
    if x.size == 0:
        return x.copy()  # of no numbers there is no largest
    y = x - x.max(axis=dim, keepdims=True)  # leaves the result unchanged and keeps exp from overflowing
    return y - np.log(sum_of_many(np.exp(y), dim, keepdims=True))


class LogSoftmax(Module):
    """The logarithm of Softmax in one step: no probability underflows, however small.

    y[k] = x[k] - log(sum over j of exp(x[j]))

    Raising one score lowers all other probabilities, so each gradient depends on all of them: dL/dx = g - exp(y) sum of
    g.

    Parameters
    ----------
    dim : int
        The axis along which the probabilities sum to one.

    Shape
    -----
    Any shape that has this axis -> the same.

    Raises
    ------
    ValueError
        If ``dim`` is not an integer, or the input has no such axis.

    Source
    ------
    Bridle 1990, Training stochastic model recognition algorithms as networks can lead to maximum mutual information
    estimation of parameters; numbers as in torch.nn.LogSoftmax.

    Examples
    --------
    >>> LogSoftmax()(np.array([[0.0, 0.0], [1e4, 0.0]]))
    array([[-6.93147181e-01, -6.93147181e-01],
           [ 0.00000000e+00, -1.00000000e+04]])
    """

    def __init__(self, dim: int = -1) -> None:
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
            raise ValueError(f"dim must be the number of an axis, such as 1 or -1, got {dim!r}")
        self.dim = int(dim)

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(
                f"dim={self.dim} needs at least {max(-self.dim, self.dim + 1)} axes, got {x.shape}: change dim"
            )
        y = log_softmax(x, self.dim)
        self.save_for_backward(y)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        (y,) = self.saved()
        check_grad(self, grad, y.shape, y.dtype)
        return grad - np.exp(y) * sum_of_many(grad, self.dim, keepdims=True)
