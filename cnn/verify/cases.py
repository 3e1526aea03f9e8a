"""What is checked of each class. A new layer, loss, optimizer or schedule adds a line.

Names and arguments are PyTorch's, so one expression makes both: ``nn`` is in turn `OURS`, the layers and containers,
and their like in PyTorch; `cnn.loss` and `torch.nn`; `cnn.optim` and `torch.optim` or `torch.optim.lr_scheduler`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import cnn
from cnn import layers, loss
from cnn.module import Array, Module, no_grad
from cnn.verify.check import draw

BOTH = (True, False)  # training and evaluation
CONTAINERS = (cnn.Concat, cnn.Residual, cnn.Sequential, cnn.Sum)
OURS = SimpleNamespace(**vars(layers), **{container.__name__: container for container in CONTAINERS})


@dataclass(frozen=True)
class LayerCase:
    """A layer, how it is made and what it reads.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the input.
    build : callable
        (`OURS`, or the same of PyTorch) -> the layer.
    modes : tuple of bool
        Training, evaluation or both, where they differ; PyTorch sees those in ``torch_modes``.
    scale : float
        How large the numbers of the input are, so that they reach every part of the formula.
    """

    name: str
    shape: tuple[int, ...]
    build: Callable[[Any], Any]
    modes: tuple[bool, ...] = (True,)
    torch_modes: tuple[bool, ...] | None = None
    scale: float = 1.0

    def make(self) -> Module:
        """Make ours, its parameters drawn anew and its running statistics no longer at the start."""
        module: Module = self.build(OURS)
        for seed, parameter in enumerate(module.parameters()):
            parameter.data = draw(parameter.shape, seed=100 + seed)
        with no_grad():
            module(draw(self.shape, np.float32, seed=99))
        return module

    def input(self, dtype: Any = np.float64) -> Array:
        """Draw an input."""
        x = self.scale * draw(self.shape)
        return x.astype(dtype)


@dataclass(frozen=True)
class LossCase:
    """A loss, how it is made and what it reads.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the predictions.
    kind : str
        What they are: "real"; "probabilities", "log-probabilities" or "logits" of classes, or "yes or no", "certain"
        and "scores"; or "mixtures", logits whose targets are probabilities of classes.
    build : callable
        (cnn.loss or torch.nn, what makes arrays of weights) -> the loss.
    twin : callable or None
        The same, where PyTorch's is written otherwise.
    ignored : bool
        Whether some targets are -100.
    scale : float
        How large the real numbers and logits are.
    smooth : bool
        Whether finite differences tell the gradient, as they do not where a logarithm is cut.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    build: Callable[[Any, Callable[[Any], Any]], Any]
    twin: Callable[[Any, Callable[[Any], Any]], Any] | None = None
    ignored: bool = False
    scale: float = 1.0
    smooth: bool = True

    def make(self) -> loss.LossFunc:
        """Make ours."""
        ours: loss.LossFunc = self.build(loss, np.asarray)
        return ours

    def prediction(self, dtype: Any) -> Array:
        """Draw predictions."""
        x = self.scale * draw(self.shape)
        log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        kinds = {"probabilities": np.exp(log_p), "log-probabilities": log_p, "yes or no": 1 / (1 + np.exp(-x))}
        kinds["certain"] = np.where(x < -0.5, 0.0, np.where(x > 0.5, 1.0, 0.5))
        return np.asarray(kinds.get(self.kind, x)).astype(dtype)

    def target(self, dtype: Any) -> Array:
        """Draw targets."""
        rng = np.random.default_rng(7)
        if self.kind == "real":
            return rng.normal(size=self.shape).astype(dtype)
        if self.kind in ("yes or no", "certain", "scores"):
            return rng.uniform(size=self.shape).astype(dtype)
        if self.kind == "mixtures":
            return rng.dirichlet(np.ones(self.shape[1]), self.shape[0]).astype(dtype)
        ids = rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]))
        if self.ignored:
            ids.flat[::3] = -100
        return ids


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer: (cnn.optim or torch.optim, parameters) -> the optimizer; Muon reads matrices alone."""

    name: str
    build: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], ...] = ((4, 3), (4,), (2, 3, 2, 2), (1,))


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule: (cnn.optim or torch.optim.lr_scheduler, optimizer) -> the schedule; some read a measure each step."""

    name: str
    build: Callable[[Any, Any], Any]
    reads_measure: bool = False


@dataclass(frozen=True)
class InitialCase:
    """A layer with hundreds of numbers in each parameter: how they are drawn is compared."""

    name: str
    build: Callable[[Any], Any]


@dataclass(frozen=True)
class ClippingCase:
    """A function that clips gradients: (cnn.optim or torch.nn.utils, parameters) -> the norm, if it gives one."""

    name: str
    clip: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class AverageCase:
    """An average of weights."""

    name: str
    decay: float


