"""The ONNX operators of each layer and container: one function for each kind, and the table `FUNCTIONS`.

The operators and their arguments are those of https://onnx.ai/onnx/operators. Layers that do nothing in evaluation
mode, such as Dropout, are left out. Windows over images are in saving_windows.py, norms in saving_norms.py.
"""

from functools import partial
from typing import Any

import numpy as np

from cnn import layers
from cnn.containers.branches import Concat, Product, Residual, Sum
from cnn.containers.graph import INPUT, Graph
from cnn.containers.joins import Add, Concatenate, Join, Multiply
from cnn.interop.onnx import saving_norms as norms
from cnn.interop.onnx import saving_windows as windows
from cnn.interop.onnx.saving_writer import Function, LayerWriter, NotExpressible, Value, reshape
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


def prelu(w: LayerWriter, layer: layers.PReLU, x: Value) -> str:
    """PRelu, with one slope, or one for each channel."""
    shape = (layer.num_parameters, *(1,) * (len(x.shape) - 1)) if layer.num_parameters > 1 else (1,)
    return w.node("PRelu", x.name, w.tensor("weight", shape))


def hardsigmoid(w: LayerWriter, layer: layers.Hardsigmoid, x: Value) -> str:
    """HardSigmoid, whose slope is not ONNX's default."""
    return w.node("HardSigmoid", x.name, alpha=layer.alpha, beta=layer.beta)


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
        beta = w.constant("beta", layer.beta)
        scaled = w.node("Mul", x.name, beta, part="scaled")
        y = w.node("Div", w.node("Softplus", scaled, part="softplus"), beta)
    if layer.threshold >= 20:  # there the two differ by less than float32 holds
        return y
    is_linear = w.node("Greater", scaled, w.constant("threshold", layer.threshold), part="is_linear")
    return w.node("Where", is_linear, x.name, y)


def hardtanh(w: LayerWriter, layer: Any, x: Value) -> str:
    """Clip; a bound of infinity is left out."""
    bounds = {"min": layer.min_val, "max": layer.max_val}
    inputs = [w.constant(name, bound) if np.isfinite(bound) else "" for name, bound in bounds.items()]
    return w.node("Clip", x.name, *inputs) if any(inputs) else x.name


def channel_shuffle(w: LayerWriter, layer: Any, x: Value) -> str:
    """Reshape to a table of groups, Transpose, Reshape."""
    channels, *others = x.shape
    y = reshape(w, x.name, [0, layer.groups, channels // layer.groups, *others], part="groups")
    y = w.node("Transpose", y, part="mixed", perm=[0, 2, 1, *range(3, len(x.shape) + 2)])
    return reshape(w, y, [0, channels, *others])


def channel_slice(w: LayerWriter, layer: Any, x: Value) -> str:
    """Slice."""
    numbers = {"starts": layer.start, "ends": layer.stop, "axes": 1}
    return w.node("Slice", x.name, *(w.constant(name, np.array([n], np.int64)) for name, n in numbers.items()))


def permute(w: LayerWriter, layer: Any, x: Value) -> str:
    """Transpose."""
    return w.node("Transpose", x.name, perm=list(layer.dims))


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


def product_of_branches(w: LayerWriter, module: Any, x: Value) -> str:
    """Mul."""
    return multiply(w, module, branches(w, module, x))


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
    """Add."""
    return in_turn(w, "Add", xs)


def multiply(w: LayerWriter, join: Any, xs: list[Value]) -> str:
    """Mul."""
    return in_turn(w, "Mul", xs)


def in_turn(w: LayerWriter, op: str, xs: list[Value]) -> str:
    """One operator of two inputs less than there are inputs."""
    y = xs[0].name
    for i, x in enumerate(xs[1:], start=2):
        y = w.node(op, y, x.name, part="" if i == len(xs) else f"first_{i}")
    return y


def concatenate(w: LayerWriter, join: Any, xs: list[Value]) -> str:
    """Concat along the channels; nothing for a single input, which OpenCV 4.14 takes wrongly."""
    if len(xs) == 1:
        return xs[0].name
    return w.node("Concat", *(x.name for x in xs), axis=1)


FUNCTIONS: dict[type, Function] = {
    layers.AdaptiveAvgPool2d: windows.adaptive_avg_pool2d,
    layers.AdaptiveMaxPool2d: windows.adaptive_max_pool2d,
    layers.Affine: norms.affine,
    layers.AvgPool2d: windows.avg_pool2d,
    layers.BatchNorm1d: norms.batch_norm,
    layers.BatchNorm2d: norms.batch_norm,
    layers.CELU: partial(operator, "Celu", alpha="alpha"),
    layers.ChannelShuffle: channel_shuffle,
    layers.ChannelSlice: channel_slice,
    layers.ConstantPad2d: windows.pad_layer,
    layers.Conv2d: windows.conv2d,
    layers.ConvTranspose2d: windows.conv_transpose2d,
    layers.Dropout: nothing,
    layers.Dropout2d: nothing,
    layers.ELU: partial(operator, "Elu", alpha="alpha"),
    layers.Flatten: flatten,
    layers.GELU: partial(operator, "Gelu", approximate="approximate"),
    layers.GroupNorm: norms.group_norm,
    layers.Hardsigmoid: hardsigmoid,
    layers.Hardtanh: hardtanh,
    layers.Hardswish: partial(operator, "HardSwish"),
    layers.Identity: nothing,
    layers.InstanceNorm2d: norms.instance_norm,
    layers.LayerNorm: norms.layer_norm,
    layers.LeakyReLU: partial(operator, "LeakyRelu", alpha="negative_slope"),
    layers.Linear: linear,
    layers.LocalResponseNorm: norms.local_response_norm,
    layers.LogSoftmax: partial(operator, "LogSoftmax", axis="dim"),
    layers.MaxPool2d: windows.max_pool2d,
    layers.Mish: partial(operator, "Mish"),
    layers.PReLU: prelu,
    layers.Permute: permute,
    layers.PixelShuffle: windows.pixel_shuffle,
    layers.ReLU6: hardtanh,
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
    Multiply: multiply,
    Product: product_of_branches,
    Residual: sum_of_branches,
    Sequential: row,
    Sum: sum_of_branches,
}
