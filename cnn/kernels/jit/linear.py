"""Compiled implementations of the functions in layers/linear.py."""

from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.product import product


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """(..., in) -> (..., out)"""
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        return NotImplemented
    if bias is not None and bias.shape != weight.shape[:1]:
        return NotImplemented
    return product(x, weight.T, bias)


def linear_input_grad(grad: Array, weight: Array) -> Array:
    """(..., out) -> (..., in)"""
    if grad.ndim != 2 or weight.ndim != 2 or grad.shape[1] != weight.shape[0]:
        return NotImplemented
    return product(grad, weight)


def linear_weight_grad(grad: Array, x: Array) -> Array:
    """-> (out, in)"""
    if grad.ndim != 2 or x.ndim != 2 or len(grad) != len(x) or not (grad.size and x.size):
        return NotImplemented
    return product(grad.T, x)
