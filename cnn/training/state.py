"""What a training is at a moment, as arrays and as what JSON can hold."""

import re
import sys
from typing import Any

import numpy as np

from cnn import kernels
from cnn.core import rng
from cnn.module import Array, Module

ARRAY = "$array"  # the one key of what stands for an array


def pack(value: Any, arrays: dict[str, Array], name: str) -> Any:
    """Return ``value`` as JSON can hold it; its arrays go into ``arrays``, by dotted names.

    Examples
    --------
    >>> arrays = {}
    >>> pack({"t": 3, "m": np.zeros(2)}, arrays, "adam")
    {'t': 3, 'm': {'$array': 'adam.m'}}
    >>> list(arrays)
    ['adam.m']
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): pack(item, arrays, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"a checkpoint holds numbers, texts, lists, dicts and arrays, but {name} is {value!r}: leave that out of "
        "state_dict"
    )


def unpack(value: Any, arrays: dict[str, Array]) -> Any:
    """Undo `pack`; tuples have become lists."""
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return arrays[value[ARRAY]]
        return {key: unpack(item, arrays) for key, item in value.items()}
    return [unpack(item, arrays) for item in value] if isinstance(value, list) else value


def generators(model: Module) -> dict[str, np.random.Generator]:
    """Return every random generator that the modules hold, by its dotted name; a shared one comes once for each."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, np.random.Generator)
    }


def random_state(model: Module) -> dict[str, Any]:
    """Return the states of the model's generators and of the default one."""
    return {
        "default": rng.state_dict(),
        "model": {name: generator.bit_generator.state for name, generator in generators(model).items()},
    }


def set_random_state(model: Module, state: dict[str, Any]) -> None:
    """Put all generators into the states of `random_state`."""
    rng.load_state_dict(state["default"])
    for name, generator in generators(model).items():
        generator.bit_generator.state = state["model"][name]


def architecture(model: Module) -> dict[str, Any]:
    """Return what a model must have in common with that of a checkpoint."""
    return {
        "model": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model)),  # of a class of their own without a repr
        "tensors": {name: [list(t.shape), str(t.dtype)] for name, t in model.named_tensors()},
        "optimizer": type(getattr(model, "optimizer", None)).__name__,
        "generators": sorted(generators(model)),
    }


def architecture_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Say in which way two architectures differ, or None."""
    before, now = old["tensors"], new["tensors"]
    for name in [*before, *now]:
        if before.get(name) != now.get(name):
            shapes = [text(tensor) for tensor in (before.get(name), now.get(name))]
            return f"{name} {shapes[0]} in the checkpoint and {shapes[1]} now"
    for key, what in (("optimizer", "the optimizer"), ("generators", "layers with random numbers")):
        if old[key] != new[key]:
            return f"{what}: {old[key]} in the checkpoint, {new[key]} now"
    if old["model"] != new["model"]:
        lines = zip(old["model"].split("\n"), new["model"].split("\n"), strict=False)
        a, b = next(((a, b) for a, b in lines if a != b), (old["model"], new["model"]))
        return f"{a.strip(' ,')} in the checkpoint, {b.strip(' ,')} now"
    return None


def text(tensor: list[Any] | None) -> str:
    return "is not there" if tensor is None else f"is {tuple(tensor[0])} of {tensor[1]}"


def environment() -> dict[str, str]:
    """Return what decides about bits besides the data and the seed."""
    found = {"cnn": sys.modules["cnn"].__version__, **kernels.config()}
    found["blas"] = re.sub(r", \d+ threads", "", found["blas"])  # which our products never use
    return found
