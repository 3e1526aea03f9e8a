"""Operators on numbers: weights, norms, activations and arithmetic."""

import math
from typing import Any

import numpy as np

from cnn.interop.onnx.folding import scalar
from cnn.interop.onnx.parts import Layer, NoLayerError, Operator, Shape, in_memory
from cnn.module import Array

MOST_COPIED = 2**22  # weights of the convolution that copies channels beside zeros


def gemm(o: Operator) -> list[Layer]:
    """Gemm with constant weights, as Linear: they are transposed here unless transB is set."""
    shape = o.shape()
    if o.get("transA", 0) or len(shape) != 2 or not o.is_constant(1):
        raise NoLayerError("multiplies two results with each other; Linear multiplies rows (N, in) by constant weights")
    weight = o.array(1) if o.get("transB", 0) else o.array(1).T
    return [linear(shape, weight, o.array(2) if o.has(2) else None, o.get("alpha", 1.0), o.get("beta", 1.0))]


def matmul(o: Operator) -> list[Layer]:
    """MatMul with a constant matrix, as Linear without bias; one on the left multiplies the axis before the last."""
    if o.is_constant(1) and o.array(1).ndim == 2 and len(o.shape()) >= 2:
        return [linear(o.shape(), o.array(1).T, None)]
    if not o.is_constant(0) or o.array(0).ndim != 2 or len(o.shape(1)) < 3:
        raise NoLayerError("multiplies two results with each other; Linear multiplies rows by a constant matrix")
    shape = o.shape(1)
    turned = (*shape[:-2], shape[-1], shape[-2])
    dims = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    made = linear(turned, o.array(0), None)
    after = (*shape[:-2], len(o.array(0)), shape[-1])
    return [Layer("Permute", {"dims": dims}, turned), made, Layer("Permute", {"dims": dims}, after)]


def linear(shape: Shape, weight: Array, bias: Array | None, alpha: float = 1.0, beta: float = 1.0) -> Layer:
    """Return a Linear with these weights."""
    if weight.ndim != 2 or weight.shape[1] != shape[-1]:
        raise NoLayerError(
            f"has weights for {weight.shape[-1]} inputs, and gets {shape[-1]}: the file is damaged, or made for "
            "another input_shape"
        )
    out, features = weight.shape
    arguments = {"in_features": features, "out_features": out, "bias": bias is not None}
    if alpha != 1:
        weight = np.broadcast_to(in_memory(weight) * np.float32(alpha), weight.shape)
    tensors = {"weight": weight}
    if bias is not None:
        if bias.size not in (1, out):
            raise NoLayerError(f"adds an array of shape {bias.shape} to rows of {out}: a bias has one number for each")
        tensors["bias"] = np.broadcast_to(bias.reshape(-1), out) * np.float32(beta)
    return Layer("Linear", arguments, (*shape[:-1], out), tensors)


def batch_norm(o: Operator) -> list[Layer]:
    """BatchNormalization in evaluation mode."""
    shape, kind = o.shape(), _kind_of_batch_norm(o)
    if o.get("training_mode", 0) or not o.get("spatial", 1):
        raise NoLayerError("is in training mode, or not spatial: export the model in evaluation mode")
    tensors = dict(
        zip(("weight", "bias", "running_mean", "running_var"), (o.array(i) for i in range(1, 5)), strict=True)
    )
    arguments = {"num_features": shape[1], "eps": o.get("epsilon", 1e-5)}
    arguments["momentum"] = round(1 - o.get("momentum", 0.9), 6)
    return [Layer(kind, arguments, shape, tensors)]


def norm_of_batch(o: Operator) -> list[Layer]:
    """BatchNorm without running statistics; see patterns_nodes.py."""
    shape, kind, sample = o.shape(), _kind_of_batch_norm(o), o.get("sample")
    if shape[1:] != sample:
        raise NoLayerError(f"is made for samples of {o.shown(sample)}, and gets {o.shown(shape[1:])}")
    arguments = {"num_features": shape[1], "eps": o.get("epsilon", 1e-5), "track_running_stats": False}
    return [Layer(kind, arguments, shape, {"weight": o.array(1), "bias": o.array(2)})]


