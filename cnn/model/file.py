"""A model as one file: its weights and, as JSON, everything that is needed to build it again and to predict with it.

The description names the library's public classes and their constructor arguments. Reading it looks the names up in a
fixed list and checks the arguments; nothing in a file is ever evaluated, so an untrusted file cannot run code.
"""

import inspect
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import cnn.layers
import cnn.loss
from cnn import init
from cnn.containers.branches import Concat, Product, Residual, Sum
from cnn.containers.graph import Graph
from cnn.containers.joins import Add, Concatenate, Multiply
from cnn.core.files import read_model_tensors, to_json, write_tensors
from cnn.core.loading import LOAD_SOME
from cnn.core.text import printable, printable_lines, short_text
from cnn.model.extras import EXTRAS, check_extras, repeated_name
from cnn.module import Array, Differentiable

FORMAT = 1
LIMITS = {"output_size": 2**10, "kernel_size": 2**12, "padding": 2**12, "scale_factor": 2**12}  # of arguments
LIMIT = 2**26  # of all other integers

Classes = Iterable[type]


def known_classes(container: type, classes: Classes) -> dict[str, type]:
    """Return the classes that a file may name: the library's public ones, and those that the caller adds."""
    built_in = [getattr(package, name) for package in (cnn.layers, cnn.loss) for name in package.__all__]
    built_in += [Sum, Concat, Product, Residual, Graph, Add, Concatenate, Multiply, container]
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


def check_arguments(description: Any, name: str = "") -> None:
    """Raise an error if an integer is so large that a layer could work or allocate without end."""
    if isinstance(description, dict):
        for key, value in description.items():
            check_arguments(value, str(key))
    elif isinstance(description, list):
        for value in description:
            check_arguments(value, name)
    elif isinstance(description, int) and abs(description) > LIMITS.get(name, LIMIT):
        raise ValueError(f"{printable(name)} must be at most {LIMITS.get(name, LIMIT)}, got {short_text(description)}")


def build(description: Any, classes: dict[str, type]) -> Any:
    """Build the object again from the output of `describe`."""
    if isinstance(description, list):
        return [build(item, classes) for item in description]
    if not isinstance(description, dict):
        return description
    name, arguments = description.get("class"), description.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"a layer must have a class and its arguments, got {short_text(description)}")
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
    """Write the model's architecture, weights and extras.

    Raises
    ------
    ValueError
        If it has something that a file cannot hold, or extras that do not fit the model; nothing is written then.
    """
    architecture = describe(model, known_classes(type(model), classes))
    check_arguments(architecture)
    extras = {name: getattr(model, name) for name in EXTRAS}
    check_extras({name: as_read(value) for name, value in extras.items()}, model)  # otherwise it could not be read
    repeated = repeated_name(as_read(extras["class_names"]))
    if repeated:
        raise ValueError(repeated)
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
            if type(tensors[name]) is not type(tensors[first]):
                raise ValueError(f"{name} and {first} cannot be one array: only one of them is trained")
            path, _, attribute = name.rpartition(".")
            setattr(modules[path], attribute, tensors[first])


def read(path: str | Path, container: type, classes: Classes) -> Any:
    """Return the model that a file describes.

    Raises
    ------
    ValueError
        If the file is damaged, holds only weights, or describes a model that cannot be built.
    """
    tensors, description = read_model_tensors(path)
    name = printable(path)
    if not isinstance(description, dict) or "architecture" not in description:
        raise ValueError(
            f"{name} holds weights but no architecture: build the model, then model.load_weights({str(path)!r})"
        )
    if description.get("format") != FORMAT:
        version = short_text(description.get("format"))
        raise ValueError(f"{name} has format {version}, but this version reads {FORMAT}: update the library")
    try:
        missing = [key for key in ("shared", *EXTRAS) if key not in description]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        check_arguments(description["architecture"])
        with init.limit_total_size(10_000 + 2 * sum(array.size for array in tensors.values())):
            model = build(description["architecture"], known_classes(container, classes))
        if not isinstance(model, container):
            raise ValueError(f"its architecture is not a {container.__name__}")
        load(model, tensors)
        share_tensors(model, description["shared"])
        check_extras(description, model)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RecursionError) as error:
        problem = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        problem = problem.partition(f"\n  {LOAD_SOME}")[0]  # there is no model yet to load them into
        raise ValueError(f"{name} cannot be read as a model: {printable_lines(problem)}") from None
    repeated = repeated_name(description["class_names"])
    if repeated:  # files of the first versions may have such names
        warnings.warn(f"{name}: {printable(repeated)}; set model.class_names before save", stacklevel=3)
    for key in EXTRAS:
        value = description[key]
        setattr(model, key, tuple(value) if key == "input_shape" and value is not None else value)
    return model


def as_read(value: Any) -> Any:
    """Return a value as it will be read again: lists instead of tuples and arrays, Python's numbers."""
    return json.loads(json.dumps(value, default=to_json))


def load(model: Any, tensors: dict[str, Array]) -> None:
    """Copy the weights into the model, in the dtype in which they were saved."""
    if any(array.dtype == np.float64 for array in tensors.values()):
        model.to(np.float64)
    model.load_state_dict(tensors)
