"""Twins of the functions in layers/batchnorm.py."""

from typing import Any

from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.normalize import Norm, gradient_sums, linear_in_both, scaled


def batchnorm(x: Array, mean: Array, var: Array, eps: float, weights: Any) -> Array:
    """(N, C, H, W) -> the same"""
    if x.ndim != 4:
        return NotImplemented
    norm = Norm(mean, var, eps, *(None if w is None else w.data for w in weights))
    return channels_first(scaled(channels_last(x), norm)[0])


def batchnorm_grad(grad: Array, x: Array, mean: Array, var: Array, eps: float, weights: Any, of_batch: bool) -> Array:
    """(N, C, H, W) -> the same"""
    if x.ndim != 4:
        return NotImplemented
    grad, x = channels_last(grad), channels_last(x)
    norm = Norm(mean, var, eps, *(None if w is None else w.data for w in weights))
    sums = gradient_sums(grad, x)
    vectors, *of_weights = norm.backward(*sums, x.size // x.shape[3], of_batch)
    for weight, weight_grad in zip(weights, of_weights, strict=True):
        if weight is not None:
            weight.accumulate_grad(weight_grad)
    return channels_first(linear_in_both(grad, x, norm.center, vectors))
