"""The work of each case with PyTorch: the same architecture with the same weights, in each memory format."""

import functools
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn.bench.cases import INFERENCE, TRAIN, Case
from cnn.bench.ours import Program, output_grad, without_dropout
from cnn.containers.branches import Concat, Residual, Sum
from cnn.layers import Softmax
from cnn.module import Array, Module
from cnn.sequential import Sequential

try:
    import torch
except ImportError:  # then run.py measures without PyTorch
    torch = None  # type: ignore[assignment]

CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"
FORMATS = (CONTIGUOUS, CHANNELS_LAST)


def installed() -> bool:
    """Return whether PyTorch is installed."""
    return torch is not None


def version() -> str:
    """Return the version of PyTorch."""
    return str(torch.__version__)


def formats(case: Case) -> tuple[str, ...]:
    """Return the memory formats of a case: two for images, else one."""
    return FORMATS if len(case.shape) == 3 else (CONTIGUOUS,)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of threads that PyTorch uses."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensor(array: Array, memory_format: str = CONTIGUOUS) -> Any:
    """Return an array as a tensor; images get the memory format."""
    converted = torch.from_numpy(np.ascontiguousarray(array))
    return converted.contiguous(memory_format=_format(memory_format)) if array.ndim == 4 else converted


def program(
    case: Case, ours: Module, x: Any, y: Any, memory_format: str = CONTIGUOUS, compiled: bool = False
) -> Program:
    """Return the program of a case for the PyTorch counterpart of our model, with tensors of a memory format.

    ``compiled`` is for training: forward and backward are compiled by ``torch.compile``.
    """
    model = counterpart(ours, without_softmax=case.kind == TRAIN)
    model.load_state_dict({name: tensor(array) for name, array in ours.state_dict().items()})
    model.to(memory_format=_format(memory_format))
    if case.kind == TRAIN:
        return _training(model, x, y, memory_format, compiled)
    if case.kind == INFERENCE:
        return _inference(model, x, memory_format)
    return _layer(model, x, tensor(output_grad(ours, case.data()[0]), memory_format), memory_format)


def _training(model: Any, x: Any, y: Any, memory_format: str, compiled: bool) -> Program:
    loss_func, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())
    forward = torch.compile(model) if compiled else model

    def step() -> Any:
        loss = loss_func(forward(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def run(count: int) -> None:
        for _ in range(count):
            step()

    def probe() -> dict[str, Any]:
        with without_dropout(model, torch.nn.Dropout):
            return {f"loss of step {i}": step().item() for i in (1, 2)}

    return Program(memory_format, run, probe)


def _inference(model: Any, x: Any, memory_format: str) -> Program:
    model.eval()

    def run(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                model(x)

    def probe() -> dict[str, Any]:
        with torch.inference_mode():
            return {"output": model(x).numpy()}

    return Program(memory_format, run, probe)


def _layer(layer: Any, x: Any, grad: Any, memory_format: str) -> Program:
    x = x.clone().requires_grad_()
    names, parameters = zip(("the input", x), *layer.named_parameters(), strict=True)

    def gradients() -> Any:
        y = layer(x)
        return y, torch.autograd.grad(y, parameters, grad)

    def run(count: int) -> None:
        for _ in range(count):
            gradients()

    def probe() -> dict[str, Any]:
        y, found = gradients()
        pairs = zip(names, found, strict=True)
        return {"output": y.detach().numpy()} | {f"gradient of {name}": array.numpy() for name, array in pairs}

    return Program(memory_format, run, probe)


def counterpart(module: Module, without_softmax: bool = False) -> Any:
    """Build the same architecture in PyTorch from the constructor arguments; its state_dict has the same names.

    Parameters
    ----------
    module : Module
        The model or layer of this library.
    without_softmax : bool
        Whether to leave a last Softmax out: PyTorch's loss takes its input, and so does ours during training.
    """
    children = {name: counterpart(child) for name, child in module.children().items()}
    if isinstance(module, Sequential):
        if without_softmax and isinstance(module.layers[-1], Softmax):
            children.popitem()
        return torch.nn.Sequential(*children.values())
    if isinstance(module, Concat):
        return _branches()(children, lambda outputs: torch.cat(outputs, dim=1))
    if isinstance(module, (Residual, Sum)):
        return _branches()(children, lambda outputs: functools.reduce(operator.add, outputs))
    return getattr(torch.nn, type(module).__name__)(**module.arguments())


def _branches() -> Any:
    """Return the class of branches in PyTorch, made on demand because this file is also imported without PyTorch."""

    class Branches(torch.nn.ModuleDict):
        def __init__(self, branches: dict[str, Any], combine: Any) -> None:
            super().__init__(branches)
            self.combine = combine

        def forward(self, x: Any) -> Any:
            return self.combine([branch(x) for branch in self.values()])

    return Branches


def _format(name: str) -> Any:
    return torch.channels_last if name == CHANNELS_LAST else torch.contiguous_format
