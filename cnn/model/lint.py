"""Warnings about probable mistakes in a net that runs, given before it has trained for an hour."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from cnn import kernels
from cnn.containers.container import Container
from cnn.core import modes
from cnn.errors import InputError
from cnn.layers import (
    CELU,
    ELU,
    GELU,
    SELU,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Dropout2d,
    Flatten,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from cnn.loss import CrossEntropyLoss, LossFunc, NLLLoss
from cnn.model.outputs import Shapes, recording, shapes
from cnn.module import Array, Module

ACTIVATIONS = (
    *(CELU, ELU, GELU, SELU, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU),
    *(Mish, PReLU, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh),
)
PROBABILITY_LAYERS = (LogSoftmax, Softmax)
PASS_THROUGH = (Dropout, Dropout2d, Flatten, Identity)  # two linear layers with only these between them amount to one

LayerSequence = list[tuple[str, Module]]


class ModelWarning(UserWarning):
    """A net that runs, but is almost certainly not what was intended."""


def first_run(model: Any, x: Array, to_logits: bool) -> Array:
    """Run a Sequential for the first time, and warn about mistakes in it."""
    mark_as_built(model)
    only_built_in = all(type(module).__module__.startswith("cnn.") for module in model.modules())
    # layers that will run fused later are also fused here, so that the first call gives the same bits
    if only_built_in and model.fuse and modes.state.forward_hook is None and kernels.active() != "reference":
        y = model.run_layers(x, to_logits)
        with contextlib.suppress(InputError):
            warn(model, shapes(model, x.shape[1:]), model.loss_func)
        return y
    with recording(model) as outputs:
        y = model.run_layers(x, to_logits)
    warn(model, outputs, model.loss_func)
    return y


def mark_as_built(model: Module) -> None:
    """Mark every Sequential in the model as checked, so that none looks for mistakes again."""
    for module in model.modules():
        if hasattr(module, "_was_built"):
            module._was_built = True


def layer_sequences(model: Module, prefix: str = "") -> Iterator[LayerSequence]:
    """Yield the layers of a Sequential, with nested ones flattened into it; then the sequences inside its branches."""
    sequence = _flattened(model, prefix)
    yield sequence
    for path, layer in sequence:
        for name, child in layer.children().items():
            yield from layer_sequences(child, f"{path}.{name}")


def _flattened(module: Module, path: str) -> LayerSequence:
    if not (isinstance(module, Container) and hasattr(module, "layers")):
        return [(path, module)]
    return [
        pair for name, layer in module.children().items() for pair in _flattened(layer, f"{path}.{name}".strip("."))
    ]


def warn(model: Module, outputs: Shapes, loss_func: LossFunc | None) -> None:
    """Issue a `ModelWarning` for each mistake; ``outputs`` are the shapes that `shapes` found."""
    for i, sequence in enumerate(layer_sequences(model)):
        previous = [name for name, _ in sequence[:-1]]
        axes = {
            name: len(outputs[last]) + 1
            for (name, _), last in zip(sequence[1:], previous, strict=True)
            if last in outputs
        }
        for message in problems(sequence, axes, loss_func if i == 0 else None):
            warnings.warn(message, ModelWarning, stacklevel=_stacklevel())


def _stacklevel() -> int:
    """Return the stacklevel with which a warning points at the line of the user's program that caused it."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "cnn":
        frame, level = frame.f_back, level + 1
    return level


def problems(sequence: LayerSequence, axes: dict[str, int], loss_func: LossFunc | None) -> Iterator[str]:
    """Yield a message for each mistake, with the number of the layer and what to change.

    Parameters
    ----------
    sequence : list of (name, module)
        The layers, in the order in which they run.
    axes : dict of str to int
        The number of axes of each layer's input, by the layer's name, where it is known.
    loss_func : LossFunc or None
        The loss that reads the output, if any.
    """
    effective = [(name, layer) for name, layer in sequence if not isinstance(layer, PASS_THROUGH)]
    for (name, layer), (next_name, following) in pairwise(effective):
        # A narrow layer between two wide ones is a restriction (a product of low rank) that may be intended.
        if isinstance(layer, Linear) and isinstance(following, Linear) and not _narrows(layer, following):
            yield (
                f"layers {name} and {next_name} are Linear with nothing between them, which compute no more than one "
                "Linear: put ReLU() between them or remove one"
            )
    for (name, layer), (next_name, following) in pairwise(sequence):
        biased = isinstance(layer, (Conv2d, ConvTranspose2d, Linear)) and layer.bias is not None
        if isinstance(layer, Linear) and axes.get(name, 2) > 2:
            continue  # its bias is along the last axis, but the norm subtracts the mean of each channel (axis 1)
        if biased and isinstance(following, (BatchNorm1d, BatchNorm2d)):
            yield (
                f"layer {name}, {type(layer).__name__}, has a bias, which layer {next_name}, "
                f"{type(following).__name__}, removes together with the mean: set bias=False"
            )
    only_built_in = True  # a custom layer may have moved the channels to the last axis
    for name, layer in sequence:
        only_built_in = only_built_in and type(layer).__module__.startswith("cnn.")
        if only_built_in and isinstance(layer, Linear) and axes.get(name) == 4:
            yield (
                f"layer {name}, {layer!r}, reads images (N, C, H, W) but works only on their last axis: put "
                "Flatten() before it"
            )
    for (name, layer), (next_name, following) in pairwise(effective):
        if isinstance(layer, PROBABILITY_LAYERS) and isinstance(following, PROBABILITY_LAYERS):
            yield (
                f"layers {name} and {next_name} are {type(layer).__name__} and {type(following).__name__}, which makes "
                "all classes nearly equally probable: remove one"
            )
    yield from _activation_before_loss(effective, loss_func)


def _narrows(first: Linear, second: Linear) -> bool:
    return first.out_features < min(first.in_features, second.out_features)


def _activation_before_loss(sequence: LayerSequence, loss_func: LossFunc | None) -> Iterator[str]:
    """Yield a message if an activation before a classification loss cuts off or squeezes the scores."""
    if not isinstance(loss_func, (CrossEntropyLoss, NLLLoss)):
        return
    scoring = [(name, layer) for name, layer in sequence if not isinstance(layer, PROBABILITY_LAYERS)]
    if scoring and isinstance(scoring[-1][1], ACTIVATIONS):
        name, layer = scoring[-1]
        yield (
            f"layer {name}, {type(layer).__name__}, changes the scores before {type(loss_func).__name__} reads them, "
            "so that it cannot predict some probabilities: remove it"
        )
