"""The ONNX operators of each layer and container: one function for each kind, and the table `FUNCTIONS`.

The operators and their arguments are those of https://onnx.ai/onnx/operators. Layers that do nothing in evaluation
mode, such as Dropout, are left out. Windows over images are in windows.py.
"""

from functools import partial
from typing import Any

import numpy as np

from cnn import layers
from cnn.containers.branches import Concat, Residual, Sum
from cnn.containers.graph import INPUT, Graph
from cnn.containers.joins import Add, Concatenate, Join
from cnn.interop.onnx import windows
from cnn.interop.onnx.writer import Function, LayerWriter, NotExpressible, Value
from cnn.sequential import Sequential

# Layers without windows


def nothing(w: LayerWriter, layer: Any, x: Value) -> str:
    """No operator: in evaluation mode the output is the input."""
    return x.name


def operator(op: str, w: LayerWriter, layer: Any, x: Value, **arguments: str) -> str:
    """One operator; ``arguments`` names for each of its arguments the attribute of the layer."""
    return w.node(op, x.name, **{name: getattr(layer, attribute) for name, attribute in arguments.items()})


def linear(w: LayerWriter, layer: layers.Linear, x: Value) -> str:
    """Gemm; for more than one axis of features MatMul and Add."""
    weight, bias = w.tensor("weight"), [] if layer.bias is None else [w.tensor("bias")]
    if len(x.shape) == 1:
        return w.node("Gemm", x.name, weight, *bias, transB=1)
    y = w.node("Transpose", weight, part="transposed", perm=[1, 0])
    y = w.node("MatMul", x.name, y, part="product" if bias else "")
    return w.node("Add", y, *bias) if bias else y


def flatten(w: LayerWriter, layer: layers.Flatten, x: Value) -> str:
    """Flatten."""
    return w.node("Flatten", x.name, axis=1)


def unflatten(w: LayerWriter, layer: layers.Unflatten, x: Value) -> str:
    """Reshape; a 0 in its shape keeps the batch axis."""
    if layer.dim % (len(x.shape) + 1) == 0:
        raise NotExpressible(f"dim={layer.dim} splits the batch axis, whose length an ONNX file leaves open: use dim=1")
    return reshape(w, x.name, [0, *layer.shape((1, *x.shape))[1:]])


def reshape(w: LayerWriter, x: str, shape: list[int], part: str = "") -> str:
    """Reshape."""
    return w.node("Reshape", x, w.constant(f"{part or 'new'}_shape", np.array(shape, np.int64)), part=part)


def prelu(w: LayerWriter, layer: layers.PReLU, x: Value) -> str:
    """PRelu, with one slope, or one for each channel."""
    shape = (layer.num_parameters, *(1,) * (len(x.shape) - 1)) if layer.num_parameters > 1 else (1,)
    return w.node("PRelu", x.name, w.tensor("weight", shape))


def hardsigmoid(w: LayerWriter, layer: layers.Hardsigmoid, x: Value) -> str:
    """HardSigmoid, whose slope is not ONNX's default."""
    return w.node("HardSigmoid", x.name, alpha=getattr(layer, "alpha", 1 / 6), beta=getattr(layer, "beta", 0.5))


def silu(w: LayerWriter, layer: layers.SiLU, x: Value) -> str:
    """Sigmoid and Mul."""
    return w.node("Mul", x.name, w.node("Sigmoid", x.name, part="gate"))


def selu(w: LayerWriter, layer: layers.SELU, x: Value) -> str:
    """Selu."""
    return w.node("Selu", x.name, alpha=layer.alpha, gamma=layer.scale)


def softplus(w: LayerWriter, layer: layers.Softplus, x: Value) -> str:
    """Softplus between Mul and Div by beta, and Where for a threshold that is low enough to make a difference."""
    if layer.beta == 1:
        scaled, y = x.name, w.node("Softplus", x.name)
    else:
        beta = w.constant("beta", np.float32(layer.beta))
        scaled = w.node("Mul", x.name, beta, part="scaled")
        y = w.node("Div", w.node("Softplus", scaled, part="softplus"), beta)
    if layer.threshold >= 20:  # there the two differ by less than float32 holds
        return y
    is_linear = w.node("Greater", scaled, w.constant("threshold", np.float32(layer.threshold)), part="is_linear")
    return w.node("Where", is_linear, x.name, y)


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