C = LayerCase
IMAGE = (2, 3, 5, 6)
LAYERS = [
    C("AdaptiveAvgPool2d", (2, 3, 5, 7), lambda nn: nn.AdaptiveAvgPool2d((3, 2))),
    C("AdaptiveMaxPool2d", (2, 3, 5, 7), lambda nn: nn.AdaptiveMaxPool2d((3, 2))),
    C("AvgPool2d", (2, 2, 7, 6), lambda nn: nn.AvgPool2d(3, stride=2, padding=1)),
    C("AvgPool2d", (2, 2, 6, 5), lambda nn: nn.AvgPool2d((2, 3), ceil_mode=True, count_include_pad=False)),
    C("BatchNorm1d", (5, 4), lambda nn: nn.BatchNorm1d(4), BOTH),
    C("BatchNorm1d", (3, 4, 5), lambda nn: nn.BatchNorm1d(4, momentum=None), BOTH),
    C("BatchNorm2d", (3, 2, 3, 4), lambda nn: nn.BatchNorm2d(2, eps=1e-3, momentum=0.3), BOTH),
    C("BatchNorm2d", (3, 2, 3, 4), lambda nn: nn.BatchNorm2d(2, affine=False, track_running_stats=False), BOTH),
    C("CELU", IMAGE, lambda nn: nn.CELU(1.5)),
    C("ConstantPad2d", (2, 2, 3, 4), lambda nn: nn.ConstantPad2d((1, 2, 0, 3), 1.5)),
    C("Conv2d", IMAGE, lambda nn: nn.Conv2d(3, 4, 3)),
    C("Conv2d", (3, 1, 6, 5), lambda nn: nn.Conv2d(1, 2, (2, 3), stride=2, padding=1)),
    C("Conv2d", (2, 4, 3, 4), lambda nn: nn.Conv2d(4, 6, 2, padding="same", groups=2, bias=False)),
    C("Conv2d", (2, 3, 4, 5), lambda nn: nn.Conv2d(3, 3, 3, dilation=(1, 2), padding=(0, 2), groups=3)),
    C("ConvTranspose2d", (2, 3, 3, 4), lambda nn: nn.ConvTranspose2d(3, 4, 3)),
    C(
        "ConvTranspose2d",
        (2, 4, 3, 2),
        lambda nn: nn.ConvTranspose2d(4, 2, (2, 3), stride=2, padding=1, output_padding=1, groups=2, dilation=2),
    ),
    C("Dropout", IMAGE, lambda nn: nn.Dropout(0.25), BOTH, torch_modes=(False,)),  # the masks of the two differ
    C("Dropout2d", IMAGE, lambda nn: nn.Dropout2d(0.25), BOTH, torch_modes=(False,)),
    C("ELU", IMAGE, lambda nn: nn.ELU(1.5)),
    C("Flatten", IMAGE, lambda nn: nn.Flatten()),
    C("GELU", IMAGE, lambda nn: nn.GELU()),
    C("GELU", IMAGE, lambda nn: nn.GELU(), scale=1e-9),
    C("GELU", IMAGE, lambda nn: nn.GELU(approximate="tanh")),
    C("GELU", IMAGE, lambda nn: nn.GELU(approximate="tanh"), scale=1e-9),
    C("GroupNorm", (2, 6, 2, 3), lambda nn: nn.GroupNorm(3, 6)),
    C("Hardsigmoid", IMAGE, lambda nn: nn.Hardsigmoid(), scale=3.0),
    C("Hardswish", IMAGE, lambda nn: nn.Hardswish(), scale=3.0),
    C("Identity", IMAGE, lambda nn: nn.Identity()),
    C("LayerNorm", (3, 2, 4), lambda nn: nn.LayerNorm(4)),
    C("LayerNorm", (3, 2, 4), lambda nn: nn.LayerNorm((2, 4), eps=1e-3)),
    C("LeakyReLU", IMAGE, lambda nn: nn.LeakyReLU(0.2)),
    C("Linear", (3, 5), lambda nn: nn.Linear(5, 4)),
    C("Linear", (2, 3, 4), lambda nn: nn.Linear(4, 4, bias=False)),
    C("LogSoftmax", (2, 3, 2, 4), lambda nn: nn.LogSoftmax(dim=1)),
    C("MaxPool2d", (2, 2, 7, 6), lambda nn: nn.MaxPool2d(3, stride=2, padding=1)),
    C("MaxPool2d", (2, 2, 6, 5), lambda nn: nn.MaxPool2d((2, 3), stride=(2, 1), dilation=(2, 1), ceil_mode=True)),
    C("Mish", IMAGE, lambda nn: nn.Mish()),
    C("PReLU", IMAGE, lambda nn: nn.PReLU()),
    C("PReLU", IMAGE, lambda nn: nn.PReLU(3)),
    C("PixelShuffle", (2, 8, 2, 3), lambda nn: nn.PixelShuffle(2)),
    C("ReLU", IMAGE, lambda nn: nn.ReLU()),
    C("ReflectionPad2d", (2, 2, 4, 5), lambda nn: nn.ReflectionPad2d((1, 2, 3, 0))),
    C("ReplicationPad2d", (2, 2, 3, 4), lambda nn: nn.ReplicationPad2d((1, 2, 3, 0))),
    C("SELU", IMAGE, lambda nn: nn.SELU()),
    C("SiLU", IMAGE, lambda nn: nn.SiLU()),
    C("Sigmoid", IMAGE, lambda nn: nn.Sigmoid()),
    C("Softmax", (3, 5), lambda nn: nn.Softmax(dim=-1)),
    C("Softmax", (2, 3, 2, 4), lambda nn: nn.Softmax(dim=1)),
    C("Softplus", IMAGE, lambda nn: nn.Softplus(beta=2.0, threshold=3.0)),
    C("Softsign", IMAGE, lambda nn: nn.Softsign()),
    C("Tanh", IMAGE, lambda nn: nn.Tanh()),
    C("Unflatten", (2, 12), lambda nn: nn.Unflatten(1, (3, 2, 2))),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(scale_factor=2)),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(size=(5, 7), mode="bilinear")),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
    C("ZeroPad2d", (2, 2, 3, 4), lambda nn: nn.ZeroPad2d((1, 2, 0, -1))),
    C("Concat", (2, 2, 3, 4), lambda nn: nn.Concat([nn.Identity(), nn.Conv2d(2, 3, 1)])),
    C("Residual", (2, 4), lambda nn: nn.Residual(nn.Linear(4, 4))),
    C("Sequential", (3, 4), lambda nn: nn.Sequential([nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)])),
    C("Sum", (2, 2, 3, 4), lambda nn: nn.Sum([nn.Identity(), nn.Conv2d(2, 2, 1)])),
]

