"""Permute: the axes of each sample in another order."""

from collections.abc import Sequence

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.errors import ShapeError
from cnn.module import Array, Module


class Permute(Module):
    """Put the axes of each sample in another order, as between images with channels first and channels last.

    y[n, i, j, k] = x[n, k, i, j]  for dims=(0, 2, 3, 1)

    Values are only moved, so the gradient is moved back in the same way: by the inverse order.

    Parameters
    ----------
    dims : tuple of int
        Axis i of the output is axis dims[i] of the input. The batch axis stays the first.

    Shape
    -----
    (N, C, H, W) -> (N, H, W, C) for dims=(0, 2, 3, 1); in general the sizes are put in the same order.

    Raises
    ------
    ValueError
        If ``dims`` does not begin with 0 or does not name each axis once, or the input has other axes.

    Source
    ------
    Argument and numbers are those of torchvision.ops.Permute and torch.permute.

    Examples
    --------
    >>> Permute((0, 2, 3, 1))(np.zeros((2, 3, 4, 5), np.float32)).shape
    (2, 4, 5, 3)
    """

    def __init__(self, dims: Sequence[int]) -> None:
        axes = tuple(dims) if isinstance(dims, (tuple, list)) else ()
        whole = all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes)
        if not whole or not axes or axes[0] != 0 or sorted(axes) != list(range(len(axes))):
            raise ValueError(
                f"dims must be 0 for the batch axis and then the other axes, such as (0, 2, 3, 1), got {dims!r}"
            )
        self.dims = tuple(int(a) for a in axes)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, H, W, C)"""
        x = check_input(x)
        if x.ndim != len(self.dims):
            raise ShapeError(f"dims={self.dims} needs {len(self.dims)} axes, got {x.shape}: change dims")
        y = x.transpose(self.dims)
        self.save_for_backward(y.shape, x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, H, W, C) -> (N, C, H, W)"""
        shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        return grad.transpose(np.argsort(self.dims))
