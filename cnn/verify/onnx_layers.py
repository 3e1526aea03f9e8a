"""ONNX operators as our layers: only names and arguments are mapped, nothing is computed.

There are exceptions, because ONNX defines the same operation in another way. Gemm and MatMul may have the weight of
Linear transposed. The momentum of BatchNormalization is one minus ours. Padding that differs from side to side, or is
more than half a window, becomes a pad layer in front. An array that LayerNormalization takes as one sample gets a batch
axis. The other exceptions are in onnx_training.py and onnx_run.py.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import cnn
from cnn import layers
from cnn.module import Array, Module
from cnn.verify.check import LeftOut

NOT_FLOAT = "not float32 or float64"
NOT_OURS = "an operator or argument that PyTorch's modules have, at least in part, and cnn does not"
NOT_2D = "windows over 1 or 3 axes: cnn has windows over 2"
NOT_IN_TORCH = "arguments that PyTorch's modules do not have, or that read the batch axis"


class Given(Module):
    """A further input of an operator, as a branch that returns it."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        return self.value


class OneSample(Module):
    """A layer for one sample without a batch axis."""

    def __init__(self, layer: Module) -> None:
        self.layer = layer

    def forward(self, x: Array) -> Array:
        """(...) -> (...)"""
        y: Array = self.layer(x[None])[0]
        return y


