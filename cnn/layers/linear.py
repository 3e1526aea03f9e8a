"""Linear: every output is a weighted sum of all inputs. Plain functions first, then the layer."""

import math

import numpy as np

from cnn import init
from cnn.core.checks import check_grad, check_input, integer
from cnn.errors import ShapeError
from cnn.functional.sums import sum_of_many
from cnn.kernels import kernel
from cnn.module import Array, Module


@kernel
def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """(..., in) -> (..., out)"""
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y


@kernel
def linear_input_grad(grad: Array, weight: Array) -> Array:
    """Sum over the outputs of grad[row, out] weight[out, in]: (..., out) -> (..., in)"""
    return grad @ weight


@kernel
def linear_weight_grad(grad: Array, x: Array) -> Array:
    """Sum over all rows of grad[row, out] x[row, in]: -> (out, in)"""
    return grad.reshape(-1, grad.shape[-1]).T @ x.reshape(-1, x.shape[-1])


class Linear(Module):
    """Compute each output as a weighted sum of all inputs.

    y = x wᵀ + b

    Each weight's gradient is its input times the gradient of its output, summed over the batch: dL/dw = gᵀ x,
    dL/db = sum of g; and dL/dx = g w.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of the last axis of input and output.
    bias : bool
        Whether b is added.
    rng : numpy.random.Generator, int or None
        Draws the initial weights.

    Shape
    -----
    (N, in) -> (N, out); any axes between N and the last are kept.

    Attributes
    ----------
    weight, bias : Parameter
        (out, in) and (out,), initially uniform in ± 1 / sqrt(in). bias is None if bias=False.

    Raises
    ------
    ShapeError
        If the last axis of the input has another length than ``in_features``.

    Source
    ------
    Rosenblatt 1958, The perceptron; gradient: Rumelhart, Hinton and Williams 1986, Learning representations by
    back-propagating errors.

    Examples
    --------
    >>> Linear(4, 3)(np.ones((2, 4), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: np.random.Generator | int | None = None
    ) -> None:
        self.in_features = integer(in_features, "in_features", 1)
        self.out_features = integer(out_features, "out_features", 1)
        self.weight, self.bias = init.weight_and_bias((self.out_features, self.in_features), bias, rng)

    def forward(self, x: Array) -> Array:
        """(N, ..., in) -> (N, ..., out)"""
        x = check_input(x, self.weight.dtype)
        if x.ndim < 2 or x.shape[-1] != self.in_features:
            fix = f"set in_features={x.shape[-1]}" if x.ndim else "pass an array of rows"
            if x.ndim == 1:
                fix = "a single sample needs a batch axis: x[None]"
                if self.in_features == 1:
                    fix = "samples of one number each need a feature axis: x[:, None]"
            elif x.ndim == 4 or (x.ndim > 2 and math.prod(x.shape[1:]) == self.in_features):
                fix = f"put Flatten() before it and set in_features={math.prod(x.shape[1:])}"
            raise ShapeError(f"expected (N, {self.in_features}), got {x.shape}: {fix}")
        self.save_for_backward(x)
        return linear(x, self.weight.data, None if self.bias is None else self.bias.data)

    def backward(self, grad: Array) -> Array | None:
        """(N, ..., out) -> (N, ..., in)"""
        (x,) = self.saved()
        check_grad(self, grad, (*x.shape[:-1], self.out_features), x.dtype)
        if self.bias is not None:
            self.bias.accumulate_grad(sum_of_many(grad.reshape(-1, self.out_features), 0))
        self.weight.accumulate_grad(linear_weight_grad(grad, x))
        return linear_input_grad(grad, self.weight.data) if self.needs_input_grad else None

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Each output costs one multiplication and addition for each input."""
        return math.prod(output_shape) * self.in_features
