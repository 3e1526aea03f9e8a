"""Checks of the state that an optimizer or a schedule loads: it may come from a damaged or made-up file."""

import copy
import math
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.errors import InputError
from cnn.module import Array
from cnn.optim.shared import at_least_zero, below_one, short_repr

# What an optimizer may keep for a parameter, by name, in `Optimizer.STATE`
ARRAY = "array"  # real numbers, in the shape and dtype of the parameter
SQUARES = "array of at least 0"  # of squared gradients; infinity is one that was too large
OPTIONAL_ARRAY = "array, with some settings only"
COUNT = "number of steps"
FRACTION = "number from 0 to 1, without 1"
LARGEST_COUNT = 2**53 - 1  # a float64 tells larger ones no longer apart


def count(value: Any, name: str) -> int:
    """Return ``value`` as a number of steps, or raise an error that names it."""
    steps = integer(value, name, 0)
    if steps > LARGEST_COUNT:
        raise ValueError(f"{name} must be below 2**53, got {steps}")
    return steps


def real_array(value: Any, name: str, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Array:
    """Return a copy of floating-point numbers as an array of our own, in C order, or raise an error.

    Numbers of another precision than ``dtype`` are converted: `Module.to` converts the weights, and their state is
    converted by the next step.
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name} must be an array, got {short_repr(value)}")
    if value.dtype.newbyteorder("=") not in (np.float32, np.float64):
        raise InputError(f"{name} must hold float32 or float64, got {value.dtype}")
    if shape is not None and value.shape != shape:
        raise InputError(f"{name} in the state has shape {value.shape}, but its parameter has {shape}")
    return np.array(value, dtype, order="C", subok=False)


def _damaged(array: Any, kind: str) -> bool:
    """Tell whether numbers of an array cannot come from training: NaN, infinity, or a negative square."""
    return not bool((array >= 0).all() if kind == SQUARES else np.isfinite(array).all())


def checked_memory(kinds: dict[str, str] | None, memory: Any, shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    """Return a copy of what an optimizer kept for one parameter, or raise an error.

    Parameters
    ----------
    kinds : dict of str to str, or None
        The names and kinds of the values; None: the optimizer is a user's, which may keep what it likes, but its arrays
        must hold numbers.
    memory : dict
        From `Optimizer.state_dict`; empty if the parameter never had a gradient.
    shape : tuple of int
        Of the parameter.
    dtype : dtype
        Of the parameter.
    """
    if not isinstance(memory, dict):
        raise InputError(f"the state of a parameter must be a dict, got {short_repr(memory)}")
    if kinds is None:
        return {name: _of_a_user(value, name, shape) for name, value in memory.items()}
    needed = [name for name, kind in kinds.items() if kind != OPTIONAL_ARRAY] if memory else []
    for what, names in (
        ("lacks", [name for name in needed if name not in memory]),
        ("has an unknown", [name for name in memory if name not in kinds]),
    ):
        if names:
            expected = ", ".join(kinds) or "nothing"
            raise InputError(f"the state of a parameter {what} {names[0]!r}: it must have {expected}")
    checks = {COUNT: count, FRACTION: below_one}
    checked = {
        name: checks[kinds[name]](value, name) if kinds[name] in checks else real_array(value, name, shape, dtype)
        for name, value in memory.items()
    }
    for name, value in checked.items():
        if kinds[name] not in checks and _damaged(value, kinds[name]):
            expected = "numbers of at least 0" if kinds[name] == SQUARES else "finite numbers"
            raise InputError(f"{name} in the state of a parameter must hold {expected}: the state is damaged")
    return checked


def checked_state(optimizer: Any, state: Any) -> dict[str, Any]:
    """Return a copy of a state that fits this optimizer, or raise an error."""
    kind, names = type(optimizer).__name__, ("settings", "initial_lr", "memory", "groups")
    types = {"settings": dict, "memory": list, "groups": list}
    if not isinstance(state, dict) or set(state) - {"steps"} != set(names):  # without steps: of an earlier version
        raise ValueError(f"the state of {kind} must be a dict with {', '.join(names)}, as state_dict returns it")
    for name, expected in types.items():
        if not isinstance(state[name], expected):
            raise ValueError(f"{name} in the state of {kind} must be a {expected.__name__}")
    if set(state["settings"]) != set(optimizer._settings()):
        raise ValueError(
            f"the state has the settings {sorted(map(str, state['settings']))}, but {kind} has {optimizer._settings()}"
        )
    for what, before, now in (
        ("parameters", len(state["memory"]), len(optimizer.params)),
        ("groups", len(state["groups"]), len(optimizer._groups)),
    ):
        if before != now:
            raise ValueError(f"the state belongs to {kind} with {before} {what}, but this one has {now}")
    initial_lr = state["initial_lr"]
    kinds = optimizer.state_kinds()
    return {
        "settings": _checked_settings(optimizer, state["settings"]),
        "initial_lr": None if initial_lr is None else at_least_zero(initial_lr, "initial_lr"),
        "steps": count(state.get("steps", 0), "steps"),
        "memory": [
            checked_memory(kinds, memory, optimizer._array_shape(p), p.dtype)
            for memory, p in zip(state["memory"], optimizer.params, strict=True)
        ],
        "groups": [checked_state(group, one) for group, one in zip(optimizer._groups, state["groups"], strict=True)],
    }


def _checked_settings(optimizer: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as `check` leaves them."""
    trial = copy.copy(optimizer)
    trial._groups = ()
    try:
        for name, value in settings.items():
            setattr(trial, name, value)
        trial.check()
    except (TypeError, ValueError) as error:
        raise ValueError(f"the settings in the state do not fit {type(optimizer).__name__}: {error}") from None
    return {name: getattr(trial, name) for name in settings}


def _of_a_user(value: Any, name: str, shape: tuple[int, ...]) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold real numbers, got {value.dtype}")
    if value.ndim and value.size != math.prod(shape):
        raise InputError(f"{name} in the state has shape {value.shape}, but its parameter has {shape}")
    return np.array(value, order="C")


def checked_rates(values: Any, groups: int) -> list[float]:
    """Return the learning rates that a schedule had set, one for each group, or raise an error."""
    if not isinstance(values, (list, tuple)) or len(values) != groups:
        raise ValueError(f"lrs must be {groups} learning rates, one for each group, got {short_repr(values)}")
    return [at_least_zero(value, "each of lrs") for value in values]
