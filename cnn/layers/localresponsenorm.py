"""LocalResponseNorm: a channel is damped by the strength of its neighbours."""

from cnn.core.checks import check_grad, check_input, integer
from cnn.core.modes import without_warnings
from cnn.errors import ShapeError
from cnn.functional.elementwise import finite_float
from cnn.kernels import batched
from cnn.module import Array, Module


def sum_of_neighbours(x: Array, before: int, after: int) -> Array:
    """Add to each channel those ``before`` and ``after`` it, as far as there are any: (N, C, ...) -> the same."""
    total, channels = x.copy(order="K"), x.shape[1]
    for distance in range(1, min(before, channels - 1) + 1):
        total[:, distance:] += x[:, :-distance]
    for distance in range(1, min(after, channels - 1) + 1):
        total[:, :-distance] += x[:, distance:]
    return total


@batched(1)
@without_warnings  # where a square overflows to infinity, the output is 0 as it should be
def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """(N, C, ...) -> the same; also return s, which the gradient needs."""
    s = sum_of_neighbours(x * x, size // 2, (size - 1) // 2)
    s *= alpha / size
    s += k
    return x * s**-beta, s


@batched(3)
@without_warnings
def local_response_norm_grad(grad: Array, x: Array, s: Array, size: int, alpha: float, beta: float) -> Array:
    """The formula in the class; a channel is in the windows of those channels that are in its own window, reversed."""
    factor = s**-beta
    back = sum_of_neighbours(grad * x * factor / s, (size - 1) // 2, size // 2)
    back *= x
    back *= -2 * beta * alpha / size
    back += grad * factor
    return back


class LocalResponseNorm(Module):
    """Divide each channel by a measure of its neighbours at the same pixel: only the strongest responses stay strong.

    y[c] = x[c] s[c]^-beta,  s[c] = k + alpha / size  sum over c' of  x[c']²,  c - size/2 <= c' < c + size/2

    in each pixel of each sample; at the first and last channels the sum has fewer terms. Every x is in its own output
    and in the s of the channels around it: dL/dx[c] = g[c] s[c]^-beta - 2 alpha beta / size  x[c]  sum over those c' of
    g[c'] x[c'] s[c']^(-beta - 1).

    Parameters
    ----------
    size : int
        Number of channels in the window; of an even number, one more is before the channel than after it.
    alpha, beta, k : float
        As in the formula.

    Shape
    -----
    (N, C, ...) -> the same; at least three axes.

    Raises
    ------
    ShapeError
        If the input has fewer than 3 axes.

    Source
    ------
    Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional neural networks, section 3.3,
    where alpha is not divided by size. Numbers as torch.nn.LocalResponseNorm.

    Examples
    --------
    >>> import numpy as np
    >>> LocalResponseNorm(3, alpha=3.0, beta=1.0)(np.array([[[1], [2], [0]]], np.float32)).round(3).ravel()
    array([0.167, 0.333, 0.   ], dtype=float32)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = integer(size, "size", 1)
        self.alpha, self.beta = finite_float(alpha, "alpha"), finite_float(beta, "beta")
        self.k = finite_float(k, "k")

    def forward(self, x: Array) -> Array:
        """(N, C, ...) -> (N, C, ...)"""
        x = check_input(x)
        if x.ndim < 3:
            raise ShapeError(
                f"expected (N, C, ...), at least 3 axes, got {x.shape}: use x[..., None] for single values"
            )
        y, s = local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        self.save_for_backward(x, s)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, ...) -> (N, C, ...)"""
        x, s = self.saved()
        check_grad(self, grad, x.shape, x.dtype)
        return local_response_norm_grad(grad, x, s, self.size, self.alpha, self.beta)
