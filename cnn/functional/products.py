"""The product of several arrays, and its gradients: for branches and joins that multiply."""

import functools

import numpy as np

from cnn.errors import ShapeError
from cnn.module import Array


def multiplied(factors: list[Array]) -> Array:
    """The product; factors may have axes of length 1 after the first, along which they are repeated"""
    shapes = [factor.shape for factor in factors]
    lengths = [set(axis) - {1 if i else None} for i, axis in enumerate(zip(*shapes, strict=False))]
    if len(set(map(len, shapes))) > 1 or any(len(different) > 1 for different in lengths):
        raise ShapeError(
            "the outputs to be multiplied must have the same shape, but for axes of length 1 after the first, got "
            f"{' and '.join(map(str, shapes))}"
        )
    return functools.reduce(np.multiply, factors)


def multiplied_grad(grad: Array, factors: list[Array]) -> list[Array]:
    """For each factor, the gradient times all the others, summed over the axes along which the factor was repeated"""
    grads = []
    for i, factor in enumerate(factors):
        grad_i = functools.reduce(np.multiply, factors[:i] + factors[i + 1 :], grad)
        repeated = tuple(axis for axis in range(factor.ndim) if factor.shape[axis] < grad_i.shape[axis])
        if repeated:
            grad_i = grad_i.sum(axis=repeated, keepdims=True, dtype=np.float64).astype(grad.dtype)
        grads.append(grad_i)
    return grads
