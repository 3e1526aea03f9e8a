"""Helpers shared by optimizers and schedules: checks of settings, parameter groups, and state arrays."""

import inspect
from typing import Any

import numpy as np

from cnn.core.checks import is_finite
from cnn.errors import ShapeError
from cnn.module import Array, Module, Parameter


def short_repr(value: Any) -> str:
    """Return the repr of a value for an error message, or only its type if the repr is long (a model, an array)."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else type(value).__name__


def at_least_zero(value: Any, name: str) -> float:
    """Return ``value`` as a Python float (a NumPy one would promote float32 weights to float64), or raise an error."""
    if not is_finite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {short_repr(value)}")
    return float(value)


def below_one(value: Any, name: str) -> float:
    """Return ``value``, a decay rate, as a Python float, or raise an error."""
    if at_least_zero(value, name) >= 1:
        raise ValueError(f"{name} must be below 1, got {short_repr(value)}")
    return float(value)


def check_betas(betas: Any) -> tuple[float, float]:
    """Return the pair as Python floats, or raise an error."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, such as (0.9, 0.999), got {short_repr(betas)}")
    return below_one(betas[0], "betas[0]"), below_one(betas[1], "betas[1]")


def check_model(model: Any) -> None:
    """Raise an error unless it is a model."""
    if not isinstance(model, Module):
        kind = type(model).__name__
        raise TypeError(f"model must be a Module, got {kind}: pass the model itself, not model.parameters()")


def per_group(value: Any, name: str, optimizer: Any) -> list[float]:
    """Return a number for each parameter group: the same for all, or the elements of a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name} must be one number or {groups}, one for each group, got {short_repr(value)}")
    return [at_least_zero(number, name) for number in values]


def checked_groups(schedule: Any, count: int) -> list[Any]:
    """Return the optimizer's parameter groups if their number is still the same as when the schedule was created."""
    groups: list[Any] = schedule.optimizer.param_groups
    if len(groups) != count:
        raise ValueError(
            f"{type(schedule).__name__} was created when the optimizer had {count} group{'s' * (count != 1)}, but it "
            f"has {len(groups)} now: give the optimizer its parameters and groups first, then create the schedule"
        )
    return groups


def set_in_groups(schedule: Any, name: str, values: list[Any]) -> None:
    """Set a setting of every group of the schedule's optimizer. If the groups that follow the optimizer's own setting
    all get the same value, set that as well.
    """
    groups = checked_groups(schedule, len(values))
    for group, value in zip(groups, values, strict=True):
        setattr(group, name, value)
    common = [value for group, value in zip(groups, values, strict=True) if name not in group._own_settings] or values
    if all(value == common[0] for value in common):
        setattr(schedule.optimizer, name, common[0])


def non_default_settings(instance: object) -> list[str]:
    """Return the settings that differ from their defaults, written as in a call, such as "lr=0.1"; for repr."""
    settings = []
    for name, argument in inspect.signature(type(instance)).parameters.items():
        value = getattr(instance, name, argument.default)
        values = value if isinstance(value, list) else [value]  # a list has one value for each group
        if name not in ("params", "optimizer") and any(repr(v) != repr(argument.default) for v in values):
            settings.append(f"{name}={value!r}")
    return settings


def no_grad_found(optimizer: Any) -> RuntimeError:
    """Return an error for a step without a gradient."""
    fix = "call backward before step"
    if not optimizer.params:
        fix = "it has no parameters: give it model.parameters()"
    elif not any(parameter.requires_grad for parameter in optimizer.params):
        fix = "all its parameters are frozen: call requires_grad_() of a module that is to be trained"
    return RuntimeError(f"{type(optimizer).__name__}.step found no gradient: {fix}")


def unfit_grad(parameter: Parameter, grad: Any) -> Exception:
    """Return the error for a gradient that is not an array of real numbers in the shape of its parameter."""
    if type(grad) is not np.ndarray or grad.dtype.kind not in "fiu":
        kind = f"an array of {grad.dtype}" if type(grad) is np.ndarray else type(grad).__name__
        return TypeError(f"a grad must be a NumPy array of real numbers, like its parameter, got {kind}")
    return ShapeError(f"a parameter of shape {parameter.shape} has a grad of shape {grad.shape}")


def state_array(state: dict[str, Any], name: str, w: Array, start: float = 0.0) -> Array:
    """Return ``state[name]``, an array with the shape and dtype of ``w``; the first call fills it with ``start``.

    It is converted if the dtype of ``w`` has changed, as by `Module.to`.
    """
    array = state[name] if name in state else np.full_like(w, start)
    state[name] = array.astype(w.dtype, copy=False)
    return state[name]
