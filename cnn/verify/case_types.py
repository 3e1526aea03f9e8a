"""The kinds of cases of cases.py: what a case holds, and how its inputs are made."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import cnn
from cnn import layers, loss
from cnn.module import Array, Module, no_grad
from cnn.verify.check import draw

CONTAINERS = (cnn.Concat, cnn.Product, cnn.Residual, cnn.Sequential, cnn.Sum)
OURS = SimpleNamespace(**vars(layers), **{container.__name__: container for container in CONTAINERS})


@dataclass(frozen=True)
class LayerCase:
    """A layer: how to build it, and its input.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Shape of the input.
    build : callable
        (`OURS`, or its PyTorch counterpart) -> the layer.
    modes : tuple of bool
        Whether to check it in training mode, in evaluation mode, or both, where they differ.
    torch_modes : tuple of bool, optional
        The modes to compare with PyTorch; None means ``modes``.
    scale : float
        Standard deviation of the input, so that it reaches every part of the formula.
    """

    name: str
    shape: tuple[int, ...]
    build: Callable[[Any], Any]
    modes: tuple[bool, ...] = (True,)
    torch_modes: tuple[bool, ...] | None = None
    scale: float = 1.0

    def make(self) -> Module:
        """Build the layer with random parameters, and with running statistics updated once."""
        module: Module = self.build(OURS)
        for seed, parameter in enumerate(module.parameters()):
            parameter.data = draw(parameter.shape, seed=100 + seed)
        with no_grad():
            module(draw(self.shape, np.float32, seed=99))
        return module

    def input(self, dtype: Any = np.float64) -> Array:
        """Return a random input."""
        x = self.scale * draw(self.shape)
        return x.astype(dtype)


@dataclass(frozen=True)
class LossCase:
    """A loss: how to build it, its predictions and its targets.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Shape of the predictions.
    kind : str
        Kind of the predictions: "real"; for class ids "probabilities", "log-probabilities" or "logits"; for binary
        targets "binary probabilities", "saturated probabilities" (0, 0.5 or 1) or "binary logits"; or
        "logits, soft targets", where the targets are probabilities of classes.
    build : callable
        (cnn.loss or torch.nn, function that makes an array of weights) -> the loss.
    build_torch : callable or None
        The same for PyTorch, where its expression differs.
    ignored : bool
        Whether some targets are -100.
    scale : float
        Standard deviation of real predictions and logits.
    smooth : bool
        Whether finite differences give the gradient; they do not where a logarithm is clamped.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    build: Callable[[Any, Callable[[Any], Any]], Any]
    build_torch: Callable[[Any, Callable[[Any], Any]], Any] | None = None
    ignored: bool = False
    scale: float = 1.0
    smooth: bool = True

    def make(self) -> loss.LossFunc:
        """Build the loss of this library."""
        ours: loss.LossFunc = self.build(loss, np.asarray)
        return ours

    def prediction(self, dtype: Any) -> Array:
        """Return random predictions."""
        x = self.scale * draw(self.shape)
        log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        kinds = {
            "probabilities": np.exp(log_p),
            "log-probabilities": log_p,
            "binary probabilities": 1 / (1 + np.exp(-x)),
        }
        kinds["saturated probabilities"] = np.where(x < -0.5, 0.0, np.where(x > 0.5, 1.0, 0.5))
        return np.asarray(kinds.get(self.kind, x)).astype(dtype)

    def target(self, dtype: Any) -> Array:
        """Return random targets."""
        rng = np.random.default_rng(7)
        if self.kind == "real":
            return rng.normal(size=self.shape).astype(dtype)
        if self.kind in ("binary probabilities", "saturated probabilities", "binary logits"):
            return rng.uniform(size=self.shape).astype(dtype)
        if self.kind == "logits, soft targets":
            return rng.dirichlet(np.ones(self.shape[1]), self.shape[0]).astype(dtype)
        ids = rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]))
        if self.ignored:
            ids.flat[::3] = -100
        return ids


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer: (cnn.optim or torch.optim, parameters) -> the optimizer; Muon takes matrices only."""

    name: str
    build: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], ...] = ((4, 3), (4,), (2, 3, 2, 2), (1,))


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule: (cnn.optim or torch.optim.lr_scheduler, optimizer) -> the schedule; some need a metric each step."""

    name: str
    build: Callable[[Any, Any], Any]
    needs_metric: bool = False


@dataclass(frozen=True)
class InitialCase:
    """A layer with hundreds of numbers in each parameter, to compare their initial distribution."""

    name: str
    build: Callable[[Any], Any]


@dataclass(frozen=True)
class ClippingCase:
    """A function that clips gradients: (cnn.optim or torch.nn.utils, parameters) -> the norm, if it returns one."""

    name: str
    clip: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class AverageCase:
    """A moving average of weights."""

    name: str
    decay: float
