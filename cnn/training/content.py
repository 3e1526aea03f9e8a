"""What a checkpoint contains: every value is checked when a file is read, so that nothing later relies on chance.

A checksum finds damage. It says nothing about a file that someone wrote on purpose, or that another program wrote.
"""

import math
from typing import Any

import numpy as np

from cnn.core.text import short_text
from cnn.training.history import History

LARGEST = 2**53  # of the counters: a training has fewer epochs and steps than that
FINGERPRINT = {
    "samples": int,
    "sample_shape": list,
    "dtype": str,
    "target_shape": list,
    "target_dtype": str,
    "samples_read": int,
    "targets_read": int,
    "samples_digest": str,
    "targets_digest": str,
}


def expect(is_right: bool, name: str, expected: str, value: Any) -> None:
    """Raise an error that names the key, what was expected and what is there, unless ``is_right``."""
    if not is_right:
        raise ValueError(f"{name} must be {expected}, got {short_text(value)}")


def has_keys(value: Any, name: str, keys: Any) -> None:
    """Raise an error unless ``value`` is a dict that has all of the keys."""
    expect(isinstance(value, dict), name, f"a dict of {', '.join(keys)}" if keys else "a dict", value)
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{name} has no {', '.join(missing)}")


def whole(value: Any, name: str, minimum: int = 0, maximum: int = LARGEST) -> int:
    """Return an integer within limits, or raise an error."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
    limit = "2**53" if maximum == LARGEST else maximum
    expect(is_whole, name, f"an integer from {minimum} to {limit}", value)
    return int(value)


def real(value: Any, name: str, finite: bool = True) -> float:
    """Return a number as a float, or raise an error."""
    is_real = isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    )
    expect(is_real and (not finite or math.isfinite(value)), name, "a finite number" if finite else "a number", value)
    return float(value)


def text(value: Any, name: str) -> str:
    """Return a string, or raise an error."""
    expect(isinstance(value, str), name, "a string", value)
    return str(value)


def flag(value: Any, name: str) -> bool:
    """Return True or False, or raise an error."""
    expect(isinstance(value, bool), name, "true or false", value)
    return bool(value)


def items(value: Any, name: str, check: Any, length: int | None = None) -> list[Any]:
    """Return a list whose items all pass ``check(item, name)``, or raise an error."""
    count = "" if length is None else f" of {length} items"
    expect(isinstance(value, list) and length in (None, len(value)), name, f"a list{count}", value)
    for i, item in enumerate(value):
        check(item, f"{name}[{i}]")
    return list(value)


def arrays_by_name(value: Any, name: str) -> dict[str, Any]:
    """Return a dict of arrays of real numbers, or raise an error."""
    expect(isinstance(value, dict), name, "a dict of arrays", value)
    for key, array in value.items():
        is_array = isinstance(array, np.ndarray) and array.dtype.kind in "fiu"
        expect(is_array, f"{name}[{short_text(key)}]", "an array of numbers", array)
    return dict(value)


def check_state(state: Any) -> None:
    """Raise a ValueError unless ``state`` is what `cnn.training.checkpoint_file.snapshot` describes.

    The states of the optimizer, the loader, the generators and the callbacks are checked by those who load them.
    """
    has_keys(
        state,
        "state",
        (
            *("epoch", "epochs", "step", "input_shape", "stopped", "means", "history", "optimizer", "loader", "random"),
            *("callbacks", "architecture", "loss", "first", "data", "validation", "evaluate_train", "transforms"),
            "environment",
        ),
    )
    epoch = whole(state["epoch"], "epoch")
    step = whole(state["step"], "step")
    whole(state["epochs"], "epochs", 1)
    first = whole(state["first"], "first")
    flag(state["stopped"], "stopped")
    flag(state["evaluate_train"], "evaluate_train")
    if state.get("clip_norm") is not None:
        real(state["clip_norm"], "clip_norm")
    text(state["loss"], "loss")
    if state.get("settings") is not None:
        items(state["settings"], "settings", text, len(items(state["callbacks"], "callbacks", check_callback)))
    items(state["transforms"], "transforms", text)
    if state["input_shape"] is not None:
        items(state["input_shape"], "input_shape", size)
    items(state["means"], "means", lambda value, name: real(value, name, finite=False), 4)
    check_history(state["history"])
    has_keys(state["optimizer"], "optimizer", ())
    has_keys(state["loader"], "loader", ("epoch", "taken"))
    has_keys(state["random"], "random", ("default", "model"))
    has_keys(state["random"]["model"], "random.model", ())
    has_keys(state["environment"], "environment", ())
    items(state["callbacks"], "callbacks", check_callback)
    check_architecture(state["architecture"])
    if state.get("frozen") is not None:  # version 0.1 had none
        has_keys(state["frozen"], "frozen", ("parameters", "modules"))
        for kind in ("parameters", "modules"):
            items(state["frozen"][kind], f"frozen.{kind}", text)
    check_fingerprint(state["data"], "data")
    if state["validation"] is not None:
        check_fingerprint(state["validation"], "validation")
    if state["loader"].get("seed") is not None:
        whole(state["loader"]["seed"], "loader.seed", 0, 2**64 - 1)
    begun = whole(state["loader"]["epoch"], "loader.epoch", 0, 2 * LARGEST)
    taken = whole(state["loader"]["taken"], "loader.taken")
    expect(begun == first + epoch, "loader.epoch", f"first + epoch = {first + epoch}", begun)
    expect((epoch == 0) == (step == 0), "step", f"{'0' if epoch == 0 else 'above 0'} in epoch {epoch}", step)
    if epoch:
        expect(taken == step, "loader.taken", f"the number of the step, {step}", taken)


def size(value: Any, name: str) -> int:
    """Return one size of an array's shape, or raise an error."""
    return whole(value, name, 0, 2**31 - 1)


def check_history(history: Any) -> None:
    """Raise an error unless these are lists of numbers of the same length, one number for each epoch."""
    names = [name for name in vars(History()) if name != "seconds"]
    has_keys(history, "history", names)
    expect(len(history) == len(names), "history", f"a dict of {', '.join(names)} only", list(history))
    epochs = len(items(history[names[0]], f"history.{names[0]}", lambda *_: None))
    for name in names:
        items(history[name], f"history.{name}", lambda value, key: real(value, key, finite=False), epochs)


def check_callback(value: Any, name: str) -> None:
    """Raise an error unless this is the name of a callback's class with its state, which the callback checks."""
    items(value, name, lambda *_: None, 2)
    text(value[0], f"{name}[0]")


def check_architecture(value: Any) -> None:
    """Raise an error unless this describes a model."""
    has_keys(value, "architecture", ("model", "tensors", "optimizer", "generators"))
    text(value["model"], "architecture.model")
    text(value["optimizer"], "architecture.optimizer")
    items(value["generators"], "architecture.generators", text)
    has_keys(value["tensors"], "architecture.tensors", ())
    for key, tensor in value["tensors"].items():
        name = f"architecture.tensors[{short_text(key)}]"
        items(tensor, name, lambda *_: None, 2)
        items(tensor[0], f"{name}[0]", size)
        text(tensor[1], f"{name}[1]")


def check_fingerprint(value: Any, name: str) -> None:
    """Raise an error unless this identifies a data set."""
    has_keys(value, name, FINGERPRINT)
    for key, kind in FINGERPRINT.items():
        if kind is int:
            whole(value[key], f"{name}.{key}")
        elif kind is str:
            text(value[key], f"{name}.{key}")
        else:
            items(value[key], f"{name}.{key}", size)
