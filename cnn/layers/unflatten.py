"""Unflatten: split one axis into several, so that the output of a Linear layer becomes an image."""

import math
from collections.abc import Sequence

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import ShapeError
from cnn.module import Array, Module


class Unflatten(Module):
    """Split one axis into several, in row-major order: the inverse of Flatten.

    y[n] = x[n] with its numbers in the same order, written as (C, H, W)

    Values are only moved, so the gradient is moved back in the same way.

    Parameters
    ----------
    dim : int
        The axis to split; 1 is the feature axis of a batch of rows.
    unflattened_size : tuple of int
        The sizes of the new axes. One of them may be -1: it is computed from the others.

    Shape
    -----
    (N, C H W) -> (N, C, H, W); in general the axis ``dim`` is replaced by axes of the sizes unflattened_size.

    Raises
    ------
    ValueError
        If ``unflattened_size`` is not a tuple of positive integers with at most one -1, or does not fit the axis.

    Source
    ------
    Arguments and order are those of torch.nn.Unflatten.

    Examples
    --------
    >>> Unflatten(1, (3, 4, -1))(np.zeros((2, 48), np.float32)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
            raise ValueError(f"dim must be the number of an axis, such as 1 or -1, got {dim!r}")
        self.dim = int(dim)
        sizes = tuple(unflattened_size) if isinstance(unflattened_size, (tuple, list)) else ()
        fit = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) and (n > 0 or n == -1) for n in sizes]
        if not fit or not all(fit) or sizes.count(-1) > 1:
            raise ValueError(
                "unflattened_size must be a tuple of positive integers, one of which may be -1, "
                f"got {unflattened_size!r}"
            )
        self.unflattened_size = tuple(int(n) for n in sizes)

    def shape(self, before: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output."""
        if not -len(before) <= self.dim < len(before):
            raise ShapeError(
                f"dim={self.dim} needs at least {max(-self.dim, self.dim + 1)} axes, got {before}: change dim"
            )
        dim = self.dim % len(before)
        known = math.prod(n for n in self.unflattened_size if n != -1)
        sizes = tuple(before[dim] // known if n == -1 else n for n in self.unflattened_size)
        if math.prod(sizes) != before[dim]:
            raise ShapeError(
                f"unflattened_size={self.unflattened_size} does not fit axis {self.dim} of {before}: change it so that "
                f"the sizes multiply to {before[dim]}"
            )
        return (*before[:dim], *sizes, *before[dim + 1 :])

    def forward(self, x: Array) -> Array:
        """(N, D) -> (N, C, H, W)"""
        x = check_input(x)
        y = x.reshape(self.shape(x.shape))
        self.save_for_backward(x.shape, y.shape, x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, H, W) -> (N, D)"""
        shape, y_shape, dtype = self.saved()
        check_grad(self, grad, y_shape, dtype)
        return grad.reshape(shape)
