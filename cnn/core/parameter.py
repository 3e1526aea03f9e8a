"""Buffer and Parameter: the arrays that a model holds."""

from operator import attrgetter
from typing import Any

import numpy as np

from cnn.core.explain import explain_attributes
from cnn.errors import ShapeError

Array = np.ndarray[Any, np.dtype[Any]]


@explain_attributes
class Buffer:
    """An array that is saved, loaded and converted with a model, but not trained.

    Parameters
    ----------
    data : array_like
        The values; a copy is taken.

    Attributes
    ----------
    data : ndarray
        Assigning to it copies into the existing array, because an optimizer may hold a view of it.

    Examples
    --------
    >>> running_mean = Buffer([0.0, 0.0])
    >>> running_mean.data = [1.0, 2.0]
    >>> running_mean
    Buffer([1., 2.])
    """

    def __init__(self, data: Any) -> None:
        self._data = np.array(data, order="C")

    def _copy_in(self, values: Any) -> None:
        values = np.asarray(values)
        if values.shape != self._data.shape:
            raise ShapeError(f"expected an array of shape {self._data.shape}, got {values.shape}")
        self._data[...] = values

    # attrgetter, because these are read hundreds of times in a training step
    data = property(attrgetter("_data"), _copy_in)
    shape = property(attrgetter("_data.shape"))
    dtype = property(attrgetter("_data.dtype"))
    size = property(attrgetter("_data.size"))

    def to(self, dtype: Any) -> None:
        """Convert the values, if they are floating-point, to another floating-point dtype."""
        if np.issubdtype(self.dtype, np.floating):
            self._data = self._data.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return np.array_repr(self._data).replace("array", type(self).__name__, 1)


class Parameter(Buffer):
    """An array that is trained.

    Parameters
    ----------
    data : array_like
        The initial values; a copy is taken.

    Attributes
    ----------
    grad : ndarray or None
        The gradient of the loss, of the same shape and dtype as ``data``; `Module.backward` adds to it.

    Examples
    --------
    >>> weight = Parameter([1.0, 2.0])
    >>> weight.accumulate_grad(np.array([0.5, 0.5]))
    >>> weight.accumulate_grad(np.array([0.5, 0.5]))
    >>> weight.grad
    array([1., 1.])
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        if self.dtype.kind != "f":
            raise TypeError(
                f"a Parameter is trained in small steps, so it must hold floating-point numbers, got {self.dtype}"
            )
        self.grad: Array | None = None

    def accumulate_grad(self, grad: Array) -> None:
        """Add to the gradient: those of shared weights and of several backward passes are summed."""
        if grad.shape != self._data.shape:
            raise ShapeError(f"expected a gradient of shape {self.shape}, the shape of the parameter, got {grad.shape}")
        if self._data.dtype.kind != "f":  # it was set on the array itself: the gradient would be rounded to integers
            raise TypeError(f"a Parameter must hold floating-point numbers, got {self.dtype}: do not set data.dtype")
        if self.grad is None:
            self.grad = np.array(grad, dtype=self._data.dtype, order="C")
        else:
            self.grad += grad

    def to(self, dtype: Any) -> None:
        """Convert values and gradient to another floating-point dtype."""
        super().to(dtype)
        if self.grad is not None:
            self.grad = self.grad.astype(dtype, copy=False)


def plain_array(value: Any) -> Array:
    """Convert anything that holds numbers to a NumPy array, including a PyTorch tensor that requires gradients."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)
