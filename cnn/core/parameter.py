"""Buffer and Parameter: the arrays that a model holds."""

import sys
from operator import attrgetter
from typing import Any

import numpy as np

from cnn.core.explain import explain_attributes
from cnn.errors import InputError, ShapeError

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

    Raises
    ------
    ShapeError
        If an array of another shape is loaded.

    Examples
    --------
    >>> running_mean = Buffer([0.0, 0.0])
    >>> running_mean.data = [1.0, 2.0]
    >>> running_mean
    Buffer([1., 2.])
    """

    def __init__(self, data: Any) -> None:
        self._data = np.array(data, order="C")
        self._last_read: object = range(0)  # see `are_private`

    def _read(self) -> Array:
        data = self._data
        # After the array has one reference more. A new object, of a type that copy.deepcopy takes as it is: it would
        # look for slots of an object(), and there Python's own code ignores Ctrl-C.
        self._last_read = range(0)
        return data

    def _copy_in(self, values: Any) -> None:
        values = np.asarray(values)
        data = self._read()
        if values.shape != data.shape:
            raise ShapeError(f"expected an array of shape {data.shape}, got {values.shape}")
        data[...] = values

    data = property(_read, _copy_in)
    # attrgetter, because these are read hundreds of times in a training step
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
    requires_grad : bool
        False: the parameter is frozen. It gets no gradient, and optimizers leave it as it is.
    some_frozen : bool
        Of the class: whether any parameter of this process was ever frozen. Only then models look for frozen layers.

    Raises
    ------
    TypeError
        If the values are not floating-point numbers.
    ShapeError
        If a gradient has another shape.

    Examples
    --------
    >>> weight = Parameter([1.0, 2.0])
    >>> weight.accumulate_grad(np.array([0.5, 0.5]))
    >>> weight.accumulate_grad(np.array([0.5, 0.5]))
    >>> weight.grad
    array([1., 1.])

    >>> weight.requires_grad, weight.grad = False, None
    >>> weight.accumulate_grad(np.array([0.5, 0.5]))
    >>> weight.grad is None
    True
    """

    some_frozen = False
    _requires_grad = True

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        if self.dtype.kind != "f":
            raise TypeError(
                f"a Parameter is trained in small steps, so it must hold floating-point numbers, got {self.dtype}"
            )
        self.grad: Array | None = None

    def _set_requires_grad(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise InputError(f"requires_grad must be True or False, got {value!r}")
        self._requires_grad = bool(value)
        if not value:
            Parameter.some_frozen = True

    requires_grad = property(attrgetter("_requires_grad"), _set_requires_grad)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if not self._requires_grad:
            Parameter.some_frozen = True

    def accumulate_grad(self, grad: Array, copy: bool = True) -> None:
        """Add to the gradient: those of shared weights and of several backward passes are summed.

        A frozen parameter gets none. With ``copy=False``, the array itself becomes the gradient if there is none yet:
        for an array that the caller has made for it and does not use any more.
        """
        if grad.shape != self._data.shape:
            raise ShapeError(f"expected a gradient of shape {self.shape}, the shape of the parameter, got {grad.shape}")
        if self._data.dtype.kind != "f":  # it was set on the array itself: the gradient would be rounded to integers
            raise TypeError(f"a Parameter must hold floating-point numbers, got {self.dtype}: do not set data.dtype")
        if not self._requires_grad:
            return
        if self.grad is None:
            self.grad = np.array(grad, dtype=self._data.dtype, order="C", copy=copy or None)
        else:
            self.grad += grad

    def to(self, dtype: Any) -> None:
        """Convert values and gradient to another floating-point dtype."""
        super().to(dtype)
        if self.grad is not None:
            self.grad = self.grad.astype(dtype, copy=False)


def are_private(arrays: list[Array]) -> bool:
    """Tell whether nobody but one tensor each, and this list, holds these arrays, so that nobody can write into them.

    To write into one, ``data`` of its tensor must be read first, which makes a new ``_last_read``. So private arrays
    keep their values as long as their tensors keep the ``_last_read`` that they had before this was asked. An
    interpreter without a global lock does not know how many hold an object: there the answer is no.
    """
    return HAS_LOCK and max(map(sys.getrefcount, arrays), default=0) <= PRIVATE


# How often an array is referenced that only its tensor and a list hold, counted as above
PRIVATE = max(map(sys.getrefcount, [Buffer(0.0)._data])) + 1
HAS_LOCK = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()


def plain_array(value: Any) -> Array:
    """Convert anything that holds numbers to a NumPy array, including a PyTorch tensor that requires gradients."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)
