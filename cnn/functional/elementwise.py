"""The base class of element-wise layers, `Elementwise`, and functions that these layers share.

``np.where`` takes ten times as long as arithmetic where its mask is random, as the signs of activations are. So these
layers combine the parts of a formula with minimum, maximum and products with masks. They also process arrays in
blocks, which takes half the time: the result of one step of a formula is still in the processor's cache for the next.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.core import modes
from cnn.core.checks import check_grad, check_input, is_finite
from cnn.core.modes import without_warnings
from cnn.kernels import empty_like, in_parts, kernel
from cnn.module import Array, Module

BLOCK = 32768  # elements


class Elementwise(Module):
    """An element-wise layer: each output element depends on one input element, y = f(x), so dL/dx = g f'(x).

    A subclass defines `value`, then `gradient` and, if backward can do with something smaller than the input, `keep`.
    `value` and `gradient` get one-dimensional blocks of the arrays.
    """

    def value(self, x: Array) -> Array:
        """Return f(x), a new array."""
        raise NotImplementedError(f"{type(self).__name__} needs a method value(self, x) that returns its output")

    def gradient(self, grad: Array, kept: Array) -> Array:
        """Return g f'(x), a new array, from g and the output of `keep`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method gradient(self, grad, kept)")

    def keep(self, x: Array, y: Array) -> Array:
        """Return the array that `gradient` needs besides g, of the same shape as x."""
        return x

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        x = check_input(x)
        y = in_blocks(self.value, x)
        if modes.state.saving:  # what nobody reads need not be computed
            self.save_for_backward(self.keep(x, y), x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(...) -> (...)"""
        kept, dtype = self.saved()
        check_grad(self, grad, kept.shape, dtype)
        return in_blocks(self.gradient, grad, kept)


def in_blocks(function: Callable[..., Array], *arrays: Array) -> Array:
    """Apply an element-wise function block by block: ``function(*arrays)``, in dtype and layout of the first array."""
    y = empty_like(arrays[0])
    flat = [in_memory_order(array, y) for array in (*arrays, y)]
    if any(array is None for array in flat):
        return _in_any_order(function, arrays, y)

    def part(*parts: Any) -> None:
        for start in range(0, len(parts[0]), BLOCK):
            *inputs, out = (array[start : start + BLOCK] for array in parts)
            out[...] = function(*inputs)

    in_parts(part, *flat)
    return y


def in_memory_order(array: Array, like: Array) -> Array | None:
    """Return a flat view in memory order, or None unless the array is contiguous in the axis order of ``like``."""
    if array.strides != tuple(step // like.itemsize * array.itemsize for step in like.strides):
        return None
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    ordered = array.transpose(order)
    return ordered.reshape(-1) if ordered.flags.c_contiguous else None


def _in_any_order(function: Callable[..., Array], arrays: tuple[Array, ...], y: Array) -> Array:
    op_flags = [*[["readonly"] for _ in arrays], ["writeonly"]]
    flags = ["external_loop", "buffered", "zerosize_ok"]
    with np.nditer([*arrays, y], flags, op_flags, buffersize=BLOCK) as blocks:  # type: ignore[arg-type]
        for *inputs, out in blocks:
            out[...] = function(*inputs)
    return y


@without_warnings  # where exp(-x) overflows to infinity, 1 / inf gives 0 as it should
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


@kernel
def gate(grad: Array, blocked: Array) -> Array:
    """Return 0 where ``blocked`` and ``grad`` elsewhere.

    A product with a mask would turn a blocked infinity into NaN. A bit mask keeps or clears all bits of a number.

    Examples
    --------
    >>> gate(np.array([1.0, 2.0, np.inf]), np.array([False, True, True]))
    array([1., 0., 0.])
    """
    bits = np.dtype(f"i{grad.itemsize}")
    bit_mask = np.subtract(blocked, 1, dtype=np.int8)  # -1, all bits set, or 0
    y = np.empty_like(grad)
    np.bitwise_and(grad.view(bits), bit_mask, out=y.view(bits))
    return y


def finite_float(value: Any, name: str, above: float = -math.inf) -> float:
    """Return ``value`` as a float, or raise an error that names the argument."""
    if not is_finite(value) or not above < value:
        expected = "a finite number" if above == -math.inf else f"a finite number larger than {above:g}"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return float(value)
