"""Batch normalisation of images and of feature vectors. Functions that all norms share are in functional/norms.py."""

import numpy as np

from cnn import init
from cnn.core.checks import boolean, check_grad, check_input, integer
from cnn.functional import norms, shared_batch
from cnn.kernels import kernel
from cnn.module import Array, Buffer, Module, Parameter


@kernel
def batchnorm(x: Array, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None) -> Array:
    """Each channel becomes w (x - mean) / sqrt(var + eps) + b: (N, C, ...) -> the same"""
    z, _ = norms.standardize(x, mean, var, eps)
    return norms.scale_and_shift(z, weight, bias, norms.channel_shape(x))


@kernel
def batchnorm_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, use_batch_stats: bool
) -> tuple[Array, Array | None, Array | None]:
    """The gradients of x, w and b; for x the formula below, or w g / sqrt(var + eps) if mean and var are constants."""
    z, scale = norms.standardize(x, mean, var, eps)
    grad, w_grad, b_grad = norms.scale_and_shift_grad(grad, z, weight, norms.channel_shape(x))
    x_grad = norms.standardize_grad(grad, z, scale, norms.statistics_axes(x)) if use_batch_stats else grad * scale
    return x_grad, w_grad, b_grad


class BatchNorm(Module):
    """Base class of `BatchNorm2d`, which explains it, and `BatchNorm1d`; they differ only in the number of axes."""

    ndims: tuple[int, ...]  # the numbers of axes that an input may have
    ranks: object = None  # in a step of several processes, each with a part of the batch: functional/shared_batch.py

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        c = self.num_features = integer(num_features, "num_features", 1)
        self.eps = norms.check_positive(eps, "eps")
        self.momentum = norms.check_momentum(momentum, "momentum")
        self.affine = boolean(affine, "affine")
        self.track_running_stats = boolean(track_running_stats, "track_running_stats")
        self.weight = Parameter(init.constant((c,), 1.0)) if affine else None
        self.bias = Parameter(init.constant((c,), 0.0)) if affine else None
        self.running_mean = Buffer(init.constant((c,), 0.0)) if track_running_stats else None
        self.running_var = Buffer(init.constant((c,), 1.0)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.int64(0)) if track_running_stats else None

    def forward(self, x: Array) -> Array:
        """(N, C, ...) -> (N, C, ...)"""
        use_batch_stats = self.training or not self.track_running_stats
        tensor = self.running_mean if self.weight is None else self.weight
        x = check_input(x, None if tensor is None else tensor.dtype)
        norms.check_batch(x, self.num_features, self.ndims, use_batch_stats and self.ranks is None)
        mean, var = self.statistics(x)
        self.save_for_backward(x, mean, var, use_batch_stats)
        return batchnorm(x, mean, var, self.eps, *norms.arrays(self.weight, self.bias))

    def backward(self, grad: Array) -> Array | None:
        """(N, C, ...) -> (N, C, ...)"""
        x, mean, var, use_batch_stats = self.saved()
        check_grad(self, grad, x.shape, x.dtype)
        values = x, mean, var, self.eps, None if self.weight is None else self.weight.data
        if use_batch_stats and self.ranks is not None:
            x_grad, w_grad, b_grad = shared_batch.batchnorm_grad(grad, *values, self.ranks)
        else:
            x_grad, w_grad, b_grad = batchnorm_grad(grad, *values, use_batch_stats)
        norms.accumulate(self.weight, self.bias, w_grad, b_grad)
        return x_grad

    def statistics(self, x: Array) -> tuple[Array, Array]:
        """Return mean and variance of the channels; in training also update the running ones."""
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return norms.of_channels(self.running_mean, x), norms.of_channels(self.running_var, x)
        mean, var, n = shared_batch.batch_moments(x, self.ranks)
        norms.update_running_statistics(self, mean, var, n)
        return mean, var


class BatchNorm2d(BatchNorm):
    """Shift and scale each channel of images to mean 0 and variance 1 over the batch, so that the layers after it need
    not adapt to every change of scale before it.

    z = (x - mean[c]) / sqrt(var[c] + eps),  y = w[c] z + b[c]

    In training mean and var are those of this batch, over all its samples and pixels; in evaluation they are the
    running ones, which training updates: running = (1 - momentum) running + momentum (that of this batch). In training
    every x also changes its channel's mean and variance: dL/dx = w (g - mean of g - z mean of (g z)) / sqrt(var + eps),
    with no component along the ones or z, because shifting or scaling all x does not change z. In evaluation they are
    constants: dL/dx = w g / sqrt(var + eps). dL/dw sums g z, dL/db sums g.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Keeps the division finite where a channel does not vary.
    momentum : float or None
        Weight of the new batch in the running statistics, 0 to 1; None: the plain average over all batches.
    affine, track_running_stats : bool
        Whether w and b exist; whether running statistics exist: if not, evaluation also uses those of its batch.

    Shape
    -----
    (N, C, H, W) -> the same. Statistics of a batch need more than one value per channel.

    Attributes
    ----------
    weight, bias : Parameter
        (C,) each, initially 1 and 0. None without affine.
    running_mean, running_var, num_batches_tracked : Buffer
        (C,) each, initially 0 and 1, the variance with n - 1 in the denominator; and the number of batches so far,
        int64, shape (). None without track_running_stats.

    Source
    ------
    Ioffe and Szegedy 2015, Batch normalization, arXiv 1502.03167, algorithms 1 and 2. Numbers as torch.nn.BatchNorm2d.

    Examples
    --------
    >>> layer, x = BatchNorm2d(1, eps=3.0), np.array([[[[0, 2]]]], np.float32)
    >>> layer(x)  # in training: the batch has mean 1 and variance 1
    array([[[[-0.5,  0.5]]]], dtype=float32)
    >>> layer.eval()(x).round(2)  # the running mean is 0.1 now, a tenth of the way: (x - 0.1) / sqrt(1.1 + 3)
    array([[[[-0.05,  0.94]]]], dtype=float32)
    """

    ndims = (4,)


class BatchNorm1d(BatchNorm):
    """`BatchNorm2d` for feature vectors or sequences: formulas, parameters and source as there; torch.nn.BatchNorm1d.

    Shape
    -----
    (N, C) or (N, C, L) -> the same.

    Examples
    --------
    >>> BatchNorm1d(1, eps=3.0)(np.array([[0.0], [2.0]], np.float32)).T
    array([[-0.5,  0.5]], dtype=float32)
    """

    ndims = (2, 3)
