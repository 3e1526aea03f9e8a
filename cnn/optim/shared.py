"""What optimizers and schedules share: checks of settings, and arrays that follow the dtype of their parameter."""

import inspect
import math
from typing import Any

import numpy as np

from cnn.module import Array, Module


def brief(value: Any) -> str:
    """Return what an error says that it got: the value, or only its type where that is a model or a long array."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else type(value).__name__


def at_least_zero(value: Any, name: str) -> float:
    """Return ``value`` as a plain float (a NumPy one would turn float32 weights into float64) or raise an error."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {brief(value)}")
    return float(value)


def below_one(value: Any, name: str) -> float:
    """Return ``value``, a share of the past to keep, as a plain float, or raise an error."""
    if at_least_zero(value, name) >= 1:
        raise ValueError(f"{name} must be below 1, got {brief(value)}")
    return float(value)


def check_betas(betas: Any) -> tuple[float, float]:
    """Return the pair as plain floats, or raise an error."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, such as (0.9, 0.999), got {brief(betas)}")
    return below_one(betas[0], "betas[0]"), below_one(betas[1], "betas[1]")


def switch(value: Any, name: str) -> bool:
    """Return ``value`` if it is True or False, or raise an error."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {brief(value)}")
    return bool(value)


def check_model(model: Any) -> None:
    """Raise an error unless it is a model."""
    if not isinstance(model, Module):
        kind = type(model).__name__
        raise TypeError(f"model must be a Module, got {kind}: pass the model itself, not model.parameters()")


def per_group(value: Any, name: str, optimizer: Any) -> list[float]:
    """Return a number for each group of the optimizer: the same for all, or those of a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name} must be one number or {groups}, one for each group, got {brief(value)}")
    return [at_least_zero(number, name) for number in values]


def groups_of(schedule: Any, count: int) -> list[Any]:
    """Return the groups of the schedule's optimizer if there are as many as when it was made."""
    groups: list[Any] = schedule.optimizer.param_groups
    if len(groups) != count:
        raise ValueError(
            f"{type(schedule).__name__} was made when the optimizer had {count} group{'s' * (count != 1)}, it has "
            f"{len(groups)} now: give the optimizer its parameters and groups first, then make the schedule"
        )
    return groups


def set_groups(schedule: Any, name: str, values: list[Any]) -> None:
    """Set a setting of every group of the schedule's optimizer, and the optimizer's own to that of the groups that were
    given none, where these agree.
    """
    groups = groups_of(schedule, len(values))
    for group, value in zip(groups, values, strict=True):
        setattr(group, name, value)
    common = [value for group, value in zip(groups, values, strict=True) if name not in group._own] or values
    if all(value == common[0] for value in common):
        setattr(schedule.optimizer, name, common[0])


def chosen(made: object) -> list[str]:
    """Return the settings that are not the usual ones, as in a call: "lr=0.1"; for repr."""
    told = []
    for name, argument in inspect.signature(type(made)).parameters.items():
        value = getattr(made, name, argument.default)
        values = value if isinstance(value, list) else [value]  # one for each group
        if name not in ("params", "optimizer") and any(repr(v) != repr(argument.default) for v in values):
            told.append(f"{name}={value!r}")
    return told


def remembered(state: dict[str, Any], name: str, w: Array, start: float = 0.0) -> Array:
    """Return the array ``state[name]``, which is of the shape and dtype of ``w`` and starts with ``start`` everywhere.

    The dtype changes when the model is converted by `to`.
    """
    array = state[name] if name in state else np.full_like(w, start)
    state[name] = array.astype(w.dtype, copy=False)
    return state[name]
