"""LayerNorm: each sample separately gets mean 0 and variance 1. Functions that all norms share: functional/norms.py."""

from collections.abc import Sequence

from cnn import init
from cnn.core.checks import check_grad, check_input, integer
from cnn.errors import ShapeError
from cnn.functional import norms
from cnn.kernels import batched
from cnn.module import Array, Module, Parameter


@batched(1)
def layer_norm(x: Array, axes: norms.Axes, eps: float) -> tuple[Array, Array]:
    """Standardise each sample over its last axes; also return 1 / sqrt(var + eps), which the gradient needs."""
    return norms.standardize(x, *norms.moments(x, axes), eps)


@batched(3)
def layer_norm_grad(grad: Array, z: Array, scale: Array, axes: norms.Axes) -> Array:
    """The gradient of each sample, from that sample only: dL/dz -> dL/dx"""
    return norms.standardize_grad(grad, z, scale, axes)


class LayerNorm(Module):
    """Shift and scale each sample to mean 0 and variance 1, independently of the other samples in the batch.

    z = (x - mean) / sqrt(var + eps),  y = w z + b

    with mean and var over the last axes of each sample, both in training and in evaluation; each position in these axes
    has its own w and b. Every x changes mean and variance, so dL/dx = (h - mean of h - z mean of (h z)) / sqrt(var +
    eps) with h = g w. dL/dw sums g z over the samples, dL/db sums g.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Lengths of the last axes, over which mean and variance are taken.
    eps : float
        Keeps the division finite where a sample does not vary.
    elementwise_affine, bias : bool
        Whether w and b exist; b needs w.

    Shape
    -----
    (N, ..., *normalized_shape) -> the same.

    Attributes
    ----------
    weight, bias : Parameter
        Of shape normalized_shape, initially 1 and 0; None for each that does not exist.

    Raises
    ------
    ValueError
        If ``normalized_shape`` is empty, or the last axes of the input have other lengths.

    Source
    ------
    Ba, Kiros and Hinton 2016, Layer normalization, arXiv 1607.06450, section 3. Numbers as torch.nn.LayerNorm.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm(2, eps=3.0)(np.array([[0, 2], [30, 10]], np.float32)).round(2)
    array([[-0.5 ,  0.5 ],
           [ 0.99, -0.99]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        if not shape:
            raise ValueError("normalized_shape needs the length of at least one axis, got none")
        self.normalized_shape = tuple(integer(length, "normalized_shape", 1) for length in shape)
        self.eps = norms.check_positive(eps, "eps")
        self.elementwise_affine = elementwise_affine
        shape = self.normalized_shape
        self.weight = Parameter(init.constant(shape, 1.0)) if elementwise_affine else None
        self.bias = Parameter(init.constant(shape, 0.0)) if elementwise_affine and bias else None

    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        x = check_input(x, None if self.weight is None else self.weight.dtype)
        axes = tuple(range(-len(self.normalized_shape), 0))
        if x.ndim <= len(axes) or x.shape[axes[0] :] != self.normalized_shape:
            expected = ", ".join(map(str, ("N", "...", *self.normalized_shape)))
            fix = f"set normalized_shape={x.shape[axes[0] :]}"
            if x.ndim <= len(axes):
                fix = "a single sample needs a batch axis: x[None]"
            raise ShapeError(f"expected ({expected}), got {x.shape}: {fix}")
        z, scale = layer_norm(x, axes, self.eps)
        self.save_for_backward(z, scale, axes)
        return norms.scale_and_shift(z, *norms.arrays(self.weight, self.bias), self.normalized_shape)

    def backward(self, grad: Array) -> Array | None:
        """(N, ...) -> (N, ...)"""
        z, scale, axes = self.saved()
        check_grad(self, grad, z.shape, z.dtype)
        weight, _ = norms.arrays(self.weight, self.bias)
        grad, w_grad, b_grad = norms.scale_and_shift_grad(grad, z, weight, self.normalized_shape)
        norms.accumulate(self.weight, self.bias, w_grad, b_grad)
        return layer_norm_grad(grad, z, scale, axes)
