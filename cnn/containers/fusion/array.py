"""The fused steps of the array backend, in NumPy: [Conv2d,] ReLU, MaxPool2d."""

from typing import Any

import numpy as np

from cnn.containers.fusion.step import FusedStep, argmax_fits_byte, changed_since_forward
from cnn.core import modes
from cnn.errors import ShapeError
from cnn.functional.windows import WindowGeometry
from cnn.kernels import fits
from cnn.kernels.array import conv_pool, maxpool2d
from cnn.module import Array

HALVING = WindowGeometry(size=(2, 2), stride=(2, 2), dilation=(1, 1), pads=((0, 0), (0, 0)))


class ConvReLUPoolStep(FusedStep):
    """A convolution, ReLU and a pool of 2 x 2."""

    def plan(self, x: Array) -> WindowGeometry | None:
        conv: Any = self.layers[0]
        pool: Any = self.layers[2]
        weight, bias = conv.weight.data, conv.bias
        if type(x) is not np.ndarray or x.ndim != 4 or x.dtype != weight.dtype or x.size == 0:
            return None
        if bias is not None and (bias.data.dtype != x.dtype or bias.data.shape != weight.shape[:1]):
            return None
        if x.shape[1] != conv.in_channels or conv.groups > 1:
            return None
        geometry = conv.geometry(*x.shape[2:])
        try:
            if pool.geometry(*geometry.output_size(*x.shape[2:])) != HALVING:
                return None
            if not fits.convolution(x.shape, weight.shape, None, geometry, 1):
                return None
            return geometry if conv_pool.supports(x.shape, geometry, weight) else None
        except ShapeError:
            return None

    def forward(self, x: Array, plan: WindowGeometry) -> tuple[Array, Any]:
        conv: Any = self.layers[0]
        bias = None if conv.bias is None else conv.bias.data
        y, choice = conv_pool.conv_pool(x, conv.weight.data, bias, plan, modes.state.saving)
        return y, (x, choice, plan)

    def backward(self, grad: Array, saved: Any) -> Array | None:
        x, choice, geometry = saved
        conv: Any = self.layers[0]
        weight, y_shape = conv.weight.data, (*choice.shape[:2], 2 * choice.shape[2], 2 * choice.shape[3])
        if not fits.convolution(x.shape, weight.shape, y_shape, geometry, 1) or weight.dtype != x.dtype:
            raise changed_since_forward(x, weight)
        x_grad, w_grad, b_grad = conv_pool.conv_pool_backward(grad, choice, x, weight, geometry, conv.needs_input_grad)
        conv.weight.accumulate_grad(w_grad)
        if conv.bias is not None:
            conv.bias.accumulate_grad(b_grad)
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        conv: Any = self.layers[0]
        n, _, h, w = input_shape
        return conv.multiply_adds((n, conv.out_channels, *conv.geometry(h, w).output_size(h, w)))


class ReLUPoolStep(FusedStep):
    """ReLU, then a pool: the pool chooses first, and ReLU has fewer numbers to look at."""

    def plan(self, x: Array) -> Any:
        pool: Any = self.layers[1]
        if type(x) is not np.ndarray or x.ndim != 4 or x.dtype.kind != "f" or x.size == 0:
            return None
        geometry = pool.geometry(*x.shape[2:])
        try:
            output_size = geometry.output_size(*x.shape[2:], pool.ceil_mode)
        except ShapeError:
            return None
        return (geometry, output_size) if argmax_fits_byte(geometry) else None

    def forward(self, x: Array, plan: Any) -> tuple[Array, Any]:
        geometry, output_size = plan
        y, choice = maxpool2d.relu_maxpool2d(x, geometry, output_size)
        return y, (x.shape, choice, geometry)

    def backward(self, grad: Array, saved: Any) -> Array | None:
        shape, choice, geometry = saved
        return maxpool2d.maxpool2d_input_grad(grad, choice, shape, geometry)