def _kind_of_batch_norm(o: Operator) -> str:
    ndim = len(o.shape())
    if ndim not in (2, 3, 4):
        raise NoLayerError(f"normalises {ndim} axes: BatchNorm takes (N, C), (N, C, L) or (N, C, H, W)")
    return "BatchNorm2d" if ndim == 4 else "BatchNorm1d"


def instance_norm(o: Operator) -> list[Layer]:
    """InstanceNormalization: of images InstanceNorm2d, of other arrays GroupNorm with one channel per group."""
    shape, channels = o.shape(), o.shape()[1]
    tensors = {"weight": o.array(1), "bias": o.array(2)}
    eps = o.get("epsilon", 1e-5)
    if len(shape) == 4:
        return [Layer("InstanceNorm2d", {"num_features": channels, "eps": eps, "affine": True}, shape, tensors)]
    return [Layer("GroupNorm", {"num_groups": channels, "num_channels": channels, "eps": eps}, shape, tensors)]


def group_norm(o: Operator) -> list[Layer]:
    """GroupNormalization; before version 21 it had one scale for each group."""
    shape, groups = o.shape(), o.get("num_groups")
    tensors = {name: o.array(i) for i, name in ((1, "weight"), (2, "bias"))}
    if o.opset < 21:
        tensors = {name: array.repeat(shape[1] // groups) for name, array in tensors.items()}
    arguments = {"num_groups": groups, "num_channels": shape[1], "eps": o.get("epsilon", 1e-5)}
    return [Layer("GroupNorm", arguments, shape, tensors)]


def layer_norm(o: Operator) -> list[Layer]:
    """LayerNormalization over the last axes."""
    shape, axis = o.shape(), o.axis(-1)
    if axis == 0:
        raise NoLayerError("normalises over the batch, too: LayerNorm normalises each sample")
    size = shape[axis:]
    bias = o.array(2) if o.has(2) else np.broadcast_to(np.float32(0), size)
    tensors = {"weight": np.broadcast_to(o.array(1), size), "bias": np.broadcast_to(bias, size)}
    return [Layer("LayerNorm", {"normalized_shape": size, "eps": o.get("epsilon", 1e-5)}, shape, tensors)]


def local_response_norm(o: Operator) -> list[Layer]:
    """LRN; for an even size ONNX puts the odd channel at the other side than LocalResponseNorm."""
    size = o.get("size")
    if size % 2 == 0:
        raise NoLayerError(f"has the even size {size}, for which ONNX and LocalResponseNorm take other neighbours")
    arguments = {"size": size, "alpha": o.get("alpha", 1e-4), "beta": o.get("beta", 0.75), "k": o.get("bias", 1.0)}
    return [Layer("LocalResponseNorm", arguments, o.shape())]


def softmax(o: Operator) -> list[Layer]:
    """Softmax and LogSoftmax. Before version 13 they took all axes from axis on together."""
    kind = "Softmax" if o.op == "Softmax" else "LogSoftmax"
    shape = o.shape()
    axis = o.axis(-1 if o.opset >= 13 else 1)
    if axis == 0:
        raise NoLayerError("runs over the batch")
    together = [a for a in range(axis, len(shape)) if shape[a] != 1]
    if o.opset >= 13 or len(together) <= 1:
        axis = together[0] if o.opset < 13 and together else axis
        return [Layer(kind, {"dim": axis - len(shape) if axis == len(shape) - 1 else axis}, shape)]
    flat = (*shape[:axis], math.prod(shape[axis:]))
    return [
        Layer("Reshape", {"shape": flat[1:]}, flat),
        Layer(kind, {"dim": -1}, flat),
        Layer("Reshape", {"shape": shape[1:]}, shape),
    ]


def prelu(o: Operator) -> list[Layer]:
    """PRelu with one slope, or one for each channel."""
    shape, slope = o.shape(), o.array(1)
    old = o.opset < 7 and slope.shape == shape[1:2]  # slopes were not broadcast to the right
    if slope.ndim > len(shape) or (slope.size != 1 and per_channel(slope, shape) is None and not old):
        raise NoLayerError(f"has slopes of shape {slope.shape}: PReLU has one, or one for each channel")
    return [Layer("PReLU", {"num_parameters": slope.size}, shape, {"weight": slope.reshape(-1)})]


def clip(o: Operator) -> list[Layer]:
    """Clip."""
    low, high = o.bounds()
    if not low < high:
        raise NoLayerError(f"clips to an interval from {low} to {high}, which is one number")
    if (low, high) == (0, math.inf):
        return [Layer("ReLU", {}, o.shape())]
    if (low, high) == (0, 6):
        return [Layer("ReLU6", {}, o.shape())]
    return [Layer("Hardtanh", {"min_val": low, "max_val": high}, o.shape())]


def selu(o: Operator) -> list[Layer]:
    """Selu; with other constants than the published ones, which are fixed in SELU, gamma times an ELU."""
    published = (1.6732632, 1.050701)
    alpha, gamma = o.get("alpha", published[0]), o.get("gamma", published[1])
    if np.allclose((alpha, gamma), published, rtol=1e-5):
        return [Layer("SELU", {}, o.shape())]
    return [Layer("ELU", {"alpha": alpha}, o.shape()), scaled(o.shape(), gamma)]


def hard_sigmoid(o: Operator) -> list[Layer]:
    """HardSigmoid, whose default slope is 0.2; that of Hardsigmoid is 1/6."""
    alpha, beta = o.get("alpha", 0.2), o.get("beta", 0.5)
    same = abs(alpha - 1 / 6) < 1e-6 and beta == 0.5
    return [Layer("Hardsigmoid", {} if same else {"alpha": alpha, "beta": beta}, o.shape())]


def swish(o: Operator) -> list[Layer]:
    """Swish with alpha 1, which is SiLU."""
    if o.get("alpha", 1.0) != 1:
        raise NoLayerError(f"has alpha {o.get('alpha')}: SiLU has 1")
    return [Layer("SiLU", {}, o.shape())]


def per_channel(constant: Array, shape: Shape) -> Array | None:
    """Return a constant as one number for each channel, if that is what it is beside an array of this shape."""
    if len(shape) < 2 or constant.ndim > len(shape):
        return None
    full = (1,) * (len(shape) - constant.ndim) + constant.shape
    channels = shape[1]
    if full[1] not in (1, channels) or math.prod(full) != full[1]:
        return None
    return np.broadcast_to(constant.reshape(-1), channels)


def arithmetic(o: Operator) -> list[Layer]:
    """Add, Sub, Mul and Div of a result and a constant: w x + b for each channel, as Affine."""
    constants = [i for i in range(2) if o.is_constant(i)]
    if len(o.values) != 2 or len(constants) != 1:
        raise NoLayerError("combines two results: there are layers that add, multiply and concatenate them")
    c, shape = o.array(constants[0]), o.shape(1 - constants[0])
    if c.dtype != np.float32:
        raise NoLayerError(f"computes with {c.dtype} numbers: export the model in float32")
    number, kind = per_channel(c, shape), "Affine"
    if number is None and len(shape) > 2 and c.shape[-1] == shape[-1] == c.size:
        number, kind = c.reshape(-1), "LastAffine"
    if number is None:
        raise NoLayerError(
            f"has a constant of shape {c.shape} beside {o.shown(shape)}: Affine has one for each channel"
        )
    if c.size == 1:
        number = np.broadcast_to(np.float32(scalar(c)), shape[1])
    one: Array = np.broadcast_to(np.float32(1), len(number))
    zero: Array = np.broadcast_to(np.float32(0), len(number))
    weight: Array
    bias: Array
    if o.op == "Add":
        weight, bias = one, number
    elif o.op == "Sub":
        weight, bias = (one, -number) if constants == [1] else (-one, number)
    elif o.op == "Mul" or constants == [1]:
        weight, bias = (number if o.op == "Mul" else np.float32(1) / number), zero
    else:
        raise NoLayerError("divides a constant by a result")
    tensors = {"weight": weight, "bias": bias}
    return [Layer(kind, {"num_features": len(number)}, shape, tensors, frozen=c.size == 1)]


def negative(o: Operator) -> list[Layer]:
    """Neg: times -1."""
    return [scaled(o.shape(), -1.0)]


def scaled(shape: Shape, factor: float) -> Layer:
    """Return a layer that multiplies by one number."""
    if len(shape) < 2:
        raise NoLayerError(f"multiplies {Operator.shown(shape)} by a number: Affine takes (N, C, ...)")
    weight = np.full(shape[1], factor, np.float32)
    return Layer("Affine", {"num_features": shape[1]}, shape, {"weight": weight, "bias": 0 * weight}, frozen=True)


def joined(o: Operator) -> list[Layer]:
    """Add and Sum, Sub, Mul, Div and Concat of several results; Div becomes part of a norm."""
    shapes = [o.shape(i) for i in range(len(o.values))]
    kind = {"Sum": "Add", "Mul": "Multiply", "Concat": "Concatenate"}.get(o.op, o.op)
    if kind == "Concatenate":
        axis, total = o.axis(1), list(shapes[0])
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if axis == 0 or len(others) > 1:
            raise NoLayerError(f"concatenates {' and '.join(map(o.shown, shapes))} along axis {axis}")
        total[axis] = sum(shape[axis] for shape in shapes)
        return [Layer(kind, {"axis": axis} if axis > 1 else {}, tuple(total))]
    same_axes = len(set(map(len, shapes))) == 1
    widest = tuple(map(max, zip(*shapes, strict=False)))
    fits = same_axes and all(n in (m, 1) for s in shapes for n, m in zip(s[1:], widest[1:], strict=True))
    if not fits or len({s[0] for s in shapes}) > 1 or (kind == "Add" and len(set(shapes)) > 1):
        raise NoLayerError(f"combines results of different shapes, {' and '.join(map(o.shown, shapes))}")
    return [Layer(kind, {}, widest)]


def padded_channels(o: Operator) -> list[Layer]:
    """Concat of a result with zeros, which adds channels: a 1 x 1 convolution that copies, frozen."""
    zeros = [i for i in range(len(o.values)) if o.is_constant(i)]
    if len(zeros) != len(o.values) - 1 or o.axis(1) != 1 or any(in_memory(o.array(i)).any() for i in zeros):
        raise NoLayerError("concatenates with constants: there is a layer only for zeros beside one result")
    (i,) = set(range(len(o.values))) - set(zeros)
    shape, before = o.shape(i), sum(o.shape(k)[1] for k in zeros if k < i)
    if len(shape) != 4:
        raise NoLayerError(f"adds zeros to {o.shown(shape)}: there is a layer only for images")
    total = before + shape[1] + sum(o.shape(k)[1] for k in zeros if k > i)
    if total * shape[1] > MOST_COPIED:
        raise NoLayerError(f"adds zeros up to {total:,} channels, more than a layer here has")
    weight = np.eye(total, shape[1], -before, np.float32).reshape(total, shape[1], 1, 1)
    arguments: dict[str, Any] = {"in_channels": shape[1], "out_channels": total, "kernel_size": 1, "bias": False}
    return [Layer("Conv2d", arguments, (shape[0], total, *shape[2:]), {"weight": weight}, frozen=True)]
