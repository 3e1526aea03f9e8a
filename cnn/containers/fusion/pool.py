"""Neighbours that run as one in plain NumPy: [Conv2d,] ReLU, MaxPool2d."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn.containers.fusion.fused import Group, load, sees_pixels
from cnn.core import modes
from cnn.core.checks import check_grad
from cnn.errors import ShapeError
from cnn.functional.windows import WindowGeometry
from cnn.module import Array, Module

HALVING = WindowGeometry(size=(2, 2), stride=(2, 2), dilation=(1, 1), pads=((0, 0), (0, 0)))


class ConvPoolGroup(Group):
    """A convolution, ReLU and a pool of 2 x 2, in plain NumPy."""

    of = "array"

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        super().__init__(layers, start)
        self.conv: Any = layers[0]
        self.pool: Any = layers[2]

    def supports(self, x: Array) -> bool:
        conv, pool = self.conv, self.pool
        if type(x) is not np.ndarray or x.ndim != 4 or x.dtype != conv.weight.dtype or x.size == 0:
            return False
        if x.shape[1] != conv.in_channels or conv.groups > 1 or pool.geometry() != HALVING:
            return False
        try:
            return bool(load("array", "conv_pool").supports(x.shape, conv.geometry(), conv.weight.data))
        except ShapeError:
            return False

    def forward(self, x: Array) -> Array:
        conv = self.conv
        bias = None if conv.bias is None else conv.bias.data
        y, choice = load("array", "conv_pool").conv_pool(x, conv.weight.data, bias, conv.geometry(), modes.state.saving)
        self.save_for_backward(x, choice, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        x, choice, dtype = self.saved()
        check_grad(self.pool, grad, choice.shape, dtype)
        conv = self.conv
        x_grad, w_grad, b_grad = load("array", "conv_pool").conv_pool_backward(
            grad, choice, x, conv.weight.data, conv.geometry(), conv.needs_input_grad
        )
        conv.weight.accumulate_grad(w_grad)
        if conv.bias is not None:
            conv.bias.accumulate_grad(b_grad)
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        n, _, h, w = input_shape
        return self.conv.multiply_adds((n, self.conv.out_channels, *self.conv.geometry().output_size(h, w)))


class PoolGroup(Group):
    """ReLU, then a pool: it chooses first, and ReLU has fewer numbers to look at."""

    of = "array"

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        super().__init__(layers, start)
        self.pool: Any = layers[1]

    def supports(self, x: Array) -> bool:
        if type(x) is not np.ndarray or x.ndim != 4 or x.dtype.kind != "f" or x.size == 0:
            return False
        try:
            self.pool.geometry().output_size(*x.shape[2:], self.pool.ceil_mode)
        except ShapeError:
            return False
        return sees_pixels(self.pool)

    def forward(self, x: Array) -> Array:
        geometry = self.pool.geometry()
        y, choice = load("array", "maxpool2d").relu_maxpool2d(
            x, geometry, geometry.output_size(*x.shape[2:], self.pool.ceil_mode)
        )
        self.save_for_backward(x.shape, choice, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        shape, choice, dtype = self.saved()
        check_grad(self.pool, grad, choice.shape, dtype)
        return load("array", "maxpool2d").maxpool2d_input_grad(grad, choice, shape, self.pool.geometry())

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return 0