I = InitialCase  # noqa: E741  # as C, L, P and S
INITIALS = [
    I("BatchNorm1d", lambda nn: nn.BatchNorm1d(300)),
    I("BatchNorm2d", lambda nn: nn.BatchNorm2d(300)),
    I("Conv2d", lambda nn: nn.Conv2d(4, 300, 3, groups=2)),
    I("ConvTranspose2d", lambda nn: nn.ConvTranspose2d(4, 300, 3)),
    I("GroupNorm", lambda nn: nn.GroupNorm(3, 300)),
    I("LayerNorm", lambda nn: nn.LayerNorm((20, 15))),
    I("Linear", lambda nn: nn.Linear(20, 300)),
    I("PReLU", lambda nn: nn.PReLU(300)),
]

L = LossCase
CLASSES, MAP = (6, 4), (3, 4, 2, 3)
WEIGHT = np.array([0.5, 1.0, 2.0, 1.5])
LOSSES = [
    L("BCELoss", CLASSES, "yes or no", lambda nn, a: nn.BCELoss()),
    L("BCELoss", CLASSES, "yes or no", lambda nn, a: nn.BCELoss(weight=a(WEIGHT), reduction="sum")),
    L("BCELoss", CLASSES, "certain", lambda nn, a: nn.BCELoss(), smooth=False),
    L("BCEWithLogitsLoss", CLASSES, "scores", lambda nn, a: nn.BCEWithLogitsLoss()),
    L("BCEWithLogitsLoss", CLASSES, "scores", lambda nn, a: nn.BCEWithLogitsLoss(pos_weight=a(WEIGHT)), scale=100.0),
    L("BCEWithLogitsLoss", CLASSES, "scores", lambda nn, a: nn.BCEWithLogitsLoss(pos_weight=a(WEIGHT))),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "probabilities",
        lambda nn, a: nn.CrossEntropyLoss(),
        lambda nn, a: lambda p, t: nn.NLLLoss()(p.log(), t),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True),
        lambda nn, a: nn.CrossEntropyLoss(),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True),
        lambda nn, a: nn.CrossEntropyLoss(),
        scale=100.0,
    ),
    L(
        "CrossEntropyLoss",
        MAP,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, weight=a(WEIGHT), label_smoothing=0.1),
        lambda nn, a: nn.CrossEntropyLoss(weight=a(WEIGHT), label_smoothing=0.1),
        ignored=True,
    ),
    L(
        "CrossEntropyLoss",
        MAP,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, reduction="none"),
        lambda nn, a: nn.CrossEntropyLoss(reduction="none"),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "mixtures",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, weight=a(WEIGHT)),
        lambda nn, a: nn.CrossEntropyLoss(weight=a(WEIGHT)),
    ),
    L("HuberLoss", CLASSES, "real", lambda nn, a: nn.HuberLoss(delta=0.7)),
    L("L1Loss", MAP, "real", lambda nn, a: nn.L1Loss()),
    L("MSELoss", MAP, "real", lambda nn, a: nn.MSELoss()),
    L("MSELoss", CLASSES, "real", lambda nn, a: nn.MSELoss(reduction="none")),
    L("NLLLoss", CLASSES, "log-probabilities", lambda nn, a: nn.NLLLoss()),
    L("NLLLoss", CLASSES, "log-probabilities", lambda nn, a: nn.NLLLoss(), scale=100.0),
    L("NLLLoss", MAP, "log-probabilities", lambda nn, a: nn.NLLLoss(weight=a(WEIGHT)), ignored=True),
    L("SmoothL1Loss", CLASSES, "real", lambda nn, a: nn.SmoothL1Loss(beta=0.7)),
]

