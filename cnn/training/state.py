"""The state of a training run, as arrays and as values that JSON can hold."""

import re
import sys
from typing import Any

import numpy as np

from cnn import kernels
from cnn.core import rng
from cnn.core.text import short_text
from cnn.module import Array, Module

ARRAY = "$array"  # the only key of a dict that stands for an array


def pack(value: Any, arrays: dict[str, Array], name: str) -> Any:
    """Return ``value`` in a form that JSON can hold; its arrays are added to ``arrays``, by dotted names.

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
        f"a checkpoint holds numbers, strings, lists, dicts and arrays, but {name} is {value!r}: leave it out of "
        "state_dict"
    )


def unpack(value: Any, arrays: dict[str, Array]) -> Any:
    """Reverse `pack`; tuples have become lists.

    Raises
    ------
    ValueError
        If it names an array that is not there.
    """
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            name = value[ARRAY]
            if not isinstance(name, str) or name not in arrays:
                raise ValueError(f"{ARRAY} must be the name of an array in the file, got {short_text(name)}")
            return arrays[name]
        return {key: unpack(item, arrays) for key, item in value.items()}
    return [unpack(item, arrays) for item in value] if isinstance(value, list) else value


def weights(arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the parameters and buffers of the model among the arrays of a checkpoint."""
    return {name.removeprefix("model."): array for name, array in arrays.items() if name.startswith("model.")}


def frozen(model: Module) -> dict[str, list[str]]:
    """Return the names of the parameters that are frozen, and of the modules that `Module.freeze` was called for."""
    return {
        "parameters": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        "modules": [name for name, module in model.named_modules() if module._frozen],
    }


def set_frozen(model: Module, state: dict[str, list[str]]) -> None:
    """Restore what `frozen` returned.

    Raises
    ------
    ValueError
        If the model has no parameter or module of such a name; in that case nothing has changed.
    """
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    for kind, known in (("parameters", parameters), ("modules", modules)):
        unknown = [name for name in state[kind] if name not in known]
        if unknown:
            raise ValueError(f"frozen.{kind} has {short_text(unknown[0])}, which the model has not")
    for name, parameter in parameters.items():
        parameter.requires_grad = name not in state["parameters"]
    for name, module in modules.items():
        module._frozen = name in state["modules"]


def generators(model: Module) -> dict[str, np.random.Generator]:
    """Return every random generator of the modules, by its dotted name; a shared one appears once per module."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, np.random.Generator)
    }


def random_state(model: Module) -> dict[str, Any]:
    """Return the states of the model's generators and of the default generator."""
    return {
        "default": rng.state_dict(),
        "model": {name: generator.bit_generator.state for name, generator in generators(model).items()},
    }


def set_random_state(model: Module, state: dict[str, Any]) -> None:
    """Restore the states that `random_state` returned.

    Raises
    ------
    ValueError
        If they do not fit the generators; in that case nothing has changed.
    """
    own = generators(model)
    if state["model"].keys() != own.keys():
        raise ValueError(f"random.model must have the states of {', '.join(own) or 'no generator'}")
    checked = {name: rng.checked_state(generator, state["model"][name]) for name, generator in own.items()}
    rng.load_state_dict(state["default"])
    for name, generator in own.items():
        generator.bit_generator.state = checked[name]


def check_generators(generator: np.random.Generator, loader_state: dict[str, Any]) -> None:
    """Raise an error if a loader's state has the states of such a generator, but damaged."""
    kind = generator.bit_generator.state["bit_generator"]
    for name in ("rng", "rng_now"):
        saved = loader_state.get(name)
        if not isinstance(saved, dict) or saved.get("bit_generator") in (None, kind):
            rng.checked_state(generator, saved)


def architecture(model: Module) -> dict[str, Any]:
    """Return the properties that a model must share with the model of a checkpoint."""
    return {
        "model": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model)),  # of custom classes without a repr
        "tensors": {name: [list(t.shape), str(t.dtype)] for name, t in model.named_tensors()},
        "optimizer": type(getattr(model, "optimizer", None)).__name__,
        "generators": sorted(generators(model)),
    }


def architecture_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return a description of the first difference between two architectures, or None."""
    before, now = old["tensors"], new["tensors"]
    for name in [*before, *now]:
        if before.get(name) != now.get(name):
            shapes = [describe_tensor(tensor) for tensor in (before.get(name), now.get(name))]
            return f"{name} {shapes[0]} in the checkpoint and {shapes[1]} now"
    for key, what in (("optimizer", "the optimizer"), ("generators", "layers with random numbers")):
        if old[key] != new[key]:
            return f"{what}: {old[key]} in the checkpoint, {new[key]} now"
    if old["model"] != new["model"]:
        lines = zip(old["model"].split("\n"), new["model"].split("\n"), strict=False)
        a, b = next(((a, b) for a, b in lines if a != b), (old["model"], new["model"]))
        return f"{a.strip(' ,')} in the checkpoint, {b.strip(' ,')} now"
    return None


def describe_tensor(tensor: list[Any] | None) -> str:
    return "is missing" if tensor is None else f"is {tuple(tensor[0])} of {tensor[1]}"


def environment() -> dict[str, str]:
    """Return what the bits of the results depend on, besides the data and the seed."""
    found = {"cnn": sys.modules["cnn"].__version__, **kernels.config()}
    found["kernels"] = found.pop("backend")  # the name in checkpoints of version 0.1
    found["blas"] = re.sub(r", \d+ threads", "", found["blas"])  # matrix products here use one thread
    return found