class Operator:
    """One operator with its first input, its other inputs (None for one that is omitted) and its arguments."""

    def __init__(self, op: str, x: Array, others: list[Array | None], attributes: dict[str, Any], opset: int) -> None:
        self.op, self.x, self.attributes, self.opset = op, x, attributes, opset
        self.others = others + [None] * 5

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument."""
        return self.attributes.get(name, default)

    def other(self, i: int) -> Array:
        """Return one of the inputs after the first; it must not be omitted."""
        found = self.others[i]
        if found is None:
            raise LeftOut(NOT_IN_TORCH)
        return found

    def axis(self, default: int) -> int:
        """Return the argument axis, counted from 0."""
        return int(self.get("axis", default)) % self.x.ndim


def needs(condition: bool, reason: str = NOT_IN_TORCH) -> None:
    """Leave the vector out unless the condition holds."""
    if not condition:
        raise LeftOut(reason)


def fill(module: Module, **values: Array | None) -> Module:
    """Set parameters and buffers of a module."""
    for name, value in values.items():
        if value is not None:
            module.to(value.dtype)
            getattr(module, name).data = value
    return module


def windows(o: Operator, size: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, int, int, int]]:
    """Return stride and dilation, and the padding as (left, right, top, bottom)."""
    needs(o.x.ndim == 4, NOT_2D)
    stride, dilation = o.get("strides", (1, 1)), o.get("dilations", (1, 1))
    top, left, bottom, right = o.get("pads", (0, 0, 0, 0))
    auto = o.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        totals = []
        for pixels, k, s, d in zip(o.x.shape[2:], size, stride, dilation, strict=True):
            totals.append(max(0, (math.ceil(pixels / s) - 1) * s + d * (k - 1) + 1 - pixels))
        smaller, larger = [n // 2 for n in totals], [n - n // 2 for n in totals]
        (top, left), (bottom, right) = (smaller, larger) if auto == "SAME_UPPER" else (larger, smaller)
    return {"stride": stride, "dilation": dilation}, (left, right, top, bottom)


def padded(module: Callable[[tuple[int, int]], Module], pads: tuple[int, int, int, int], value: float) -> Module:
    """Pass the padding to the module if it is symmetric and allowed; otherwise add a pad layer in front."""
    left, right, top, bottom = pads
    if left == right and top == bottom:
        try:
            return module((top, left))
        except ValueError:  # more than half of the window
            pass
    return cnn.Sequential([layers.ConstantPad2d(pads, value), module((0, 0))])


def conv(o: Operator) -> Module:
    """Conv."""
    weight, bias = o.other(0), o.others[1]
    k, c, *size = weight.shape
    arguments, pads = windows(o, tuple(size))
    groups = o.get("group", 1)

    def make(padding: tuple[int, int]) -> Module:
        made = layers.Conv2d(
            c * groups, k, tuple(size), padding=padding, groups=groups, bias=bias is not None, **arguments
        )
        return fill(made, weight=weight, bias=bias)

    return padded(make, pads, 0.0)


def conv_transpose(o: Operator) -> Module:
    """ConvTranspose."""
    weight, bias = o.other(0), o.others[1]
    needs(o.x.ndim == 4, NOT_2D)
    c, k, *size = weight.shape
    groups, stride = o.get("group", 1), o.get("strides", (1, 1))
    dilation, extra = o.get("dilations", (1, 1)), o.get("output_padding", (0, 0))
    top, left, bottom, right = o.get("pads", (0, 0, 0, 0))
    full = [
        s * (pixels - 1) + d * (n - 1) + 1
        for s, pixels, d, n in zip(stride, o.x.shape[2:], dilation, size, strict=True)
    ]
    wanted = o.get("output_shape")
    if o.get("auto_pad", "NOTSET").startswith("SAME"):
        wanted = [pixels * s for pixels, s in zip(o.x.shape[2:], stride, strict=True)]
    if (
        wanted is not None
    ):  # longer than the full output: output_padding; shorter: cropped, for SAME_UPPER more at the end
        extra = tuple(max(0, w - n) for w, n in zip(wanted, full, strict=True))
        cropped = [max(0, n - w) for w, n in zip(wanted, full, strict=True)]
        smaller, larger = [n // 2 for n in cropped], [n - n // 2 for n in cropped]
        (top, left), (bottom, right) = (smaller, larger) if o.get("auto_pad") == "SAME_UPPER" else (larger, smaller)
    symmetric = (top, left) == (bottom, right)
    made = fill(
        layers.ConvTranspose2d(
            c,
            k * groups,
            tuple(size),
            stride=stride,
            padding=(top, left) if symmetric else 0,
            output_padding=extra,
            groups=groups,
            bias=bias is not None,
            dilation=dilation,
        ),
        weight=weight,
        bias=bias,
    )
    return made if symmetric else cnn.Sequential([made, layers.ZeroPad2d((-left, -right, -top, -bottom))])


def max_pool(o: Operator) -> Module:
    """MaxPool; its optional output of indices is not compared, because MaxPool2d does not return them."""
    size = o.get("kernel_shape")
    arguments, pads = windows(o, size)
    ceil = bool(o.get("ceil_mode", 0))
    return padded(lambda padding: layers.MaxPool2d(size, padding=padding, ceil_mode=ceil, **arguments), pads, -math.inf)


def average_pool(o: Operator) -> Module:
    """AveragePool."""
    size = o.get("kernel_shape")
    arguments, pads = windows(o, size)
    needs(tuple(arguments.pop("dilation")) == (1, 1))
    counted = bool(o.get("count_include_pad", 0))
    ceil = bool(o.get("ceil_mode", 0))

    def make(padding: tuple[int, int]) -> Module:
        return layers.AvgPool2d(size, padding=padding, ceil_mode=ceil, count_include_pad=counted, **arguments)

    made = padded(make, pads, 0.0)
    needs(counted or not isinstance(made, cnn.Sequential))  # zeros of a pad layer in front would be counted
    return made


def batch_norm(o: Operator) -> Module:
    """BatchNormalization."""
    scale, bias, mean, var = (o.other(i) for i in range(4))
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d"}.get(o.x.ndim)
    if kind is None:
        raise LeftOut(NOT_2D)
    made = getattr(layers, kind)(len(scale), eps=o.get("epsilon", 1e-5), momentum=1 - o.get("momentum", 0.9))
    made.train(bool(o.get("training_mode", 0)))
    return fill(made, weight=scale, bias=bias, running_mean=mean, running_var=var)


def layer_norm(o: Operator) -> Module:
    """LayerNormalization; its mean and inverse deviation are not compared, because LayerNorm does not return them."""
    made = layers.LayerNorm(o.x.shape[o.axis(-1) :], eps=o.get("epsilon", 1e-5))
    fill(made, weight=o.other(0), bias=o.others[1])
    return OneSample(made) if o.axis(-1) == 0 else made


def group_norm(o: Operator) -> Module:
    """GroupNormalization, and InstanceNormalization, which is GroupNorm with one channel per group."""
    scale = o.other(0)
    made = layers.GroupNorm(o.get("num_groups", len(scale)), len(scale), eps=o.get("epsilon", 1e-5))
    return fill(made, weight=scale, bias=o.other(1))


def gemm(o: Operator) -> Module:
    """Gemm, as Linear: its second input is the weight, which is transposed here unless transB is set."""
    needs(not o.get("transA", 0) and o.get("alpha", 1.0) == 1)
    needs(o.others[1] is None or o.get("beta", 1.0) == 1)
    weight = o.other(0) if o.get("transB", 0) else o.other(0).T
    bias = o.others[1]
    needs(bias is None or bias.size in (1, len(weight)))
    made = layers.Linear(weight.shape[1], len(weight), bias=bias is not None)
    return fill(made, weight=weight, bias=None if bias is None else np.broadcast_to(bias.reshape(-1), len(weight)))


def matmul(o: Operator) -> Module:
    """MatMul with a matrix, as Linear without bias."""
    needs(o.x.ndim >= 2 and o.other(0).ndim == 2)
    return gemm(Operator("Gemm", o.x, [o.other(0)], {}, o.opset))


def softmax(o: Operator) -> Module:
    """Softmax and LogSoftmax. Before opset 13 they flattened all axes from axis on, which is the same for the last."""
    axis = o.axis(-1 if o.opset >= 13 else 1)
    needs(o.opset >= 13 or axis == o.x.ndim - 1)
    return layers.Softmax(dim=axis) if o.op == "Softmax" else layers.LogSoftmax(dim=axis)


def prelu(o: Operator) -> Module:
    """PRelu, which must have one slope, or one for each channel."""
    slope = o.other(0)
    single = slope.size == 1
    needs(single or (o.x.ndim > 1 and slope.size == slope.shape[0] == o.x.shape[1]))
    needs(
        single or slope.shape[1:] == (1,) * (o.x.ndim - 2) or o.opset < 7
    )  # before opset 7, slopes were not broadcast to the right
    return fill(layers.PReLU(slope.size), weight=slope.reshape(-1))


def pad(o: Operator) -> Module:
    """Pad of height and width."""
    needs(o.x.ndim == 4, NOT_2D)
    sides = o.get("pads")
    sides = [int(n) for n in (o.other(0) if sides is None else sides)]
    axes = [int(a) % 4 for a in (range(4) if o.others[2] is None else o.others[2])]
    padding = {axis: (sides[i], sides[i + len(axes)]) for i, axis in enumerate(axes)}
    needs(padding.get(0, (0, 0)) == padding.get(1, (0, 0)) == (0, 0))
    pads = (*padding.get(3, (0, 0)), *padding.get(2, (0, 0)))
    mode = o.get("mode", "constant")
    if mode == "constant":
        value = o.get("value", 0.0) if o.others[1] is None else o.other(1).item()
        return layers.ConstantPad2d(pads, value) if value else layers.ZeroPad2d(pads)
    needs(mode in ("reflect", "edge"))
    return layers.ReflectionPad2d(pads) if mode == "reflect" else layers.ReplicationPad2d(pads)


def flatten(o: Operator) -> Module:
    """Flatten of all axes except the first."""
    needs(o.axis(1) == 1)
    return layers.Flatten()


def combined(o: Operator) -> Module:
    """Concat along the channels, and Sum and Add of arrays of one shape."""
    arrays = [o.x, *(a for a in o.others if a is not None)]
    branches: list[Module] = [Given(a) for a in arrays]
    if o.op == "Concat":
        needs(o.x.ndim > 1 and o.axis(1) == 1)
        return cnn.Concat(branches)
    needs(all(a.shape == o.x.shape for a in arrays))
    return cnn.Sum(branches)
