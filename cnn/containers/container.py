"""Container: what modules that hold other modules have in common."""

import contextlib
import functools

import numpy as np

from cnn.core.modes import timed
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.module import Array, Module

NOTHING = contextlib.nullcontext()


@functools.cache
def limits_blas(module: str) -> bool:
    """Tell whether the layers of a module have BLAS on one thread in all products: ours do, a user's need not."""
    return module.startswith(("cnn.layers.", "cnn.containers.branches", "cnn.sequential"))


class Container(Module):
    """A module whose forward and backward are those of its children."""

    def validate_children(self) -> None:
        """Check the children: each is a module, and none is there twice.

        Raises
        ------
        TypeError
            If a child is no module.
        ValueError
            If there are none, or if one instance appears twice: its one slot for what backward needs would be
            overwritten.
        """
        children = self.children()
        if not children:
            raise ValueError(f"{type(self).__name__} needs at least one layer, got none")
        for name, child in children.items():
            if isinstance(child, type):
                raise TypeError(f"layer {name} is the class {child.__name__}, not a layer: write {child.__name__}(...)")
            if not isinstance(child, Module):
                raise TypeError(f"layer {name} must be a Module, got {child!r}")
        seen: dict[int, str] = {}
        for name, module in self.named_modules():
            if id(module) in seen:
                kind = type(module).__name__
                raise ValueError(
                    f"layers {seen[id(module)]} and {name} are the same {kind} instance, which can remember only one "
                    f"forward pass: make a second {kind}; to share weights, assign them, as in b.weight = a.weight"
                )
            seen[id(module)] = name

    def run(self, name: str, child: Module, x: Array, needs_input_grad: bool) -> Array:
        """Call a child; if it refuses its input, or makes no output, the error tells its position."""
        child.needs_input_grad = needs_input_grad
        try:
            with NOTHING if limits_blas(type(child).__module__) else one_blas_thread():
                y = timed(child, "forward", child, x)
            if not isinstance(y, np.ndarray):
                raise InputError(f"forward must return an array, but returned {type(y).__name__}")
        except InputError as error:
            raise error.at(name, child) from None
        return y

    def run_back(self, name: str, child: Module, grad: Array, next_layer: Module | None = None) -> Array | None:
        """Call a child's backward; if it refuses its gradient, the error tells it and ``next_layer``, the next layer, which
        made that.
        """
        try:
            input_grad = timed(child, "backward", child.backward, grad)
        except InputError as error:
            if next_layer is not None and not error.path:
                error.problem += f"; backward of layer {int(name) + 1}, {next_layer!r}, made this gradient"
            raise error.at(name, child) from None
        if input_grad is None and child.needs_input_grad:
            raise InputError("backward must return the gradient of the input, but returned None").at(name, child)
        return input_grad
