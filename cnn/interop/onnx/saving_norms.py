"""The ONNX operators of the layers that normalise; see saving_nodes.py."""

from typing import Any

import numpy as np

from cnn import layers
from cnn.interop.onnx.saving_writer import LayerWriter, Value, reshape


def batch_norm(w: LayerWriter, layer: Any, x: Value) -> str:
    """BatchNormalization with the running statistics; without them, `batch_statistics`."""
    if not layer.track_running_stats:
        return batch_statistics(w, layer, x)
    momentum = {} if layer.momentum is None else {"momentum": 1 - layer.momentum}  # the share of what was before
    mean, var = w.tensor("running_mean"), w.tensor("running_var")
    return w.node("BatchNormalization", x.name, *scale_and_shift(w, layer), mean, var, epsilon=layer.eps, **momentum)


def batch_statistics(w: LayerWriter, layer: Any, x: Value) -> str:
    """InstanceNormalization of the whole batch as one sample: (N, C, ...) -> (1, C, N ...), and back."""
    channels, others = layer.num_features, list(x.shape[1:])
    order = [1, 0, *range(2, len(x.shape) + 1)]
    y = w.node("Transpose", x.name, part="channels_first", perm=order)
    y = reshape(w, y, [1, channels, -1], part="one_sample")
    y = w.node("InstanceNormalization", y, *scale_and_shift(w, layer), part="norm", epsilon=layer.eps)
    y = reshape(w, y, [channels, -1, *others], part="samples")
    return w.node("Transpose", y, perm=order)


def group_norm(w: LayerWriter, layer: layers.GroupNorm, x: Value) -> str:
    """GroupNormalization, or with one channel in each group InstanceNormalization. Both need an axis of pixels."""
    y, is_row = x.name, len(x.shape) == 1
    if is_row:
        y = reshape(w, y, [0, layer.num_channels, 1], part="pixels")
    arguments: dict[str, Any] = {"epsilon": layer.eps, "part": "norm" if is_row else ""}
    if layer.num_groups == layer.num_channels:
        y = w.node("InstanceNormalization", y, *scale_and_shift(w, layer), **arguments)
    else:
        y = w.node("GroupNormalization", y, *scale_and_shift(w, layer), num_groups=layer.num_groups, **arguments)
    return w.node("Flatten", y, axis=1) if is_row else y


def layer_norm(w: LayerWriter, layer: layers.LayerNorm, x: Value) -> str:
    """LayerNormalization."""
    shape = layer.normalized_shape
    scale = w.constant("scale", np.ones(shape)) if layer.weight is None else w.tensor("weight")
    bias = [] if layer.bias is None else [w.tensor("bias")]
    return w.node("LayerNormalization", x.name, scale, *bias, axis=-len(shape), epsilon=layer.eps)


def scale_and_shift(w: LayerWriter, layer: Any) -> tuple[str, str]:
    """Return the weight and the bias of a norm, or ones and zeros if it has none."""
    if layer.weight is not None:
        return w.tensor("weight"), w.tensor("bias")
    channels = getattr(layer, "num_features", None) or layer.num_channels
    return w.constant("scale", np.ones(channels)), w.constant("shift", np.zeros(channels))


def affine(w: LayerWriter, layer: Any, x: Value) -> str:
    """Mul and Add of one number for each channel."""
    shape = (x.shape[0], *(1,) * (len(x.shape) - 1))
    return w.node("Add", w.node("Mul", x.name, w.tensor("weight", shape), part="scaled"), w.tensor("bias", shape))


def instance_norm(w: LayerWriter, layer: Any, x: Value) -> str:
    """InstanceNormalization, or BatchNormalization with running statistics."""
    if layer.track_running_stats:
        return batch_norm(w, layer, x)
    return w.node("InstanceNormalization", x.name, *scale_and_shift(w, layer), epsilon=layer.eps)


def local_response_norm(w: LayerWriter, layer: Any, x: Value) -> str:
    """LRN of images; of an even window, which ONNX aligns otherwise, and of other shapes its formula."""
    if layer.size % 2 and len(x.shape) == 3:
        return w.node("LRN", x.name, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
    distance = np.arange(x.shape[0]) - np.arange(x.shape[0])[:, None]
    neighbours = (-(layer.size // 2) <= distance) & (distance <= (layer.size - 1) // 2)
    y = w.node("Mul", x.name, x.name, part="squares")
    y = reshape(w, y, [0, x.shape[0], -1], part="rows")
    y = w.node("MatMul", w.constant("neighbours", neighbours * (layer.alpha / layer.size)), y, part="sums")
    y = reshape(w, y, [0, *x.shape], part="images")
    y = w.node("Add", y, w.constant("k", layer.k), part="strength")
    y = w.node("Pow", y, w.constant("beta", layer.beta), part="divisor")
    return w.node("Div", x.name, y)
