"""Our containers as PyTorch modules, for `to_torch`. This file is imported only where PyTorch is."""

import functools
import operator
from typing import Any

import torch
from torch import nn


class Branches(nn.ModuleDict):
    """Several modules that read the same input."""

    def outputs(self, x: Any) -> list[Any]:
        """(N, ...) -> every branch's output"""
        return [branch(x) for branch in self.values()]


class Sum(Branches):
    """The sum of the branches' outputs."""

    def forward(self, x: Any) -> Any:
        return functools.reduce(operator.add, self.outputs(x))


class Residual(Sum):
    """Sum of the branches "body" and "shortcut"."""


class Concat(Branches):
    """The branches' outputs, concatenated along axis 1."""

    def forward(self, x: Any) -> Any:
        return torch.cat(self.outputs(x), dim=1)


class Add(nn.Module):
    """The sum of several inputs."""

    def forward(self, xs: list[Any]) -> Any:
        return functools.reduce(operator.add, xs)


class Concatenate(nn.Module):
    """Several inputs, concatenated along axis 1."""

    def forward(self, xs: list[Any]) -> Any:
        return torch.cat(xs, dim=1)


class Graph(nn.Module):
    """Modules that read each other's outputs by name, as `cnn.Graph`."""

    def __init__(self, nodes: list[tuple[str, Any, list[str]]], outputs: str | list[str]) -> None:
        super().__init__()
        self.inputs = {name: inputs for name, _, inputs in nodes}
        self.outputs = outputs
        for name, module, _ in nodes:
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        values = {"input": x}
        for name, module in self.named_children():
            read = [values[each] for each in self.inputs[name]]
            values[name] = module(read if isinstance(module, (Add, Concatenate)) else read[0])
        return values[self.outputs] if isinstance(self.outputs, str) else tuple(values[name] for name in self.outputs)
