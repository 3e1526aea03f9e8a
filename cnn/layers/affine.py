"""Affine: each channel is scaled and shifted by two numbers that are learned."""

from cnn import init
from cnn.core.checks import check_grad, check_input, integer
from cnn.functional import norms
from cnn.module import Array, Module, Parameter


def affine(x: Array, weight: Array, bias: Array) -> Array:
    """(N, C, ...) -> the same; weight and bias are (C,)."""
    return norms.scale_and_shift(x, weight, bias, norms.channel_shape(x))


def affine_grad(grad: Array, x: Array, weight: Array) -> tuple[Array, Array | None, Array | None]:
    """The gradients of x, weight and bias."""
    return norms.scale_and_shift_grad(grad, x, weight, norms.channel_shape(x))


class Affine(Module):
    """Scale and shift each channel: what a norm does after it has standardised.

    y[n, c, ...] = w[c] x[n, c, ...] + b[c]

    So dL/dx = w g, dL/dw is the sum of g x over samples and pixels, and dL/db the sum of g. A batch normalisation in
    evaluation is such a layer, and so are a multiplication and an addition by constants for each channel.

    Parameters
    ----------
    num_features : int
        C.

    Shape
    -----
    (N, C, ...) -> the same.

    Attributes
    ----------
    weight, bias : Parameter
        (C,) each, initially 1 and 0.

    Source
    ------
    Ioffe and Szegedy 2015, Batch normalization, arXiv 1502.03167, algorithm 1, last line. PyTorch has no such layer.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Affine(2)
    >>> layer.weight.data, layer.bias.data = [2, 3], [0, 1]
    >>> layer(np.array([[1, 1]], np.float32))
    array([[2., 4.]], dtype=float32)
    """

    def __init__(self, num_features: int) -> None:
        self.num_features = integer(num_features, "num_features", 1)
        self.weight = Parameter(init.constant((self.num_features,), 1.0))
        self.bias = Parameter(init.constant((self.num_features,), 0.0))

    def forward(self, x: Array) -> Array:
        """(N, C, ...) -> (N, C, ...)"""
        x = check_input(x, self.weight.dtype)
        norms.check_channels(x, self.num_features, "num_features")
        self.save_for_backward(x)
        return affine(x, self.weight.data, self.bias.data)

    def backward(self, grad: Array) -> Array | None:
        """(N, C, ...) -> (N, C, ...)"""
        (x,) = self.saved()
        check_grad(self, grad, x.shape, x.dtype)
        grad, w_grad, b_grad = affine_grad(grad, x, self.weight.data)
        norms.accumulate(self.weight, self.bias, w_grad, b_grad)
        return grad
