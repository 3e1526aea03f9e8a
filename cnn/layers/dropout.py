"""Dropout: in training, set random values to zero."""

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.core.rng import generator
from cnn.module import Array, Module


class Dropout(Module):
    """Zero random values in training, so that no unit can rely on a single other unit; do nothing in evaluation.

    y = x m / (1 - p),  each m[i] is 0 with probability p, else 1

    The division keeps the mean, so evaluation needs no scaling. The gradient is multiplied by the same mask,
    dL/dx = g m / (1 - p).

    Parameters
    ----------
    p : float
        Probability that a value is zeroed, 0 to 1.
    rng : numpy.random.Generator, int or None
        Draws the masks.

    Shape
    -----
    Any shape -> the same.

    Raises
    ------
    ValueError
        If ``p`` is not between 0 and 1.

    Source
    ------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, Dropout: a simple way to prevent neural networks
    from overfitting, section 4, where p is the fraction that is kept, 1 - p here; scaled in training as in section 10.

    Examples
    --------
    >>> Dropout(p=0.5, rng=0)(np.ones((2, 4), np.float32))
    array([[2., 2., 2., 0.],
           [0., 0., 0., 0.]], dtype=float32)
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | int | None = None) -> None:
        if isinstance(p, bool) or not isinstance(p, (int, float, np.number)) or not 0 <= p <= 1:
            raise ValueError(f"p is the probability that a value is zeroed and must lie between 0 and 1, got {p!r}")
        self.p = float(p)
        self.rng = generator(rng)

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        mask = None
        y = x
        if self.training and self.p > 0:
            mask = np.empty_like(x)  # same memory layout as x, which may differ from the order of its axes
            mask[...] = self.rng.random(x.shape, np.float32) >= self.p
            mask *= 1 / (1 - self.p) if self.p < 1 else 0
            y = np.multiply(x, mask, out=np.empty_like(x))
        self.save_for_backward(x.shape, x.dtype, mask)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        shape, dtype, mask = self.saved()
        check_grad(self, grad, shape, dtype)
        return grad if mask is None else np.multiply(grad, mask, out=np.empty_like(grad))
