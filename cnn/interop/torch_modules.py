"""Our containers and layers that PyTorch does not have, as its modules, for `to_torch`.

This file is imported only where PyTorch is installed.
"""

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


class Product(Branches):
    """The product of the branches' outputs."""

    def forward(self, x: Any) -> Any:
        return functools.reduce(operator.mul, self.outputs(x))


class Affine(nn.Module):
    """A weight and a bias for each channel."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.weight, self.bias = nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features))

    def forward(self, x: Any) -> Any:
        shape = (-1,) + (1,) * (x.ndim - 2)
        return x * self.weight.reshape(shape) + self.bias.reshape(shape)


class ChannelSlice(nn.Module):
    """Some neighbouring channels."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Any) -> Any:
        return x[:, self.start : self.stop]


class Permute(nn.Module):
    """The axes in another order."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Any) -> Any:
        return x.permute(self.dims)


class Add(nn.Module):
    """The sum of several inputs."""

    def forward(self, xs: list[Any]) -> Any:
        return functools.reduce(operator.add, xs)


class Multiply(nn.Module):
    """The product of several inputs."""

    def forward(self, xs: list[Any]) -> Any:
        return functools.reduce(operator.mul, xs)


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
            values[name] = module(read if isinstance(module, (Add, Multiply, Concatenate)) else read[0])
        return values[self.outputs] if isinstance(self.outputs, str) else tuple(values[name] for name in self.outputs)
