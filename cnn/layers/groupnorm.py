"""GroupNorm: mean 0 and variance 1 for each sample's groups of channels. Shared functions: functional/norms.py."""

from cnn import init
from cnn.core.checks import boolean, check_grad, check_input, integer
from cnn.functional import norms
from cnn.kernels import batched
from cnn.module import Array, Module, Parameter


def in_groups(x: Array, groups: int) -> Array:
    """Split the channels into groups: (N, C, ...) -> (N, G, C/G, ...)"""
    return x.reshape(len(x), groups, x.shape[1] // groups, *x.shape[2:])


@batched(1)
def group_norm(x: Array, groups: int, eps: float) -> tuple[Array, Array]:
    """Standardise each group of each sample; also return 1 / sqrt(var + eps), which the gradient needs."""
    parts = in_groups(x, groups)
    z, scale = norms.standardize(parts, *norms.moments(parts, tuple(range(2, parts.ndim))), eps)
    return z.reshape(x.shape), scale


@batched(3)
def group_norm_grad(grad: Array, z: Array, scale: Array, groups: int) -> Array:
    """The gradient of each group, from that group only: dL/dz -> dL/dx"""
    axes = tuple(range(2, scale.ndim))
    return norms.standardize_grad(in_groups(grad, groups), in_groups(z, groups), scale, axes).reshape(grad.shape)


class GroupNorm(Module):
    """Shift and scale groups of channels of each sample to mean 0 and variance 1; works with batches of any size.

    z = (x - mean) / sqrt(var + eps),  y = w[c] z + b[c]

    with mean and var over all channels and pixels of the group, both in training and in evaluation. Every x changes
    mean and variance, so dL/dx = (h - mean of h - z mean of (h z)) / sqrt(var + eps) with h = g w. dL/dw sums g z over
    samples and pixels, dL/db sums g.

    Parameters
    ----------
    num_groups, num_channels : int
        G and C; C is divisible by G. The two extremes are one group of all channels, and one group per channel
        (instance normalisation).
    eps : float
        Keeps the division finite where a group does not vary.
    affine : bool
        Whether w and b exist.

    Shape
    -----
    (N, C, ...) -> the same.

    Attributes
    ----------
    weight, bias : Parameter
        (C,) each, initially 1 and 0. None without affine.

    Raises
    ------
    ValueError
        If ``num_channels`` is not divisible by ``num_groups``.

    Source
    ------
    Wu and He 2018, Group normalization, arXiv 1803.08494, section 3. Numbers as torch.nn.GroupNorm.

    Examples
    --------
    >>> import numpy as np
    >>> GroupNorm(1, 2, eps=3.0)(np.array([[0, 2]], np.float32))
    array([[-0.5,  0.5]], dtype=float32)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = integer(num_groups, "num_groups", 1)
        self.num_channels = integer(num_channels, "num_channels", 1)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"num_channels={self.num_channels} is not divisible by num_groups={self.num_groups}: change one of them"
            )
        self.eps = norms.check_positive(eps, "eps")
        self.affine = boolean(affine, "affine")
        self.weight = Parameter(init.constant((self.num_channels,), 1.0)) if affine else None
        self.bias = Parameter(init.constant((self.num_channels,), 0.0)) if affine else None

    def forward(self, x: Array) -> Array:
        """(N, C, ...) -> (N, C, ...)"""
        x = check_input(x, None if self.weight is None else self.weight.dtype)
        norms.check_channels(x, self.num_channels, "num_channels")
        z, scale = group_norm(x, self.num_groups, self.eps)
        self.save_for_backward(z, scale)
        return norms.scale_and_shift(z, *norms.arrays(self.weight, self.bias), norms.channel_shape(x))

    def backward(self, grad: Array) -> Array | None:
        """(N, C, ...) -> (N, C, ...)"""
        z, scale = self.saved()
        check_grad(self, grad, z.shape, z.dtype)
        weight, _ = norms.arrays(self.weight, self.bias)
        grad, w_grad, b_grad = norms.scale_and_shift_grad(grad, z, weight, norms.channel_shape(z))
        norms.accumulate(self.weight, self.bias, w_grad, b_grad)
        return group_norm_grad(grad, z, scale, self.num_groups)
