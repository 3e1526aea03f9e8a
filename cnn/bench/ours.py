"""The work of each case with this library, as a program that runs a given number of times."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.bench.cases import INFERENCE, SEED, TRAIN, Case
from cnn.core.rng import manual_seed
from cnn.layers import Dropout
from cnn.loss import CrossEntropyLoss
from cnn.module import Array, Module, no_grad
from cnn.optim import Adam
from cnn.sequential import Sequential

OURS = "cnn"


@dataclass(frozen=True)
class Program:
    """The work of a case in one library and memory format.

    Attributes
    ----------
    name : str
        OURS, or PyTorch's memory format.
    run : callable
        ``run(count)`` does the work ``count`` times.
    probe : callable
        Returns results by name, arrays or numbers, that must be the same for all programs of a case.
    """

    name: str
    run: Callable[[int], object]
    probe: Callable[[], dict[str, Any]]


def program(case: Case, model: Module, x: Array, y: Array) -> Program:
    """Return the program of a case for a model and a batch."""
    if case.kind == TRAIN:
        return _training(model, x, y)
    return _inference(model, x) if case.kind == INFERENCE else _layer(model, x)


def _training(model: Any, x: Array, y: Array) -> Program:
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()

    def run(count: int) -> None:
        for _ in range(count):
            model.train_step(x, y)

    def probe() -> dict[str, Any]:
        with without_dropout(model, Dropout):
            return {f"loss of step {i}": model.train_step(x, y) for i in (1, 2)}

    return Program(OURS, run, probe)


def _inference(model: Module, x: Array) -> Program:
    model.eval()

    def run(count: int) -> None:
        with no_grad():
            for _ in range(count):
                model(x)

    def probe() -> dict[str, Any]:
        with no_grad():
            return {"output": model(x)}

    return Program(OURS, run, probe)


def _layer(layer: Module, x: Array) -> Program:
    x = _channels_last(x)
    parameters = layer.parameters()
    grad = output_grad(layer, x)

    def run(count: int) -> None:
        for _ in range(count):
            layer(x)
            layer.backward(grad)
            for p in parameters:
                p.grad = None

    def probe() -> dict[str, Any]:
        y, input_grad = layer(x), layer.backward(grad)
        found = {f"gradient of {name}": p.grad for name, p in layer.named_parameters()}
        layer.zero_grad()
        return {"output": y, "gradient of the input": input_grad, **found}

    return Program(OURS, run, probe)


def _channels_last(x: Array) -> Array:
    """Give images the memory layout that the previous layer would. (PyTorch is measured in both of its formats.)"""
    if x.ndim != 4:
        return x
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def output_grad(layer: Module, x: Array) -> Array:
    """Return random numbers with the memory layout of the layer's output."""
    with no_grad():
        grad = np.empty_like(layer(x))
    grad[...] = np.random.default_rng(SEED + 1).standard_normal(grad.shape, np.float32)
    return grad


@contextmanager
def without_dropout(model: Any, dropout: Any) -> Iterator[None]:
    """Switch dropout off, because its masks would differ between programs."""
    before = [(module, module.p) for module in model.modules() if isinstance(module, dropout)]
    for module, _ in before:
        module.p = 0.0
    try:
        yield
    finally:
        for module, p in before:
            module.p = p


def new_model(case: Case) -> Module:
    """Return a new model of a case in training mode, with the same initial weights each time."""
    manual_seed(SEED)
    model = case.make()
    if isinstance(model, Sequential):
        model.build(case.shape)
    return model
