"""What layers share that treat every number by itself: `Elementwise`, and a few functions.

``np.where`` takes ten times as long as arithmetic where the signs of its mask are random, as those of activations are.
So these layers put their pieces together with minimum, maximum and products with masks. And they work in blocks, which
takes half the time: what one step of a formula leaves is still in the processor's cache for the next.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.core.checks import check_grad, check_input
from cnn.kernels import empty_like, in_parts, kernel
from cnn.module import Array, Module

BLOCK = 32768  # numbers


class Elementwise(Module):
    """A layer whose every output depends on one input, y = f(x), so that dL/dx = g f'(x) at each place.

    A subclass writes `value`, `gradient` under it and, if backward needs something smaller than the input, `keep`.
    `value` and `gradient` see blocks of the arrays, with one axis.
    """

    def value(self, x: Array) -> Array:
        """Return f(x), a new array."""
        raise NotImplementedError(f"{type(self).__name__} needs a method value(self, x) that returns its output")

    def gradient(self, grad: Array, kept: Array) -> Array:
        """Return g f'(x), a new array, from g and what `keep` returned."""
        raise NotImplementedError(f"{type(self).__name__} needs a method gradient(self, grad, kept)")

    def keep(self, x: Array, y: Array) -> Array:
        """Return what `gradient` needs to know, of the shape of x."""
        return x

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        check_input(x)
        y = in_blocks(self.value, x)
        self.save_for_backward(self.keep(x, y), x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        kept, dtype = self.saved()
        check_grad(self, grad, kept.shape, dtype)
        return in_blocks(self.gradient, grad, kept)


def in_blocks(function: Callable[..., Array], *arrays: Array) -> Array:
    """Return ``function(*arrays)``, which treats every place by itself, in the dtype and layout of the first array."""
    y = empty_like(arrays[0])
    lines = [in_memory_order(array, y) for array in (*arrays, y)]
    if any(line is None for line in lines):
        return _in_any_order(function, arrays, y)

    def part(*parts: Any) -> None:
        for start in range(0, len(parts[0]), BLOCK):
            *given, out = (array[start : start + BLOCK] for array in parts)
            out[...] = function(*given)

    in_parts(part, *lines)
    return y


def in_memory_order(array: Array, like: Array) -> Array | None:
    """Return the numbers as they lie in memory, or None if they do not lie in one piece in the order of ``like``."""
    if array.strides != tuple(step // like.itemsize * array.itemsize for step in like.strides):
        return None
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    line = array.transpose(order)
    return line.reshape(-1) if line.flags.c_contiguous else None


def _in_any_order(function: Callable[..., Array], arrays: tuple[Array, ...], y: Array) -> Array:
    roles = [*[["readonly"] for _ in arrays], ["writeonly"]]
    flags = ["external_loop", "buffered", "zerosize_ok"]
    with np.nditer([*arrays, y], flags, roles, buffersize=BLOCK) as blocks:  # type: ignore[arg-type]
        for *parts, out in blocks:
            out[...] = function(*parts)
    return y


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):  # an exp(-x) that is too large becomes infinite, and 1 / inf is the 0 that is due
        return 1 / (1 + np.exp(-x))


@kernel
def gate(grad: Array, blocked: Array) -> Array:
    """Return 0 where ``blocked`` and ``grad`` elsewhere.

    A product with a mask would make NaN of a blocked infinity. Instead, all bits of a number stay or all become 0.

    Examples
    --------
    >>> gate(np.array([1.0, 2.0, np.inf]), np.array([False, True, True]))
    array([1., 0., 0.])
    """
    bits = np.dtype(f"i{grad.itemsize}")
    stays = np.subtract(blocked, 1, dtype=np.int8)  # -1, all bits set, or 0
    y = np.empty_like(grad)
    np.bitwise_and(grad.view(bits), stays, out=y.view(bits))
    return y


def real(value: Any, name: str, above: float = -math.inf) -> float:
    """Return ``value`` as a float, or raise an error that names the argument."""
    number = not isinstance(value, bool) and isinstance(value, (int, float, np.integer, np.floating))
    if not number or not above < value < math.inf:
        wanted = "a finite number" if above == -math.inf else f"a finite number larger than {above:g}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(value)
