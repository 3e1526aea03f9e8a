"""What may be assigned to an attribute of a layer after it was made: shapes and settings that belong together stay so.

The layers of this library compute their tensors' shapes from their settings, once. Code that runs a layer relies on
both. So a tensor may be replaced by one of the same shape, and a setting by one that gives the same shapes.
"""

import inspect
from typing import Any

import numpy as np

from cnn.core.parameter import Buffer, Parameter
from cnn.errors import InputError, ShapeError

# What others call freezing: as stray attributes these would change nothing
OTHER_WORDS = frozenset(("requires_grad", "trainable", "frozen"))
_missing = object()  # for an attribute that a user's subclass has added


def _library_class(kind: type) -> type | None:
    """Return the layer class of this library that a class is or derives from; None: its author knows what fits."""
    return next((base for base in kind.__mro__ if base.__module__.startswith("cnn.layers.")), None)


def checked(layer: Any, name: str, old: Any, new: Any) -> Any:
    """Return what to store in place of ``old``, or raise an error that says what to write instead.

    Raises
    ------
    TypeError
        If a tensor is replaced by something else.
    ShapeError
        If it is replaced by a tensor of another shape.
    ValueError
        If a setting is not valid, or if the tensors of a new layer with this setting had other shapes.
    """
    base = _library_class(type(layer))
    if base is None or new is old:
        return new
    if isinstance(old, Buffer) and _is_like(new, old):
        return new  # without a new layer to compare with, which takes time and memory for its weights
    is_flag = isinstance(getattr(inspect.signature(base).parameters.get(name), "default", None), bool)
    if isinstance(old, Buffer) or (old is None and (is_flag or isinstance(new, (Buffer, np.ndarray)))):
        if new is None and is_flag:
            return None
        expected = vars(_new_layer(base, layer, {name: True} if is_flag else {})).get(name, _missing)
        return new if expected is _missing else _checked_tensor(f"{base.__name__}.{name}", name, old, new, expected)
    if name not in inspect.signature(base).parameters or name == "rng":
        return new
    fresh = _new_layer(base, layer, {name: new})
    for key, tensor in vars(fresh).items():
        shapes = [t.shape if isinstance(t, Buffer) else None for t in (vars(layer).get(key), tensor)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{base.__name__} was made for {name}={old!r}, with {_described(key, shapes[0])}; for {name}={new!r} "
                f"it needs {_described(key, shapes[1])}: make a new layer, {fresh!r}"
            )
    return getattr(fresh, name)  # as the constructor stores it, such as a pair for one number


def check_word(module: Any, name: str, value: Any) -> None:
    """Raise an error if a module gets an attribute that looks as if it would freeze it, unless its class has it."""
    kind = type(module)
    if isinstance(value, bool) and not hasattr(kind, name) and name not in inspect.signature(kind).parameters:
        raise AttributeError(
            f"{kind.__name__} has no setting {name!r}: call requires_grad_({value if name != 'frozen' else not value}) "
            "for its parameters, or freeze() and unfreeze(), which also keep batch normalization as it is"
        )


def _is_like(new: Any, old: Buffer) -> bool:
    """Tell whether a value is a tensor that fits where another was."""
    if not isinstance(new, Buffer) or isinstance(new, Parameter) != isinstance(old, Parameter):
        return False
    return bool(new.shape == old.shape and new.dtype.kind == old.dtype.kind)


def _checked_tensor(what: str, name: str, old: Any, new: Any, expected: Buffer | None) -> Any:
    """Check a value that takes the place of a tensor; ``expected`` is that of a new layer."""
    if expected is None:
        raise InputError(f"{what} is None, and the settings of the layer say so: make a new layer with other settings")
    kind = type(expected).__name__
    if not isinstance(new, Buffer) or isinstance(new, Parameter) != isinstance(expected, Parameter):
        advice = f"write layer.{name} = {kind}(array)"
        if isinstance(old, Buffer):
            advice = f"to change its values, write layer.{name}.data = array"
        given = f"an array of shape {new.shape}" if isinstance(new, np.ndarray) else type(new).__name__
        raise TypeError(f"{what} must be a {kind} of shape {expected.shape}, got {given}: {advice}")
    if new.shape != expected.shape:
        raise ShapeError(
            f"{what} must have shape {expected.shape}, as the settings of the layer say, got {new.shape}: make a new "
            "layer with other settings"
        )
    if new.dtype.kind != expected.dtype.kind:
        raise TypeError(f"{what} must hold numbers like {expected.dtype}, got {new.dtype}")
    return new


def _new_layer(base: type, layer: Any, changes: dict[str, Any]) -> Any:
    """Make a layer with the settings of another, but for some changes.

    Where an argument is a flag such as ``bias=True``, a tensor counts as True and None as False.
    """
    given = {}
    for name, argument in inspect.signature(base).parameters.items():
        if name in changes:
            given[name] = changes[name]
        elif name == "rng":
            given[name] = 0  # not the default generator, whose state must stay
        elif name in vars(layer):
            value = vars(layer)[name]
            is_flag = isinstance(argument.default, bool) and (value is None or isinstance(value, Buffer))
            given[name] = value is not None if is_flag else value
    return base(**given)


def _described(name: str, shape: tuple[int, ...] | None) -> str:
    return f"no {name}" if shape is None else f"{name} of shape {shape}"
