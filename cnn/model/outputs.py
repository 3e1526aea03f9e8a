"""The outputs of every layer of a model: their shapes, found without computing, and their values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.errors import InputError
from cnn.module import Array, Module, evaluating, forward_hook
from cnn.training.inputs import as_samples

Shapes = dict[str, tuple[int, ...]]


@contextmanager
def recording(model: Module) -> Iterator[Shapes]:
    """Collect the shape of every module's output for one sample, by its name, while the model runs inside."""
    names = {id(module): name for name, module in model.named_modules()}
    found: Shapes = {}

    def look(module: Module, y: Array) -> None:
        if id(module) in names and isinstance(y, np.ndarray):  # else an error is on its way
            found[names[id(module)]] = y.shape[1:]

    with forward_hook(look):
        yield found


def shapes(model: Module, input_shape: tuple[int, ...]) -> Shapes:
    """Return the shape of every module's output for one sample, by its name, without computing: a batch of none runs.

    Raises
    ------
    InputError
        If a layer cannot work with what it is given; it tells the layer and the number to change.
    """
    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    try:
        return _run(model, np.zeros((0, *input_shape), dtype))
    except Exception:  # a wrong shape, or a layer that cannot work with none, such as one that takes a maximum
        pass
    try:
        with np.errstate(all="ignore"):
            return _run(model, np.zeros((2, *input_shape), dtype))
    except InputError as error:
        raise type(error)(error.problem.replace("got (2, ", "got (N, "), error.path, error.layer) from None


def _run(model: Module, x: Array) -> Shapes:
    with recording(model) as found, evaluating():
        model(x)
    return found


def activations(model: Module, x: Any) -> dict[str, Array]:
    """Return the output of every layer, inner ones included, by its dotted name, in evaluation mode."""
    names = {id(module): name for name, module in model.named_modules()}
    outputs: dict[str, Array] = {}

    def look(module: Module, y: Array) -> None:
        if module is not model and id(module) in names:
            outputs[names[id(module)]] = y

    with evaluating(), forward_hook(look):
        model.forward(as_samples(x, model))
    return outputs


def sample_shape(shape: Any) -> tuple[int, ...]:
    """Return the shape of one sample as a tuple, or raise an error that names the fix."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"input_shape is the shape of one sample, such as (1, 28, 28), got {shape!r}")
    return tuple(integer(n, "each size in input_shape", 1) for n in shape)
