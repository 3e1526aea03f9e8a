"""Compiled implementations of the functions in layers/conv_transpose2d.py: forward and backward of conv2d, swapped."""

from typing import Any

from cnn.kernels.jit import conv2d
from cnn.kernels.jit.engine.arrays import Array


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None, shape: tuple[int, ...], geometry: Any, groups: int
) -> Array:
    """(N, C, H, W) -> shape = (N, K, OH, OW)"""
    y = conv2d.conv2d_input_grad(x, weight, (len(x), *shape[1:]), geometry, groups)
    if bias is not None and y is not NotImplemented:
        y += bias[:, None, None]
    return y


def conv_transpose2d_input_grad(grad: Array, weight: Array, geometry: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> (N, C, H, W)"""
    return conv2d.conv2d(grad, weight, None, geometry, groups)


def conv_transpose2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """-> shape = (C, K/groups, KH, KW)"""
    return conv2d.conv2d_weight_grad(x, grad, shape, geometry, groups)
