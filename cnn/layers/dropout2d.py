"""Dropout2d: in training, set whole channels to zero."""

import numpy as np

from cnn.core.checks import check_grad, check_images, check_input
from cnn.core.rng import generator
from cnn.module import Array, Module


class Dropout2d(Module):
    """Zero whole channels at random in training: neighbouring pixels are so similar that dropping single pixels has
    little effect.

    y = x m / (1 - p),  each m[n, c] is 0 with probability p, else 1

    The division keeps the mean, so evaluation needs no scaling. The gradient is multiplied by the same mask,
    dL/dx = g m / (1 - p).

    Parameters
    ----------
    p : float
        Probability that a channel of a sample is zeroed, 0 to 1.
    rng : numpy.random.Generator, int or None
        Draws the masks.

    Shape
    -----
    (N, C, H, W) -> the same.

    Raises
    ------
    ValueError
        If ``p`` is not between 0 and 1.

    Source
    ------
    Tompson, Goroshin, Jain, LeCun and Bregler 2015, Efficient object localization using convolutional networks, arXiv
    1411.4280, section 3.2 (SpatialDropout). Numbers as in torch.nn.Dropout2d.

    Examples
    --------
    >>> Dropout2d(p=0.5, rng=0)(np.ones((2, 2, 2, 1), np.float32)).reshape(2, 4)
    array([[2., 2., 2., 2.],
           [2., 2., 0., 0.]], dtype=float32)
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | int | None = None) -> None:
        if isinstance(p, bool) or not isinstance(p, (int, float, np.number)) or not 0 <= p <= 1:
            raise ValueError(f"p is the probability that a channel is zeroed and must lie between 0 and 1, got {p!r}")
        self.p = float(p)
        self.rng = generator(rng)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H, W)"""
        x = check_input(x)
        check_images(x)
        mask = None
        y = x
        if self.training and self.p > 0:
            mask = (self.rng.random((*x.shape[:2], 1, 1), np.float32) >= self.p).astype(x.dtype)
            mask *= 1 / (1 - self.p) if self.p < 1 else 0
            y = np.multiply(x, mask, out=np.empty_like(x))
        self.save_for_backward(x.shape, x.dtype, mask)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, H, W) -> (N, C, H, W)"""
        shape, dtype, mask = self.saved()
        check_grad(self, grad, shape, dtype)
        return grad if mask is None else np.multiply(grad, mask, out=np.empty_like(grad))
