"""The outputs of every layer of a model: their values, and their shapes, found without data."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.modes import without_warnings
from cnn.errors import InputError
from cnn.module import Array, Module, evaluating, forward_hook
from cnn.training.inputs import as_samples

Shapes = dict[str, tuple[int, ...]]


@contextmanager
def recording(model: Module) -> Iterator[Shapes]:
    """Collect the shape of every module's output for one sample, by its name, while the model runs in the context."""
    names = {id(module): name for name, module in model.named_modules()}
    output_shapes: Shapes = {}

    def record(module: Module, y: Array) -> None:
        if id(module) in names and isinstance(y, np.ndarray):  # otherwise check_output raises an error
            output_shapes[names[id(module)]] = y.shape[1:]

    with forward_hook(record):
        yield output_shapes


def shapes(model: Module, input_shape: tuple[int, ...]) -> Shapes:
    """Return the shape of every module's output for one sample, by its name, from a run with an empty batch.

    Raises
    ------
    InputError
        If a layer cannot work with its input; the message names the layer and the number to change.
    """
    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    try:
        return _run(model, np.zeros((0, *input_shape), dtype))
    except Exception:  # a wrong shape, or a layer that needs samples, such as one that takes a maximum
        pass
    try:
        return without_warnings(_run)(model, np.zeros((2, *input_shape), dtype))
    except InputError as error:
        raise type(error)(error.problem.replace("got (2, ", "got (N, "), error.path, error.layer) from None


def _run(model: Module, x: Array) -> Shapes:
    with recording(model) as output_shapes, evaluating():
        model(x)
    return output_shapes


def activations(model: Module, x: Any) -> dict[str, Array]:
    """Return the output of every layer, inner ones included, by its dotted name, in evaluation mode."""
    names = {id(module): name for name, module in model.named_modules()}
    outputs: dict[str, Array] = {}

    def record(module: Module, y: Array) -> None:
        if module is not model and id(module) in names:
            outputs[names[id(module)]] = y

    with evaluating(), forward_hook(record):
        model.forward(as_samples(x, model))
    return outputs


def sample_shape(shape: Any) -> tuple[int, ...]:
    """Return the shape of one sample as a tuple, or raise an error that names the fix."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"input_shape is the shape of one sample, such as (1, 28, 28), got {shape!r}")
    return tuple(integer(n, "each size in input_shape", 1) for n in shape)
