"""Weights of a convolution as its kernels read them, and the gradient of the weights as it was before."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import (
    convolution,
    convolution_grads,
    convolution_input_grad,
    thread_pool,
    winograd_convolution,
)
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.shapes import Convolution, prepared
from cnn.kernels.jit.engine.tile import WIDTH
from cnn.kernels.jit.engine.winograd import POINTS
from cnn.kernels.memory import borrow_scratch, empty, return_scratch


class Ready(NamedTuple):
    """Weights as the kernels of an algorithm read them, for inference, where they stay the same from call to call."""

    algorithm: str
    panels: Array
    biases: Array


def ready(x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int, scale: Array | None = None) -> Ready:
    """Pack weights, those of each channel times its ``scale``."""
    known = prepared(x.shape, weight.shape, geometry, groups)
    panels = packed(weight, known, known.numbers.copy(), scale=scale, room=lambda count: empty((count,)))
    return Ready(known.algorithm, panels, padded(bias, known, len(weight), groups).copy())


def padded(bias: Array | None, known: Convolution, k: int, groups: int) -> Array:
    """Lay out the bias as the kernels read it: each group's starts a panel."""
    if known.algorithm == "depthwise" or (groups == 1 and k % WIDTH == 0):
        return np.zeros(k, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
    biases = np.zeros((groups, known.panels[0] // groups * WIDTH), np.float32)
    if bias is not None:
        biases[:, : k // groups] = bias.reshape(groups, -1)
    return biases


def packed(
    weight: Array,
    known: Convolution,
    a: Array,
    turned: bool = False,
    scale: Array | None = None,
    room: Callable[[int], Array] = borrow_scratch,
) -> Array:
    """Lay out the weights as the kernels read them; ``turned`` for the gradient of the input."""
    if known.algorithm == "depthwise":
        panels = room(weight.size)
        taps = weight.reshape(len(weight), -1).T  # (KH KW, C)
        panels[: weight.size].reshape(taps.shape)[...] = taps if scale is None else taps * scale
        return panels
    weight = np.ascontiguousarray(weight)
    count, size = known.panels[turned], WIDTH * weight.size // (weight.shape[turned] if turned else len(weight))
    is_winograd = known.algorithm == "winograd"
    made = room(POINTS * count * size // 9 if is_winograd else count * size)
    panels = borrow_scratch(count * size) if is_winograd else made
    a[at.WEIGHT], a[at.Y], a[at.SCALE] = address(weight), address(panels), 0 if scale is None else address(scale)
    thread_pool.run(convolution_input_grad.pack_turned if turned else convolution.pack, a, count, 0.5 * weight.size)
    if is_winograd:
        row = a.copy()
        row[at.C], row[at.WEIGHT], row[at.Y], row[at.PARTS] = size // 9 // WIDTH, address(panels), address(made), count
        thread_pool.run(winograd_convolution.weights, row, count, 4 * weight.size)
        return_scratch(panels)
    return made


def unpacked(partial: Array, parts: int, shape: tuple[int, ...], known: Convolution, a: Array) -> Array:
    """Add up what the parts found of the gradient of the weights, and lay it out as the weights are."""
    if known.algorithm == "depthwise":
        taps = partial[: parts * math.prod(shape)].reshape(parts, -1, shape[0]).sum(axis=0)
        return np.ascontiguousarray(taps.T).reshape(shape)
    if known.algorithm == "winograd":
        panels = borrow_scratch(known.packed())
        a[at.Y] = address(panels)
        thread_pool.run(winograd_convolution.gather, a, known.panels[0], 4 * panels.size * parts)
        parts, a[at.W_GRAD], a[at.PARTS] = 1, address(panels), 1
    w_grad = empty(shape)
    a[at.Y] = address(w_grad)
    thread_pool.run(convolution_grads.unpack, a, known.panels[0], w_grad.size * parts)
    if known.algorithm == "winograd":
        return_scratch(panels)
    return w_grad
