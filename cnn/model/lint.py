"""What is almost surely a mistake in a net that runs, found before it has trained for an hour."""

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
    *(CELU, ELU, GELU, SELU, Hardsigmoid, Hardswish, LeakyReLU, Mish),
    *(PReLU, ReLU, Sigmoid, SiLU, Softplus, Softsign, Tanh),
)
PROBABILITIES = (LogSoftmax, Softmax)
PASSING = (Dropout, Dropout2d, Flatten, Identity)  # two linear layers with one of these between are still one

Row = list[tuple[str, Module]]


class ModelWarning(UserWarning):
    """A net that runs, and is almost surely not what was meant."""


def first_run(model: Any, x: Array, to_logits: bool) -> Array:
    """Run a Sequential for the first time, and warn of mistakes in it."""
    mark_as_built(model)
    ours = all(type(module).__module__.startswith("cnn.") for module in model.modules())
    # layers that will run fused are fused here, too: the first call gives the same bits
    if ours and model.fuse and modes.state.forward_hook is None and kernels.active() != "reference":
        y = model.run_layers(x, to_logits)
        with contextlib.suppress(InputError):
            warn(model, shapes(model, x.shape[1:]), model.loss_func)
        return y
    with recording(model) as outputs:
        y = model.run_layers(x, to_logits)
    warn(model, outputs, model.loss_func)
    return y


def mark_as_built(model: Module) -> None:
    """Let no Sequential in the model look for mistakes again."""
    for module in model.modules():
        if hasattr(module, "_was_built"):
            module._was_built = True


def rows(model: Module, prefix: str = "") -> Iterator[Row]:
    """Yield the layers of a Sequential and of those in it, one after the other; then the rows inside its branches."""
    row = _in_a_row(model, prefix)
    yield row
    for path, layer in row:
        for name, child in layer.children().items():
            yield from rows(child, f"{path}.{name}")


def _in_a_row(module: Module, path: str) -> Row:
    if not (isinstance(module, Container) and hasattr(module, "layers")):
        return [(path, module)]
    return [pair for name, layer in module.children().items() for pair in _in_a_row(layer, f"{path}.{name}".strip("."))]


def warn(model: Module, outputs: Shapes, loss_func: LossFunc | None) -> None:
    """Give a `ModelWarning` for each mistake; ``outputs`` are the shapes that `shapes` found."""
    for i, row in enumerate(rows(model)):
        before = [name for name, _ in row[:-1]]
        axes = {
            name: len(outputs[last]) + 1 for (name, _), last in zip(row[1:], before, strict=True) if last in outputs
        }
        for sentence in mistakes(row, axes, loss_func if i == 0 else None):
            warnings.warn(sentence, ModelWarning, stacklevel=_frames_in_this_package())


def _frames_in_this_package() -> int:
    """Return the stacklevel with which a warning points at the line of the user's program that led to it."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "cnn":
        frame, level = frame.f_back, level + 1
    return level


def mistakes(row: Row, axes: dict[str, int], loss_func: LossFunc | None) -> Iterator[str]:
    """Yield a sentence for each mistake, with the number of the layer and what to change.

    Parameters
    ----------
    row : list of (name, module)
        The layers, one after the other.
    axes : dict of str to int
        How many axes each layer's input has, by its name, where that is known.
    loss_func : LossFunc or None
        What reads the output.
    """
    passed = [(name, layer) for name, layer in row if not isinstance(layer, PASSING)]
    for (name, layer), (next_name, following) in pairwise(passed):
        # A narrow layer between two wide ones is a restriction (a product of low rank) that may be meant.
        if isinstance(layer, Linear) and isinstance(following, Linear) and not _narrows(layer, following):
            yield (
                f"layers {name} and {next_name} are Linear with nothing between them, which can do no more than one "
                "Linear: put ReLU() between them or remove one"
            )
    for (name, layer), (next_name, following) in pairwise(row):
        biased = isinstance(layer, (Conv2d, ConvTranspose2d, Linear)) and layer.bias is not None
        if isinstance(layer, Linear) and axes.get(name, 2) > 2:
            continue  # its bias lies along the last axis, and the norm takes the mean of each channel
        if biased and isinstance(following, (BatchNorm1d, BatchNorm2d)):
            yield (
                f"layer {name}, {type(layer).__name__}, has a bias that layer {next_name}, "
                f"{type(following).__name__}, takes away again with the mean: set bias=False"
            )
    ours = True
    for name, layer in row:
        ours = ours and type(layer).__module__.startswith("cnn.")  # a layer of the user's may have put channels last
        if ours and isinstance(layer, Linear) and axes.get(name) == 4:
            yield (
                f"layer {name}, {layer!r}, reads images (N, C, H, W) and works on the last axis of them alone: put "
                "Flatten() before it"
            )
    for (name, layer), (next_name, following) in pairwise(passed):
        if isinstance(layer, PROBABILITIES) and isinstance(following, PROBABILITIES):
            yield (
                f"layers {name} and {next_name} are {type(layer).__name__} and {type(following).__name__}, which makes "
                "all classes nearly equally probable: remove one"
            )
    yield from _before_the_loss(passed, loss_func)


def _narrows(first: Linear, second: Linear) -> bool:
    return first.out_features < min(first.in_features, second.out_features)


def _before_the_loss(row: Row, loss_func: LossFunc | None) -> Iterator[str]:
    """An activation between the last weights and a loss over classes cuts off or squeezes the scores."""
    if not isinstance(loss_func, (CrossEntropyLoss, NLLLoss)):
        return
    ends = [(name, layer) for name, layer in row if not isinstance(layer, PROBABILITIES)]
    if ends and isinstance(ends[-1][1], ACTIVATIONS):
        name, layer = ends[-1]
        yield (
            f"layer {name}, {type(layer).__name__}, changes the scores before {type(loss_func).__name__} reads them, "
            "which keeps some probabilities out of reach: remove it"
        )