P = OptimizerCase
MATRICES = ((4, 3), (2, 5), (3, 3))
OPTIMIZERS = [
    P("Adagrad", lambda o, p: o.Adagrad(p, lr=0.1, lr_decay=0.01, weight_decay=1e-3)),
    P("Adagrad", lambda o, p: o.Adagrad(p, lr=0.1, initial_accumulator_value=0.5)),
    P("Adam", lambda o, p: o.Adam(p, lr=0.01)),
    P("Adam", lambda o, p: o.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "betas": (0.5, 0.9)}], lr=0.01)),
    P("Adam", lambda o, p: o.Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    P("AdamW", lambda o, p: o.AdamW(p, lr=0.01, weight_decay=0.1)),
    P("Muon", lambda o, p: o.Muon(p, lr=0.02, weight_decay=0.01), MATRICES),
    P("Muon", lambda o, p: o.Muon(p, nesterov=False, adjust_lr_fn="match_rms_adamw"), MATRICES),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01)),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01, weight_decay=0.1)),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)),
    P("RMSprop", lambda o, p: o.RMSprop(p, lr=0.01)),
    P("RMSprop", lambda o, p: o.RMSprop(p, lr=0.01, momentum=0.9, centered=True, weight_decay=0.1)),
    P("SGD", lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)),
    P("SGD", lambda o, p: o.SGD(p, lr=0.1, momentum=0.5, dampening=0.3)),
    P("SGD", lambda o, p: o.SGD([{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:], "lr": 0.3}], lr=0.1)),
]

CLIPPINGS = [
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=2.0)),
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=100.0)),  # nothing to clip
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=2.0, norm_type=1.0)),
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=0.5, norm_type=float("inf"))),
    ClippingCase("clip_grad_value_", lambda o, p: o.clip_grad_value_(p, clip_value=0.5)),
]

AVERAGES = [AverageCase("WeightAverage", decay=0.9)]

S = ScheduleCase
SCHEDULES = [
    S("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.StepLR(o, 30), s.ExponentialLR(o, gamma=0.99)])),
    S("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, T_max=30, eta_min=0.01)),
    S("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=2, eta_min=0.01)),
    S("ExponentialLR", lambda s, o: s.ExponentialLR(o, gamma=0.97)),
    S("LinearLR", lambda s, o: s.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=40)),
    S("MultiStepLR", lambda s, o: s.MultiStepLR(o, milestones=[10, 30, 80], gamma=0.3)),
    S("OneCycleLR", lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=101)),
    S("OneCycleLR", lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=101, three_phase=True)),
    S("ReduceLROnPlateau", lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=3), reads_measure=True),
    S(
        "ReduceLROnPlateau",
        lambda s, o: s.ReduceLROnPlateau(o, factor=0.8, patience=1, threshold=0.5, cooldown=4),
        reads_measure=True,
    ),
    S(
        "ReduceLROnPlateau",
        lambda s, o: s.ReduceLROnPlateau(
            o, mode="max", factor=0.8, patience=1, threshold=0.3, threshold_mode="abs", min_lr=0.05
        ),
        reads_measure=True,
    ),
    S(
        "SequentialLR",
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, start_factor=0.1, total_iters=20), s.ExponentialLR(o, gamma=0.95)], milestones=[20]
        ),
    ),
    S(
        "SequentialLR",  # back to the full rate at the milestone
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, start_factor=0.1, end_factor=0.5, total_iters=20), s.StepLR(o, 30)], milestones=[20]
        ),
    ),
    S("StepLR", lambda s, o: s.StepLR(o, step_size=15, gamma=0.5)),
]


def every() -> list[Any]:
    """All cases; each has a name, that of the class or function that it is about."""
    return [*LAYERS, *INITIALS, *LOSSES, *OPTIMIZERS, *CLIPPINGS, *AVERAGES, *SCHEDULES]
