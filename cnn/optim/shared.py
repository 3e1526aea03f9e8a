"""What optimizers and schedules share: checks of settings, and arrays that follow the dtype of their parameter."""

import math
from typing import Any

import numpy as np

from cnn.module import Array


def at_least_zero(value: Any, name: str) -> float:
    """Return ``value`` as a plain float (a NumPy one would turn float32 weights into float64) or raise an error."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)


def below_one(value: Any, name: str) -> float:
    """Return ``value``, a share of the past to keep, as a plain float, or raise an error."""
    if at_least_zero(value, name) >= 1:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return float(value)


def check_betas(betas: Any) -> tuple[float, float]:
    """Return the pair as plain floats, or raise an error."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, such as (0.9, 0.999), got {betas!r}")
    return below_one(betas[0], "betas[0]"), below_one(betas[1], "betas[1]")


def switch(value: Any, name: str) -> bool:
    """Return ``value`` if it is True or False, or raise an error."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def per_group(value: Any, name: str, optimizer: Any) -> list[float]:
    """Return a number for each group of the optimizer: the same for all, or those of a list."""
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{name} must be one number or {groups}, one for each group, got {value!r}")
    return [at_least_zero(number, name) for number in values]


def remembered(state: dict[str, Any], name: str, w: Array, start: float = 0.0) -> Array:
    """Return the array ``state[name]``, which is of the shape and dtype of ``w`` and starts with ``start`` everywhere.

    The dtype changes when the model is converted by `to`.
    """
    array = state[name] if name in state else np.full_like(w, start)
    state[name] = array.astype(w.dtype, copy=False)
    return state[name]
