"""Container: the base class of modules that contain other modules."""

import functools
from typing import Any

import numpy as np

from cnn.core import modes
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.module import Array, Module, Parameter

FLOAT16 = np.dtype(np.float16)


@functools.cache
def limits_blas(module: str) -> bool:
    """Whether the layers in a Python module limit BLAS to one thread themselves: the library's do, others may not."""
    return module.startswith(("cnn.layers.", "cnn.containers.", "cnn.sequential"))


class Container(Module):
    """A module whose forward and backward run its children."""

    def validate_children(self) -> None:
        """Check that each child is a module, and that none appears twice.

        Raises
        ------
        TypeError
            If a child is not a module.
        ValueError
            If there are none, or if one instance appears twice: the values that it saves for backward would be
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

    def widened(self, x: Array) -> Array:
        """Return float16 in the dtype of the container's tensors (float32 if it has none), anything else as it is."""
        if type(x) is not np.ndarray or x.dtype != FLOAT16:
            return x
        return x.astype(next((t.dtype for _, t in self.named_tensors() if t.dtype.kind == "f"), np.float32))

    def needs_backward(self, child: Module) -> bool:
        """Whether a child's backward is needed: if not for the gradient of its input, then to train a parameter."""
        if not Parameter.some_frozen or self.needs_input_grad:
            return True
        parameters = child.parameters()
        return not parameters or any(parameter.requires_grad for parameter in parameters)

    def run_child(self, child: Module, x: Array) -> Array:
        """Run a child forward."""
        run: Any = child
        if modes.state.forward_hook is None and type(child).__call__ is Module.__call__:
            run = child.forward  # a call would do no more, but look for modes that Ctrl-C has left, as our caller has
        if modes.state.clock is not None:
            y = modes.state.clock(child, "forward", run, x)
        elif limits_blas(type(child).__module__):
            y = run(x)
        else:
            with one_blas_thread():
                y = run(x)
        check_output(y)
        return y

    def run_child_backward(self, child: Module, grad: Array) -> Array | None:
        """Run a child backward."""
        clock = modes.state.clock
        input_grad = child.backward(grad) if clock is None else clock(child, "backward", child.backward, grad)
        if input_grad is None and child.needs_input_grad:
            raise InputError("backward must return the gradient of the input, but returned None")
        return input_grad


def check_output(y: object) -> None:
    """Raise an error unless a layer's output is an array."""
    if not isinstance(y, np.ndarray):
        raise InputError(f"forward must return an array, but returned {type(y).__name__}")
