"""What a model file holds besides layers and weights: class names, the shape of an input, preprocessing."""

import math
from typing import Any

import numpy as np

from cnn.core.modes import evaluating, forward_hook
from cnn.core.text import short_text
from cnn.errors import InputError
from cnn.layers.batchnorm import BatchNorm

EXTRAS = ("class_names", "input_shape", "preprocessing")  # attributes of a model that are saved with it
LARGEST_NUMBER = float(np.finfo(np.float32).max)
LARGEST_SAMPLE = 2**28  # numbers in the input of a model, or in the output of a layer, for one sample: 1 GiB


def check_extras(extras: dict[str, Any], model: Any) -> None:
    """Raise an error unless every extra is of the right form and fits the model.

    Raises
    ------
    ValueError
        It names the extra, what was expected and what it is.
    """
    check_class_names(extras["class_names"])
    check_input_shape(extras["input_shape"])
    shape = extras["input_shape"]
    check_preprocessing(extras["preprocessing"], shape[0] if shape is not None and len(shape) == 3 else None)
    check_number_of_names(extras["class_names"], None if shape is None else number_of_outputs(model, tuple(shape)))


def check_number_of_names(names: list[str] | None, outputs: int | None) -> None:
    """Raise an error unless there is a class name for each output, or two names for one output of yes or no."""
    if names is None or outputs is None or len(names) == outputs or (outputs == 1 and len(names) == 2):
        return
    raise ValueError(f"class_names must have {outputs} names, one for each output of the model, got {len(names)}")


def check_class_names(names: Any) -> None:
    """Raise an error unless this is None or a list of strings."""
    if names is None:
        return
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ValueError(f"class_names must be a list of strings, got {short_text(names)}")


def repeated_name(names: Any) -> str:
    """Say which class name is there twice; "" if none is."""
    double = next((name for name in names or [] if names.count(name) > 1), None)
    if double is None:
        return ""
    return f"class_names must be different from each other, but {short_text(double)} is there twice"


def check_input_shape(shape: Any) -> None:
    """Raise an error unless this is None or the sizes of one sample."""
    if shape is None:
        return
    sizes = shape if isinstance(shape, (list, tuple)) else [None]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise ValueError(f"input_shape must be a list of positive integers, got {short_text(shape)}")
    if math.prod(sizes) > LARGEST_SAMPLE or len(sizes) > 32:
        raise ValueError(f"input_shape must have at most 2**28 numbers and 32 axes, got {short_text(shape)}")


def check_preprocessing(settings: Any, channels: int | None) -> None:
    """Raise an error unless this is None or a dict whose scale, mean and std are numbers that `preprocess` can use."""
    if settings is None:
        return
    if not isinstance(settings, dict):
        raise ValueError(f"preprocessing must be a dict with scale, mean and std, got {short_text(settings)}")
    scale = settings.get("scale", 1.0)
    if not is_number(scale):
        raise ValueError(f"the scale of preprocessing must be a finite number, got {short_text(scale)}")
    for name in ("mean", "std"):
        value = settings.get(name, 1.0)
        numbers = flat(value)
        if not (numbers and all(is_number(n) and (name == "mean" or np.float32(n) != 0) for n in numbers)):
            kind = "finite numbers" if name == "mean" else "finite numbers other than 0"
            raise ValueError(f"the {name} of preprocessing must be {kind}, got {short_text(value)}")
        if channels is not None and len(numbers) not in (1, channels):
            raise ValueError(
                f"the {name} of preprocessing must be one number, or {channels}, one for each channel of input_shape, "
                f"got {len(numbers)}"
            )


def is_number(value: Any) -> bool:
    """Return whether this is a number that float32 can hold."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and -LARGEST_NUMBER < value < LARGEST_NUMBER


def flat(value: Any) -> list[Any]:
    """Return the items of a list in one list, [value] for one number, and [] if lists inside differ in length.

    Lists in lists come from an array such as the mean of shape (3, 1, 1).
    """
    if not isinstance(value, list):
        return [value]
    if all(isinstance(item, list) and len(item) == len(value[0]) for item in value):
        return [leaf for item in value for leaf in flat(item)]
    return [] if any(isinstance(item, list) for item in value) else value


def number_of_outputs(model: Any, input_shape: tuple[int, ...]) -> int | None:
    """Return how many classes or values the model gives for a sample, as an empty batch shows; None if it is unknown.

    Raises
    ------
    ValueError
        If a layer cannot work with its input, or gives more numbers for a sample than `LARGEST_SAMPLE`.
    """
    modules = {id(module): name for name, module in model.named_modules()}

    def check_size(module: Any, y: Any) -> None:
        if math.prod(y.shape[1:]) > LARGEST_SAMPLE:
            name = modules.get(id(module), "")
            raise InputError(f"the output of {name} {module!r} for one sample, {y.shape[1:]}, has over 2**28 numbers")

    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    try:
        with evaluating(), forward_hook(check_size):
            outputs = model.run_layers(np.zeros((0, *input_shape), dtype))
        return outputs.shape[1] if outputs.ndim > 1 else None
    except Exception as error:
        if all(takes_an_empty_batch(module) for module in model.modules()):
            raise ValueError(f"its layers cannot work with inputs of its input_shape {input_shape}: {error}") from None
        return None


def takes_an_empty_batch(module: Any) -> bool:
    """Return whether a layer of the library works without samples; of a class of the user's that is not known."""
    takes_statistics = isinstance(module, BatchNorm) and not module.track_running_stats
    return type(module).__module__.startswith("cnn.") and not takes_statistics
