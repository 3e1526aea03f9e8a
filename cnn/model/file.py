"""A model as one file: its weights and, as JSON, everything that is needed to build it again and to predict with it.

The description names the library's public classes and their constructor arguments. Reading it looks the names up in a
fixed list and checks the arguments; nothing in a file is ever evaluated, so an untrusted file cannot run code.
"""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import cnn.containers.branches
import cnn.layers
import cnn.loss
from cnn import init
from cnn.core.files import read_tensors, write_tensors
from cnn.module import Array, Differentiable

FORMAT = 1
EXTRAS = ("class_names", "input_shape", "preprocessing")  # attributes of a model that are saved with it

Classes = Iterable[type]


def known_classes(container: type, classes: Classes) -> dict[str, type]:
    """Return the classes that a file may name: the library's public ones, and those that the caller adds."""
    built_in = [getattr(package, name) for package in (cnn.layers, cnn.loss) for name in package.__all__]
    built_in += [
        cnn.containers.branches.Sum,
        cnn.containers.branches.Concat,
        cnn.containers.branches.Residual,
        container,
    ]
    return {cls.__name__: cls for cls in [*built_in, *classes]}


def describe(part: Any, classes: dict[str, type]) -> Any:
    """Turn a layer, a loss or a constructor argument into a value that JSON can hold."""
    if isinstance(part, Differentiable):
        name = type(part).__name__
        if classes.get(name) is not type(part):
            raise ValueError(
                f"{name} is a class of your own, which a model file cannot hold: save only the weights with "
                f"save_weights(path) and read them with load_weights(path), or pass classes=[{name}] to save and load"
            )
        return {"class": name, "arguments": {key: describe(value, classes) for key, value in part.arguments().items()}}
    if isinstance(part, (list, tuple)):
        return [describe(item, classes) for item in part]
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    raise ValueError(
        f"a model file cannot hold the constructor argument {part!r}: use only numbers, strings, lists and layers"
    )


def build(description: Any, classes: dict[str, type]) -> Any:
    """Build the object again from the output of `describe`."""
    if isinstance(description, list):
        return [build(item, classes) for item in description]
    if not isinstance(description, dict):
        return description
    name, arguments = description["class"], description["arguments"]
    if name not in classes:
        raise ValueError(
            f"it contains a layer {name!r}, which this library does not have: pass classes=[{name}] to load"
        )
    accepted = inspect.signature(classes[name]).parameters
    unknown = [key for key in arguments if key not in accepted or key == "rng"]
    if unknown:
        raise ValueError(f"{name} takes no argument {', '.join(map(repr, unknown))}")
    return classes[name](**{key: build(value, classes) for key, value in arguments.items()})


def write(path: str | Path, model: Any, classes: Classes) -> None:
    """Write the model's architecture, weights and extras."""
    architecture = describe(model, known_classes(type(model), classes))
    extras = {name: getattr(model, name) for name in EXTRAS}
    description = {"format": FORMAT, "architecture": architecture, "shared": shared_names(model), **extras}
    write_tensors(path, model.state_dict(), description)


def shared_names(model: Any) -> list[list[str]]:
    """Return, for each array that several layers share, all of its names."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_tensors():
        names.setdefault(id(tensor), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def share_tensors(model: Any, groups: list[list[str]]) -> None:
    """Make all names of a group refer to one array again."""
    tensors, modules = dict(model.named_tensors()), dict(model.named_modules())
    for first, *others in groups:
        for name in others:
            if tensors[name].shape != tensors[first].shape:
                raise ValueError(f"{name} and {first} cannot be one array: their shapes differ")
            path, _, attribute = name.rpartition(".")
            setattr(modules[path], attribute, tensors[first])


def read(path: str | Path, container: type, classes: Classes) -> Any:
    """Return the model that a file describes.

    Raises
    ------
    ValueError
        If the file is damaged, holds only weights, or describes a model that cannot be built.
    """
    tensors, description = read_tensors(path)
    if not isinstance(description, dict) or "architecture" not in description:
        raise ValueError(
            f"{path} holds weights but no architecture: build the model, then model.load_weights({str(path)!r})"
        )
    if description.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {description.get('format')!r}, but this version reads {FORMAT}: update the library"
        )
    try:
        with init.limit_total_size(10_000 + 2 * sum(array.size for array in tensors.values())):
            model = build(description["architecture"], known_classes(container, classes))
        if not isinstance(model, container):
            raise ValueError(f"its architecture is not a {container.__name__}")
        load(model, tensors)
        share_tensors(model, description["shared"])
        check_extras(description)
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a model: {error}") from None
    for name in EXTRAS:
        value = description[name]
        setattr(model, name, tuple(value) if name == "input_shape" and value is not None else value)
    return model


def check_extras(description: dict[str, Any]) -> None:
    """Raise an error unless class names, input shape and preprocessing are present and of the right types."""
    names, shape, settings = (description[key] for key in EXTRAS)
    if not (names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))):
        raise ValueError(f"class_names must be a list of strings, got {names!r}")
    if not (shape is None or (isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape))):
        raise ValueError(f"input_shape must be a list of positive integers, got {shape!r}")
    if settings is not None:
        if not isinstance(settings, dict):
            raise ValueError(f"preprocessing must be a dict, got {settings!r}")
        numbers = [settings.get(key, 1) for key in ("scale", "mean", "std")]
        flat = [n for value in numbers for n in (value if isinstance(value, list) else [value])]
        if not all(isinstance(n, (int, float)) for n in flat):
            raise ValueError(f"preprocessing must be numbers named scale, mean and std, got {settings!r}")


def load(model: Any, tensors: dict[str, Array]) -> None:
    """Copy the weights into the model, in the dtype in which they were saved."""
    if any(array.dtype == np.float64 for array in tensors.values()):
        model.to(np.float64)
    model.load_state_dict(tensors)
