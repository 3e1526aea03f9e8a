"""InstanceNorm2d: mean 0 and variance 1 for each channel of each image. Shared functions: functional/norms.py."""

import numpy as np

from cnn import init
from cnn.core.checks import boolean, check_grad, check_images, check_input, integer
from cnn.errors import ShapeError
from cnn.functional import norms
from cnn.kernels import batched
from cnn.module import Array, Buffer, Module, Parameter

PIXELS = (2, 3)  # the axes over which the statistics are taken


@batched(1)
def instance_norm(x: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """Standardise each channel of each image; also return 1 / sqrt(var + eps), mean and var, (N, C, 1, 1) each."""
    mean, var = norms.moments(x, PIXELS)
    return *norms.standardize(x, mean, var, eps), mean, var


@batched(3)
def instance_norm_grad(grad: Array, z: Array, scale: Array) -> Array:
    """The gradient of each channel of each image, from that only: dL/dz -> dL/dx"""
    return norms.standardize_grad(grad, z, scale, PIXELS)


class InstanceNorm2d(Module):
    """Shift and scale each channel of each image to mean 0 and variance 1: contrast and brightness no longer matter.

    z = (x - mean[n, c]) / sqrt(var[n, c] + eps),  y = w[c] z + b[c]

    with mean and var over the pixels, both in training and in evaluation. Every x changes both, so dL/dx = (h - mean of
    h - z mean of (h z)) / sqrt(var + eps) with h = g w; dL/dw sums g z over samples and pixels, dL/db sums g. With
    track_running_stats evaluation uses running means of both, which are constants: dL/dx = h / sqrt(var + eps).

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Keeps the division finite where a channel does not vary.
    momentum : float
        Weight of the new batch in the running statistics, 0 to 1.
    affine, track_running_stats : bool
        Whether w and b exist; whether running statistics exist.

    Shape
    -----
    (N, C, H, W) -> the same. Statistics of an image need more than one pixel.

    Attributes
    ----------
    weight, bias : Parameter
        (C,) each, initially 1 and 0. None without affine.
    running_mean, running_var, num_batches_tracked : Buffer
        (C,) each, initially 0 and 1, the variance with n - 1 in the denominator; and a number that stays 0, as in
        PyTorch. None without track_running_stats.

    Raises
    ------
    ValueError
        If ``momentum`` is None, or an image has only one pixel to take a variance of.

    Source
    ------
    Ulyanov, Vedaldi and Lempitsky 2016, Instance normalization: the missing ingredient for fast stylization, arXiv
    1607.08022, equation 4. Numbers as torch.nn.InstanceNorm2d.

    Examples
    --------
    >>> InstanceNorm2d(1, eps=3.0)(np.array([[[[0, 2]]], [[[5, 9]]]], np.float32)).round(2)
    array([[[[-0.5 ,  0.5 ]]],
           [[[-0.76,  0.76]]]], dtype=float32)
    """

    counts_batches = False  # so that `cnn.optim.update_bn` leaves it as it is

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        c = self.num_features = integer(num_features, "num_features", 1)
        self.eps = norms.check_positive(eps, "eps")
        if momentum is None:
            raise ValueError("momentum must be a number from 0 to 1, the weight of a new batch, got None")
        self.momentum = norms.check_momentum(momentum, "momentum") or 0.0
        self.affine = boolean(affine, "affine")
        self.track_running_stats = boolean(track_running_stats, "track_running_stats")
        self.weight = Parameter(init.constant((c,), 1.0)) if affine else None
        self.bias = Parameter(init.constant((c,), 0.0)) if affine else None
        self.running_mean = Buffer(init.constant((c,), 0.0)) if track_running_stats else None
        self.running_var = Buffer(init.constant((c,), 1.0)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.int64(0)) if track_running_stats else None

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H, W)"""
        tensor = self.running_mean if self.weight is None else self.weight
        x = check_input(x, None if tensor is None else tensor.dtype)
        check_images(x)
        norms.check_channels(x, self.num_features, "num_features")
        weight, bias = norms.arrays(self.weight, self.bias)
        if self.running_mean is not None and self.running_var is not None and not self.training:
            mean, var = (running.data.reshape(-1, 1, 1) for running in (self.running_mean, self.running_var))
            z, scale = norms.standardize(x, mean, var, self.eps)
        else:
            pixels = x.shape[2] * x.shape[3]
            if pixels < 2:
                raise ShapeError(f"expected more than 1 pixel to take a variance, got {x.shape}: use larger images")
            z, scale, mean, var = instance_norm(x, self.eps)
            self.update_running_statistics(mean, var, pixels)
        self.save_for_backward(z, scale)
        return norms.scale_and_shift(z, weight, bias, norms.channel_shape(x))

    def backward(self, grad: Array) -> Array | None:
        """(N, C, H, W) -> (N, C, H, W)"""
        z, scale = self.saved()
        check_grad(self, grad, z.shape, z.dtype)
        weight, _ = norms.arrays(self.weight, self.bias)
        grad, w_grad, b_grad = norms.scale_and_shift_grad(grad, z, weight, norms.channel_shape(z))
        norms.accumulate(self.weight, self.bias, w_grad, b_grad)
        return instance_norm_grad(grad, z, scale) if scale.ndim == 4 else grad * scale

    def update_running_statistics(self, mean: Array, var: Array, n: int) -> None:
        """Update the running statistics, if there are any, from those of images of ``n`` pixels."""
        if self.running_mean is None or self.running_var is None or len(mean) == 0:
            return
        for running, of_batch in ((self.running_mean, mean), (self.running_var, n / (n - 1) * var)):
            running.data = (1 - self.momentum) * running.data + self.momentum * of_batch.mean(axis=(0, 2, 3))
