"""What runs some neighbours in a Sequential as one kernel; fusion.py says which."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn import kernels
from cnn.core import modes
from cnn.kernels.choice import FLOAT32
from cnn.module import Array, Differentiable, Module

__all__ = ["FLOAT32", "Group", "allowed", "load", "sees_pixels"]

FLOAT64 = np.dtype(np.float64)


class Group(Differentiable):
    """Some neighbours that run as one.

    Attributes
    ----------
    layers : tuple of Module
    start : int
        Position of the first of them.
    of : str
        The kernels that know what it does.
    next_back : int
        Position of the layer whose backward comes after the group's.
    """

    of = "jit"

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        self.layers, self.start, self.next_back = tuple(layers), start, start - 1

    def __repr__(self) -> str:
        return repr(self.layers[-1])  # in an error about the gradient of the output

    @property
    def needs_input_grad(self) -> bool:
        return self.layers[0].needs_input_grad

    @property
    def has_run(self) -> bool:
        """Whether the last forward was that of the group, not of its layers one by one."""
        return self._saved is not None

    def runs(self, x: Array, allowed: str | None) -> bool:
        """Tell whether the group runs with this input and the kernels for which groups may run."""
        if allowed == "jit" and type(x) is np.ndarray and x.dtype == FLOAT64:
            allowed = "array"  # it serves what compiled kernels leave
        return self.of == allowed and self.supports(x)

    def run(self, x: Array, needs_input_grad: bool) -> Array:
        """Do what the layers do; what earlier forwards left in them is forgotten."""
        self.layers[0].needs_input_grad = needs_input_grad
        if modes.state.saving:
            for layer in self.layers:
                layer.forget()
        return modes.timed(self, "forward", self.forward, x)

    def supports(self, x: Array) -> bool:
        """Tell whether the layers would accept this input, and this can do what they would."""
        raise NotImplementedError

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Return how many multiplications, each with an addition, an input of this shape costs."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """Do what the layers do, one after the other."""
        raise NotImplementedError

    def backward(self, grad: Array) -> Array | None:
        """Do what the layers' backward does, one after the other."""
        raise NotImplementedError


def allowed() -> str | None:
    """Return the kernels whose groups may run: those that serve, while nobody watches the layers."""
    return kernels.active() if modes.state.forward_hook is None else None


@functools.cache
def load(of: str, name: str) -> Any:
    return kernels.load(of, name)


def sees_pixels(pool: Any) -> bool:
    """Tell whether a byte can number the pixels of a window, and there are some in each window: one in the rim alone
    gives -inf, and ReLU behind it would not.
    """
    return math.prod(pool.kernel_size) < 255 and (pool.dilation == (1, 1) or pool.padding == (0, 0))
