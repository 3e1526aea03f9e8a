"""Module, the base class of every layer, with its Parameters and Buffers, and the context manager no_grad.

There is no tape and no graph. A module knows its own derivative: ``forward`` saves the values that ``backward`` needs,
and ``backward`` takes them out again. So memory use falls while backward runs through a net, and nothing happens beyond
what the code of each layer shows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from cnn.core import assignment, changes, modes
from cnn.core.arguments import HasArguments
from cnn.core.checks import checked_dtype
from cnn.core.explain import explain_attributes
from cnn.core.files import read_model_tensors, write_tensors
from cnn.core.loading import LOAD_STATE, IncompatibleKeys, check_numbers, compare, describe
from cnn.core.modes import evaluating, forward_hook, no_grad
from cnn.core.parameter import Array, Buffer, Parameter, plain_array
from cnn.core.text import printable

__all__ = ["Array", "Buffer", "Differentiable", "Module", "Parameter", "evaluating", "forward_hook", "no_grad"]


@explain_attributes
class Differentiable(HasArguments):
    """Base class of layers and losses: values saved between forward and backward, and constructor arguments."""

    _saved: tuple[Any, ...] | None = None

    def save_for_backward(self, *values: Any) -> None:
        """Save the values that backward needs, in place of earlier ones; inside `no_grad` nothing is saved."""
        if modes.state.saving:
            self.__dict__["_saved"] = values  # not through __setattr__, because every layer does it in every step

    def saved(self) -> tuple[Any, ...]:
        """Return the values that forward saved, and clear them.

        Raises
        ------
        RuntimeError
            If nothing is saved: backward ran twice, or without a forward.
        """
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward has nothing saved: each backward needs one forward before it, not "
                "inside no_grad(). Call forward again before this backward"
            )
        values, self.__dict__["_saved"] = self._saved, None
        return values

    def clear_saved(self) -> None:
        """Discard the values that forward saved."""
        self.__dict__["_saved"] = None


class Module(Differentiable):
    """A piece of a network: a layer, or a container of layers.

    A subclass implements ``forward`` and ``backward``. Parameters, buffers and other modules that are attributes are
    found automatically; no registration and no call of ``super().__init__()`` is needed. If constructor arguments are
    stored as attributes of the same name, ``repr`` and saving work without further code.

    Attributes
    ----------
    training : bool
        Whether layers such as Dropout behave as in training (see `train`, `eval` and `freeze`).
    needs_input_grad : bool
        False for the first layers of a net that has an optimizer: the gradient of the data is not needed, so
        ``backward`` may return None instead of computing it.

    Examples
    --------
    >>> import numpy as np
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter(np.ones(1, np.float32))
    ...     def forward(self, x):
    ...         self.save_for_backward(x)
    ...         return x * self.weight.data
    ...     def backward(self, grad):
    ...         (x,) = self.saved()
    ...         self.weight.accumulate_grad(np.sum(grad * x, keepdims=True).reshape(1))
    ...         return grad * self.weight.data
    >>> scale = Scale()
    >>> scale(np.array([[2.0, 3.0]], np.float32))
    array([[2., 3.]], dtype=float32)
    >>> scale.backward(np.array([[1.0, 1.0]], np.float32))
    array([[1., 1.]], dtype=float32)
    >>> scale.weight.grad
    array([5.], dtype=float32)
    """

    needs_input_grad: bool = True
    _training: bool = True
    _frozen: bool = False

    @property
    def training(self) -> bool:
        return self._training and not self._frozen and not modes.state.evaluating

    @training.setter
    def training(self, mode: bool) -> None:
        self._training = mode

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self) and not name.startswith("_"):
            value = assignment.checked(self, name, vars(self)[name], value)
        elif name in assignment.OTHER_WORDS:
            assignment.check_word(self, name, value)
        changes.assign(super().__setattr__, self, name, value)

    def forward(self, x: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, x) that returns its output")

    def backward(self, grad: Array) -> Array | None:
        raise NotImplementedError(f"{type(self).__name__} needs a method backward(self, grad) that returns grad_of_x")

    def __call__(self, x: Array) -> Array:
        if modes.state.active:
            modes.give_back()
        y = self.forward(x)
        if modes.state.forward_hook is not None:
            modes.state.forward_hook(self, y)
        return y

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Return the number of multiply-adds that an output of this shape costs; 0 if it is negligible."""
        return 0

    # Contents

    def children(self) -> dict[str, "Module"]:
        """Return the modules directly inside this one, by name: attributes, and the items of lists and dicts.

        A container needs to override only this. The values that forward saved are not part of the model.
        """
        children = {}
        for name, value in vars(self).items():
            if name == "_saved":
                continue
            if isinstance(value, Module):
                children[name] = value
            elif isinstance(value, (list, tuple, dict)):
                for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                    if isinstance(item, Module):
                        children[f"{name}.{key}"] = item
        return children

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield this module and every module inside it, with dotted names (its own name is the prefix)."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator["Module"]:
        """Yield this module and every module inside it."""
        yield self
        for child in self.children().values():
            yield from child.modules()

    def named_tensors(self) -> Iterator[tuple[str, Buffer]]:
        """Yield all parameters and buffers with dotted names; a shared one is yielded once for each of its names."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Buffer):
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with dotted names, each parameter once."""
        seen: set[int] = set()
        for name, tensor in self.named_tensors():
            if isinstance(tensor, Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def parameters(self) -> list[Parameter]:
        """Return the parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    # State

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers; names, shapes and dtypes are PyTorch's for the same layers."""
        return {name: tensor.data.copy() for name, tensor in self.named_tensors()}

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers. Nothing changes unless everything fits.

        Parameters
        ----------
        state : dict of str to array_like
            As `state_dict` returns it; a PyTorch state_dict of the same layers fits as well.
        strict : bool, default True
            False: copy what fits, for example into a model with another number of classes, and leave the rest.

        Returns
        -------
        IncompatibleKeys
            The keys that do not fit: ``missing_keys``, ``unexpected_keys`` and ``wrong_shape_keys``.

        Raises
        ------
        ValueError
            If keys are missing or unexpected, or shapes differ; the message lists every problem, and how to load those
            that fit. With ``strict=False``, if nothing fits.
        """
        tensors = dict(self.named_tensors())
        arrays = {name: plain_array(value) for name, value in state.items()}
        kind = type(self).__name__
        check_numbers(arrays, kind)
        keys = compare(tensors, arrays)
        fitting = [name for name in tensors if name in arrays and name not in keys.wrong_shape_keys]
        if (any(keys) and strict) or (tensors and not fitting):
            raise ValueError(describe(keys, tensors, arrays, kind))
        converted = {name: arrays[name].astype(tensors[name].dtype) for name in fitting}
        for name, values in converted.items():
            tensors[name].data = values
        return keys

    def save_weights(self, path: str | Path) -> None:
        """Write the state_dict to a safetensors file; an old file is replaced only once the new one is complete."""
        write_tensors(path, self.state_dict())

    def load_weights(self, path: str | Path, strict: bool = True) -> IncompatibleKeys:
        """Read a file of `save_weights`, or any safetensors file of the same names and shapes, such as PyTorch's.

        ``strict`` and the returned keys are those of `load_state_dict`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged or does not fit; in that case the weights are unchanged.
        """
        arrays, _ = read_model_tensors(path)
        try:
            return self.load_state_dict(arrays, strict)
        except ValueError as error:
            problem = str(error).replace(LOAD_STATE, f"model.load_weights({str(path)!r}, strict=False)")
            raise ValueError(f"{printable(path)}: {problem}") from None

    def train(self, mode: bool = True) -> Self:
        """Set this module and every module inside it to training mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set this module and every module inside it to evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of all parameters; False freezes them, as in PyTorch.

        Batch normalization still updates its statistics in training, and dropout still drops; see `freeze`.
        """
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def freeze(self) -> Self:
        """Freeze all parameters, and keep this module and every module inside it in evaluation mode.

        `train` and `fit` do not change that: batch normalization keeps the statistics that belong to the weights of a
        pretrained net; those of a few new images are not as good. `unfreeze` is the opposite.
        """
        for module in self.modules():
            module._frozen = True
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Train all parameters again, and let `train` set the mode again."""
        for module in self.modules():
            module._frozen = False
        return self.requires_grad_(True)

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        modules: list[Module] = [self]
        for module in modules:  # the list grows during the loop
            may_have_children = type(module).children is not Module.children
            for value in vars(module).values():
                if isinstance(value, Parameter):
                    value.grad = None
                elif isinstance(value, (Module, list, tuple, dict)):
                    may_have_children = True
            if may_have_children:
                modules.extend(module.children().values())

    def to(self, dtype: Any) -> Self:
        """Convert all floating-point parameters and buffers to float32 or float64."""
        dtype = checked_dtype(dtype)
        for _, tensor in self.named_tensors():
            tensor.to(dtype)
        for module in self.modules():
            module.clear_saved()  # values saved by a forward in the other dtype
        return self
