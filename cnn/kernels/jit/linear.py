"""Compiled implementations of the functions in layers/linear.py."""

from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.product import product


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """(..., in) -> (..., out)"""
    return product(x, weight.T, bias) if x.ndim == 2 else NotImplemented


def linear_input_grad(grad: Array, weight: Array) -> Array:
    """(..., out) -> (..., in)"""
    return product(grad, weight) if grad.ndim == 2 else NotImplemented


def linear_weight_grad(grad: Array, x: Array) -> Array:
    """-> (out, in)"""
    return product(grad.T, x) if grad.ndim == 2 and len(grad) else NotImplemented
