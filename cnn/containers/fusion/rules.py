"""Which neighbours in a Sequential run as one step: the table of rules.

While an image is in the processor's cache, everything that follows the convolution is done with it, and the values
between the layers never go to memory. A rule applies to layers of exactly these classes, in a row. Where several rules
fit, the first one counts.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from cnn.containers.branches import Residual, Sum
from cnn.containers.fusion.step import FusedStep
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, ReLU6
from cnn.module import Module

__all__ = ["RULES", "FusedStep", "Rule", "fused_steps"]


class Rule(NamedTuple):
    """Layers of these classes in a row run as this step if this backend serves."""

    backend: str
    layers: tuple[type[Module], ...]
    step: str  # module and class; imported when the rule first applies


RULES = (
    Rule("jit", (Conv2d, BatchNorm2d, ReLU, MaxPool2d), "jit.ConvStep"),
    Rule("jit", (Conv2d, BatchNorm2d, ReLU), "jit.ConvStep"),
    Rule("jit", (Conv2d, BatchNorm2d, ReLU6), "jit.ConvStep"),
    Rule("jit", (Conv2d, BatchNorm2d, MaxPool2d), "jit.ConvStep"),
    Rule("jit", (Conv2d, BatchNorm2d), "jit.ConvStep"),
    Rule("jit", (Conv2d, ReLU, MaxPool2d), "jit.ConvStep"),
    Rule("jit", (Conv2d, ReLU), "jit.ConvStep"),
    Rule("jit", (Conv2d, ReLU6), "jit.ConvStep"),
    Rule("jit", (Conv2d, MaxPool2d), "jit.ConvStep"),
    Rule("jit", (Conv2d,), "jit.ConvStep"),
    Rule("jit", (Linear, ReLU), "jit.LinearStep"),
    Rule("jit", (Linear,), "jit.LinearStep"),
    Rule("jit", (Flatten,), "jit.FlattenStep"),
    Rule("jit", (Residual, ReLU), "jit.SumReLUStep"),
    Rule("jit", (Sum, ReLU), "jit.SumReLUStep"),
    Rule("array", (Conv2d, ReLU, MaxPool2d), "array.ConvReLUPoolStep"),
    Rule("array", (ReLU, MaxPool2d), "array.ReLUPoolStep"),
)


def fused_steps(layers: Sequence[Module], backend: str) -> tuple[FusedStep | None, ...]:
    """Return, for each position in a row of layers, the step that may run from there, or None."""
    kinds = tuple(type(layer) for layer in layers)
    found: list[FusedStep | None] = []
    for i in range(len(layers)):
        fits = (rule for rule in RULES if rule.backend == backend and kinds[i : i + len(rule.layers)] == rule.layers)
        rule = next(fits, None)
        found.append(None if rule is None else _step_class(rule.step)(layers[i : i + len(rule.layers)]))
    return tuple(found)


@functools.cache
def _step_class(name: str) -> Any:
    module, _, cls = name.partition(".")
    return getattr(backend.load(f"{__package__}.{module}"), cls)
