"""The state of a DataLoader, in values that JSON can hold."""

from typing import Any

import numpy as np

from cnn.errors import InputError

SETTINGS = ("samples", "batch_size", "shuffle", "drop_last", "targets")
ADDED = {"drop_last": False, "targets": None, "draw_weights": None}  # missing in older states


def check_state(state: dict[str, Any], own: dict[str, Any]) -> None:
    """Raise an error that names the difference unless a state fits the loader that has the state ``own``."""
    missing = sorted(own.keys() - state.keys() - ADDED.keys())
    if missing:
        raise InputError(f"this is not the state of a DataLoader: it has no {', '.join(missing)}")
    state = ADDED | state
    for name in SETTINGS:
        if state[name] != own[name]:
            raise InputError(f"the state is of a loader with {name}={state[name]}, but here it is {own[name]}")
    if state["draw_weights"] != own["draw_weights"]:
        raise InputError("the state is of a loader with other draw_weights: pass the same")
    if (state["seed"] is None) != (own["seed"] is None):
        had, has = ("no transforms", "some") if state["seed"] is None else ("transforms", "none")
        raise InputError(f"the state is of a loader with {had}, but this one has {has}")
    kind, kind_here = (states["rng"]["bit_generator"] for states in (state, own))
    if kind != kind_here:
        raise InputError(
            f"the state is of a {kind} generator, but rng is a {kind_here}: pass "
            f"rng=np.random.Generator(np.random.{kind}())"
        )


def json_values(value: Any) -> Any:
    """Return a generator's state in values that JSON can hold."""
    if isinstance(value, dict):
        return {key: json_values(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