# Containers


def row(w: LayerWriter, module: Sequential, x: Value) -> str:
    """Layers in a row."""
    for name, child in module.children().items():
        x = w.child(name, child, x)
    return x.name


def branches(w: LayerWriter, module: Any, x: Value) -> list[Value]:
    """Several modules that read the same input."""
    return [w.child(name, child, x) for name, child in module.children().items()]


def sum_of_branches(w: LayerWriter, module: Sum, x: Value) -> str:
    """Add."""
    return add(w, module, branches(w, module, x))


def concat_of_branches(w: LayerWriter, module: Concat, x: Value) -> str:
    """Concat."""
    return concatenate(w, module, branches(w, module, x))


def graph(w: LayerWriter, module: Graph, x: Value) -> str:
    """The nodes of a Graph, which has one output; `cnn.interop.onnx.save` writes a model with several."""
    return graph_values(w, module, x)[str(module.outputs)].name


def graph_values(w: LayerWriter, module: Graph, x: Value) -> dict[str, Value]:
    """Write the nodes of a Graph; return the output of each."""
    values = {INPUT: x}
    for name, child, inputs in module.nodes:
        read = [values[each] for each in inputs]
        values[name] = w.child(name, child, read if isinstance(child, Join) else read[0])
    return values


def add(w: LayerWriter, join: Any, xs: list[Value]) -> str:
    """One Add less than there are inputs."""
    y = xs[0].name
    for i, x in enumerate(xs[1:], start=2):
        y = w.node("Add", y, x.name, part="" if i == len(xs) else f"first_{i}")
    return y


def concatenate(w: LayerWriter, join: Any, xs: list[Value]) -> str:
    """Concat along the channels; nothing for a single input, which OpenCV 4.14 takes wrongly."""
    if len(xs) == 1:
        return xs[0].name
    return w.node("Concat", *(x.name for x in xs), axis=1)


FUNCTIONS: dict[type, Function] = {
    layers.AdaptiveAvgPool2d: windows.adaptive_avg_pool2d,
    layers.AdaptiveMaxPool2d: windows.adaptive_max_pool2d,
    layers.AvgPool2d: windows.avg_pool2d,
    layers.BatchNorm1d: batch_norm,
    layers.BatchNorm2d: batch_norm,
    layers.CELU: partial(operator, "Celu", alpha="alpha"),
    layers.ConstantPad2d: windows.pad_layer,
    layers.Conv2d: windows.conv2d,
    layers.ConvTranspose2d: windows.conv_transpose2d,
    layers.Dropout: nothing,
    layers.Dropout2d: nothing,
    layers.ELU: partial(operator, "Elu", alpha="alpha"),
    layers.Flatten: flatten,
    layers.GELU: partial(operator, "Gelu", approximate="approximate"),
    layers.GroupNorm: group_norm,
    layers.Hardsigmoid: hardsigmoid,
    layers.Hardswish: partial(operator, "HardSwish"),
    layers.Identity: nothing,
    layers.LayerNorm: layer_norm,
    layers.LeakyReLU: partial(operator, "LeakyRelu", alpha="negative_slope"),
    layers.Linear: linear,
    layers.LogSoftmax: partial(operator, "LogSoftmax", axis="dim"),
    layers.MaxPool2d: windows.max_pool2d,
    layers.Mish: partial(operator, "Mish"),
    layers.PReLU: prelu,
    layers.PixelShuffle: windows.pixel_shuffle,
    layers.ReLU: partial(operator, "Relu"),
    layers.ReflectionPad2d: windows.pad_layer,
    layers.ReplicationPad2d: windows.pad_layer,
    layers.SELU: selu,
    layers.SiLU: silu,
    layers.Sigmoid: partial(operator, "Sigmoid"),
    layers.Softmax: partial(operator, "Softmax", axis="dim"),
    layers.Softplus: softplus,
    layers.Softsign: partial(operator, "Softsign"),
    layers.Tanh: partial(operator, "Tanh"),
    layers.Unflatten: unflatten,
    layers.Upsample: windows.upsample,
    layers.ZeroPad2d: windows.pad_layer,
    Add: add,
    Concat: concat_of_branches,
    Concatenate: concatenate,
    Graph: graph,
    Residual: sum_of_branches,
    Sequential: row,
    Sum: sum_of_branches,
}
