"""FusedStep: neighbours in a Sequential that run as one step. rules.py says which; jit.py and array.py have them."""

import math
from collections.abc import Sequence
from typing import Any

from cnn.errors import ShapeError
from cnn.functional.windows import WindowGeometry
from cnn.module import Array, Module


class FusedStep:
    """Some neighbours that run as one. The layers keep their parameters and gradients. A step may keep copies of
    weights in the order that its kernel reads them, which it compares with the layer's before each use.

    The step runs only where its layers would accept the input. Otherwise `plan` declines and they run one by one, so it
    is a layer that says what is wrong with an input.

    Attributes
    ----------
    layers : tuple of Module
    """

    def __init__(self, layers: Sequence[Module]) -> None:
        self.layers = tuple(layers)

    def plan(self, x: Array) -> Any:
        """Return what `forward` needs to know for this input, or None: then the layers run one by one."""
        raise NotImplementedError

    def forward(self, x: Array, plan: Any) -> tuple[Array, Any]:
        """Do what the layers do, one after the other: return the output, and what `backward` needs."""
        raise NotImplementedError

    def backward(self, grad: Array, saved: Any) -> Array | None:
        """Do what the backward passes of the layers do, one after the other."""
        raise NotImplementedError

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Return how many multiplications, each with an addition, an input of this shape costs."""
        return 0


def argmax_fits_byte(pool: WindowGeometry) -> bool:
    """Tell whether a byte can number the pixels of a pool's window, and each window has a pixel of the image: one that
    lies in the padding gives -inf, which a ReLU after the pool would not.
    """
    return math.prod(pool.size) < 255 and (pool.dilation == (1, 1) or not any(map(any, pool.pads)))


def changed_since_forward(x: Array, weight: Array) -> ShapeError:
    """Return the error for a backward pass that finds other shapes, dtypes or strides than its forward pass saved."""
    return ShapeError(
        f"the input, {x.dtype} of shape {x.shape}, the weight, {weight.dtype} of shape {weight.shape}, or the output "
        "has another shape, dtype or order in memory than in the forward pass: do not change an array before backward"
    )
