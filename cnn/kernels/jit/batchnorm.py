"""Compiled implementations of the functions in layers/batchnorm.py and, for parts of a batch, shared_batch.py."""

import numpy as np

from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.normalize import Norm, apply_norm, gradient_sums, input_grad


def batchnorm(x: Array, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None) -> Array:
    """(N, C, H, W) -> the same"""
    if x.ndim != 4 or not are_of_channels(x.shape[1], mean, var, weight, bias):
        return NotImplemented
    norm = Norm(mean, var, eps, weight, bias)
    return channels_first(apply_norm(channels_last(x), norm)[0])


def batchnorm_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, use_batch_stats: bool
) -> tuple[Array, Array | None, Array | None]:
    """(N, C, H, W), (N, C, H, W) -> (N, C, H, W), (C,), (C,)"""
    if x.ndim != 4 or grad.shape != x.shape or not are_of_channels(x.shape[1], mean, var, weight, None):
        return NotImplemented
    grad, x = channels_last(grad), channels_last(x)
    norm = Norm(mean, var, eps, weight, None)
    sums = gradient_sums(grad, x)
    if not np.isfinite(sums).all():  # the formula for the gradient of the weight would be infinity minus infinity
        return NotImplemented
    vectors, w_grad, b_grad = norm.backward(*sums, x.size // x.shape[3], use_batch_stats)
    return channels_first(input_grad(grad, x, norm.center, vectors, use_batch_stats)), w_grad, b_grad


def part_sums(grad: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """(N, C, H, W), (N, C, H, W) -> (C,), (C,)"""
    if x.ndim != 4 or grad.shape != x.shape or not are_of_channels(x.shape[1], mean, var, None, None):
        return NotImplemented
    sums = gradient_sums(channels_last(grad), channels_last(x))
    if not np.isfinite(sums).all():
        return NotImplemented
    w_grad, b_grad = Norm(mean, var, eps, None, None).gradients(*sums)
    return b_grad, w_grad


def part_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, along_ones: Array, along_z: Array
) -> Array:
    """(N, C, H, W), (N, C, H, W) -> (N, C, H, W)"""
    c = x.shape[1]
    if x.ndim != 4 or grad.shape != x.shape or not are_of_channels(c, mean, var, weight, None):
        return NotImplemented
    if along_ones.shape != (c,) or along_z.shape != (c,):
        return NotImplemented
    norm = Norm(mean, var, eps, weight, None)
    vectors = norm.vectors(along_z, along_ones, 1, True)
    return channels_first(input_grad(channels_last(grad), channels_last(x), norm.center, vectors, True))


def are_of_channels(c: int, mean: Array, var: Array, weight: Array | None, bias: Array | None) -> bool:
    """Tell whether there is one mean and one variance for each channel, along axis 1, and one weight and bias."""
    per_channel = ((1, c, 1, 1), (c, 1, 1))
    if mean.shape not in per_channel or var.shape not in per_channel or (weight is None and bias is not None):
        return False
    return all(vector is None or vector.shape == (c,) for vector in (weight, bias))
