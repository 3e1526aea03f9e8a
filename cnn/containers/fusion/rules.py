"""Which neighbours in a Sequential run as one kernel: Conv2d[, BatchNorm2d][, ReLU][, MaxPool2d]; Linear[, ReLU];
Residual or Sum, ReLU. In plain NumPy: [Conv2d,] ReLU, MaxPool2d.

While an image is in the processor's cache, all that follows the convolution is done with it, and what lies between the
layers never goes to memory. The layers keep their parameters and gradients; the group has the slot for what backward
needs. A group runs only where its layers would accept the input, are of the exact classes and nobody watches them. Else
they run one by one, and so it is they that say what is wrong with an input.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnn.containers.branches import Residual, Sum
from cnn.containers.fusion.add import SumGroup
from cnn.containers.fusion.fused import FLOAT32, Group, allowed, load, sees_pixels
from cnn.containers.fusion.pool import ConvPoolGroup, PoolGroup
from cnn.core import modes
from cnn.core.checks import check_grad
from cnn.errors import ShapeError
from cnn.functional import norms
from cnn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from cnn.module import Array, Module

__all__ = ["Group", "allowed", "groups"]


class ConvGroup(Group):
    """A convolution and what follows it."""

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        super().__init__(layers, start)
        kinds: dict[type, Any] = {type(layer): layer for layer in layers}
        self.conv: Conv2d = kinds[Conv2d]
        self.norm: BatchNorm2d | None = kinds.get(BatchNorm2d)
        self.pool: MaxPool2d | None = kinds.get(MaxPool2d)
        self.relu = ReLU in kinds
        self._judged: tuple[tuple[Any, ...], bool] = (), False  # what it was last asked, and whether it serves that
        self._geometry = self.conv.geometry()  # then, and that of the pool
        self._pool_geometry = None if self.pool is None else self.pool.geometry()
        self._folded: Any = None  # what the last call in inference worked out

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_folded": None}  # it knows addresses, which are others in a copy

    def supports(self, x: Array) -> bool:
        if not _plain(x, self.conv.weight, 4):
            return False
        asked = x.shape, modes.state.saving, *self._settings()
        judged = self._judged  # which another thread may replace meanwhile
        if judged[0] != asked:
            judged = self._judged = asked, self._judge(x)
        return judged[1]

    def _settings(self) -> tuple[Any, ...]:
        """What may change from call to call and matters: to look at all of it is faster than to judge again."""
        conv, norm, pool = self.conv, self.norm, self.pool
        found: tuple[Any, ...] = (conv.in_channels, conv.out_channels, conv.kernel_size)
        found += (conv.stride, conv.dilation, conv.padding)
        if pool is not None:
            found += (pool.kernel_size, pool.stride, pool.dilation, pool.padding, pool.ceil_mode)
        if norm is not None:
            found += (norm.num_features, norm.track_running_stats, norm.training)
            found += (None if norm.weight is None else norm.weight.dtype,)
            found += (None if norm.running_mean is None else norm.running_mean.dtype,)
        return found

    def _judge(self, x: Array) -> bool:
        conv, norm, pool = self.conv, self.norm, self.pool
        if x.shape[1] != conv.in_channels or len(x) == 0:
            return False
        geometry = self._geometry = conv.geometry()
        self._pool_geometry = None if pool is None else pool.geometry()
        try:
            places = geometry.output_size(*x.shape[2:])
            if pool is not None and self._pool_geometry is not None:
                pooled = self._pool_geometry.output_size(*places, pool.ceil_mode)
                if pool.ceil_mode and pooled != self._pool_geometry.output_size(*places):
                    return False
        except ShapeError:
            return False
        if not load("jit", "engine.shapes").supports(geometry) or (pool is not None and not sees_pixels(pool)):
            return False
        if norm is None:
            return True
        if norm.num_features != conv.out_channels or not norm.track_running_stats:
            return False
        if any(p is not None and p.dtype != FLOAT32 for p in (norm.weight, norm.running_mean)):
            return False
        # in evaluation the norm is folded into the weights, for which there is no backward
        return len(x) * places[0] * places[1] > 1 if norm.training else not modes.state.saving

    def forward(self, x: Array) -> Array:
        conv, pool = self._conv(), self._pool_geometry
        if not modes.state.saving and (self.norm is None or not self.norm.training):
            y, self._folded = load("jit", "blocks").conv_inference(x, conv, self.norm, self.relu, pool, self._folded)
            return y
        if self.norm is None:
            y, kept = load("jit", "blocks").conv_forward(x, *conv, self.relu, pool)
        else:
            y, kept = load("jit", "blocks").conv_norm_forward(x, conv, self.norm, self.relu, pool, norms.follow)
        self.save_for_backward(kept, y.shape)
        return y

    def backward(self, grad: Array) -> Array | None:
        kept, shape = self.saved()
        check_grad(self.layers[-1], grad, shape, kept.x.dtype)
        conv, pool = self._conv(), self._pool_geometry
        x_grad, w_grad, b_grad, of_norm = load("jit", "blocks").conv_backward(
            grad, kept, conv, self.relu, pool, self.conv.needs_input_grad
        )
        self.conv.weight.accumulate_grad(w_grad)
        if self.conv.bias is not None:
            self.conv.bias.accumulate_grad(b_grad)
        if self.norm is not None and self.norm.weight is not None and self.norm.bias is not None:
            self.norm.weight.accumulate_grad(of_norm[0])
            self.norm.bias.accumulate_grad(of_norm[1])
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        n, _, h, w = input_shape
        return self.conv.multiply_adds((n, self.conv.out_channels, *self.conv.geometry().output_size(h, w)))

    def _conv(self) -> tuple[Any, ...]:
        conv = self.conv
        return conv.weight.data, None if conv.bias is None else conv.bias.data, self._geometry, conv.groups


class LinearGroup(Group):
    """A linear layer, and ReLU if that comes next."""

    def __init__(self, layers: Sequence[Module], start: int) -> None:
        super().__init__(layers, start)
        self.linear: Any = layers[0]
        self.relu = len(layers) > 1

    def supports(self, x: Array) -> bool:
        linear = self.linear
        return _plain(x, linear.weight, 2) and x.shape[1] == linear.in_features and len(x) > 0

    def forward(self, x: Array) -> Array:
        bias = None if self.linear.bias is None else self.linear.bias.data
        y = load("jit", "blocks").linear_forward(x, self.linear.weight.data, bias, self.relu)
        self.save_for_backward(x, y)
        return y

    def backward(self, grad: Array) -> Array | None:
        x, y = self.saved()
        check_grad(self.layers[-1], grad, y.shape, y.dtype)
        x_grad, w_grad, b_grad = load("jit", "blocks").linear_backward(
            grad, x, y if self.relu else None, self.linear.weight.data, self.linear.needs_input_grad
        )
        if self.linear.bias is not None:
            self.linear.bias.accumulate_grad(b_grad)
        self.linear.weight.accumulate_grad(w_grad)
        return x_grad

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return self.linear.multiply_adds((input_shape[0], self.linear.out_features))


def _plain(x: Array, weight: Any, ndim: int) -> bool:
    return type(x) is np.ndarray and x.ndim == ndim and x.dtype == FLOAT32 == weight.dtype


def groups(layers: Sequence[Module]) -> Iterator[Group]:
    """Yield the groups in a row of layers, in order."""
    i = 0
    while i < len(layers):
        end = i + 1
        if type(layers[i]) is Conv2d:
            for kind in (BatchNorm2d, ReLU, MaxPool2d):
                if end < len(layers) and type(layers[end]) is kind:
                    end += 1
            group = ConvGroup(layers[i:end], i)
            yield group
            if group.relu and group.pool is not None:
                if group.norm is None:
                    yield ConvPoolGroup(layers[i:end], i)
                yield PoolGroup(layers[end - 2 : end], end - 2)
        elif type(layers[i]) is Linear:
            end += end < len(layers) and type(layers[end]) is ReLU
            yield LinearGroup(layers[i:end], i)
        elif type(layers[i]) in (Residual, Sum) and end < len(layers) and type(layers[end]) is ReLU:
            yield SumGroup(layers[i : end + 1], i)  # that ReLU may be the first of another group
        elif type(layers[i]) is ReLU and end < len(layers) and type(layers[end]) is MaxPool2d:
            end += 1
            yield PoolGroup(layers[i:end], i)
        i = end
