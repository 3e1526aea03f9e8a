"""Joins: parts of a `Graph` that read several inputs, and make one output of them.

Their forward takes a list of arrays, and their backward returns a list of gradients, one for each.
"""

import functools

import numpy as np

from cnn.containers.branches import added, concatenate
from cnn.core.checks import check_grad
from cnn.errors import ShapeError
from cnn.functional.products import multiplied, multiplied_grad
from cnn.module import Array, Module


class Join(Module):
    """The base class of the joins. A join of your own derives from it, too."""

    def forward(self, xs: list[Array]) -> Array:  # type: ignore[override]
        """Several of (N, ...) -> (N, ...)"""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, xs) that returns its output")

    def backward(self, grad: Array) -> list[Array]:  # type: ignore[override]
        """(N, ...) -> the gradient of each input"""
        raise NotImplementedError(f"{type(self).__name__} needs a method backward(self, grad) that returns a list")


class Add(Join):
    """Add several inputs of one shape.

    y = x1 + x2 + ...

    The derivative of the sum with respect to each summand is 1, so every input gets the whole gradient.

    Shape
    -----
    Several of (N, ...) -> (N, ...).

    Raises
    ------
    ShapeError
        If the inputs have different shapes.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, arXiv 1512.03385, section 3.

    Examples
    --------
    >>> add = Add()
    >>> add([np.array([1.0, 2.0]), np.array([10.0, 20.0])])
    array([11., 22.])
    >>> add.backward(np.array([1.0, 3.0]))
    [array([1., 3.]), array([1., 3.])]
    """

    def forward(self, xs: list[Array]) -> Array:  # type: ignore[override]
        """Several of (N, ...) -> (N, ...)"""
        shapes = [x.shape for x in xs]
        if len(set(shapes)) > 1:
            raise ShapeError(f"the inputs to be added must have the same shape, got {' and '.join(map(str, shapes))}")
        y = functools.reduce(added, xs)
        self.save_for_backward(len(xs), y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> list[Array]:  # type: ignore[override]
        """(N, ...) -> the gradient of each input, (N, ...)"""
        count, shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        return [grad] * count


class Multiply(Join):
    """Multiply several inputs: one is a gate for the others.

    y = x1 x2 ...

    The derivative with respect to each factor is the product of the others. An input that was repeated gets the sum
    over its repetitions.

    Shape
    -----
    Several of (N, ...) -> (N, ...). Axes of length 1 after the first are repeated: (N, C, 1, 1) scales the channels of
    (N, C, H, W).

    Source
    ------
    Hu, Shen and Sun 2018, Squeeze-and-excitation networks, arXiv 1709.01507, section 3.

    Examples
    --------
    >>> join = Multiply()
    >>> join([np.array([[1.0, 2.0]]), np.array([[3.0, 0.0]])])
    array([[3., 0.]])
    >>> join.backward(np.array([[1.0, 1.0]]))
    [array([[3., 0.]]), array([[1., 2.]])]
    """

    def forward(self, xs: list[Array]) -> Array:  # type: ignore[override]
        """Several of (N, ...) -> (N, ...)"""
        y = multiplied(xs)
        self.save_for_backward(xs, y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> list[Array]:  # type: ignore[override]
        """(N, ...) -> the gradient of each input"""
        xs, shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        return multiplied_grad(grad, xs)


class Concatenate(Join):
    """Concatenate several inputs along the channel axis.

    y = [x1, x2, ...] along axis 1

    Each input gets its own part of the gradient.

    Shape
    -----
    (N, C1, ...), (N, C2, ...), ... -> (N, C1 + C2 + ..., ...).

    Raises
    ------
    ShapeError
        If the inputs differ in another axis than that of the channels.

    Source
    ------
    Szegedy et al. 2015, Going deeper with convolutions, arXiv 1409.4842, figure 2.

    Examples
    --------
    >>> join = Concatenate()
    >>> join([np.array([[1.0, 2.0]]), np.array([[3.0]])])
    array([[1., 2., 3.]])
    >>> join.backward(np.array([[1.0, 2.0, 3.0]]))
    [array([[1., 2.]]), array([[3.]])]
    """

    def forward(self, xs: list[Array]) -> Array:  # type: ignore[override]
        """(N, C1, ...), (N, C2, ...), ... -> (N, C1 + C2 + ..., ...)"""
        shapes = [x.shape for x in xs]
        if xs[0].ndim < 2 or len({(shape[0], *shape[2:]) for shape in shapes}) > 1:
            raise ShapeError(
                f"the inputs to be concatenated may differ only in axis 1, got {' and '.join(map(str, shapes))}"
            )
        y = concatenate(xs)
        self.save_for_backward([shape[1] for shape in shapes], y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> list[Array]:  # type: ignore[override]
        """(N, C1 + C2 + ..., ...) -> the gradient of each input"""
        channels, shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        return np.split(grad, np.cumsum(channels)[:-1], axis=1)
