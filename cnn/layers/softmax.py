"""Softmax: scores become probabilities."""

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import ShapeError
from cnn.functional.sums import sum_of_many
from cnn.module import Array, Module


def softmax(x: Array, dim: int = -1) -> Array:
    """Any shape -> the same; sums to 1 along ``dim``."""
    if x.size == 0:
        return x.copy()  # of no numbers there is no largest
    largest = np.maximum.reduce(x, axis=dim, keepdims=True)  # x.max, without its 2 us in Python
    e = np.exp(x - largest)  # leaves the result unchanged and keeps exp from overflowing
    return e / sum_of_many(e, dim, keepdims=True)


class Softmax(Module):
    """Turn scores into probabilities that sum to one: the larger the score, the larger the probability.

    p[k] = exp(x[k]) / sum over j of exp(x[j])

    Raising one score lowers all other probabilities, so each gradient depends on all: dL/dx = p (g - sum of g p).

    Before `CrossEntropyLoss`, training skips this layer and uses the formula for both together, whose gradient is
    p - y: it loses no precision where a probability is too small for a float.

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
    estimation of parameters.

    Examples
    --------
    >>> Softmax()(np.log(np.array([[1.0, 2.0, 1.0]], np.float32)))
    array([[0.25, 0.5 , 0.25]], dtype=float32)
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
        p = softmax(x, self.dim)
        self.save_for_backward(p)
        return p

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        (p,) = self.saved()
        check_grad(self, grad, p.shape, p.dtype)
        return p * (grad - sum_of_many(grad * p, self.dim, keepdims=True))
