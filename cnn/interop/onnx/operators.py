"""Which function turns an operator into layers."""

from collections.abc import Callable
from typing import Any

from cnn.interop.onnx import operators_numbers as numbers
from cnn.interop.onnx import operators_resize as resize
from cnn.interop.onnx import operators_windows as windows
from cnn.interop.onnx.folding import scalar
from cnn.interop.onnx.parts import BATCH, Layer, NoLayerError, Operator
from cnn.interop.onnx.patterns_nodes import NORM_OF_BATCH


def activation(kind: str, **arguments: tuple[str, Any]) -> Callable[[Operator], list[Layer]]:
    """Return a function for an activation: each argument of its layer is that of ONNX, with ONNX's default."""
    return lambda o: [Layer(kind, {ours: o.get(*theirs) for ours, theirs in arguments.items()}, o.shape())]


def nothing(o: Operator) -> list[Layer]:
    """Identity, and Dropout, which does nothing in evaluation mode."""
    return []


def reshape(o: Operator) -> list[Layer]:
    """Reshape, Flatten, Squeeze and Unsqueeze of each sample."""
    shape = o.new_shape()
    if shape[:1] != (BATCH,) or BATCH in shape[1:] or len(shape) < 2:
        raise NoLayerError(f"turns {o.shown(o.shape())} into {o.shown(shape)}: layers keep the batch axis first")
    return [Layer("Reshape", {"shape": shape[1:]}, shape)]


def transpose(o: Operator) -> list[Layer]:
    """Transpose of the axes of each sample."""
    shape = o.shape()
    dims = tuple(o.get("perm", range(len(shape))[::-1]))
    if dims[:1] != (0,) or sorted(dims) != list(range(len(shape))):
        raise NoLayerError(
            f"puts the axes in the order {dims}, which mixes the images of a batch, as a norm without running "
            "statistics does: layers keep the batch axis first"
        )
    return [Layer("Permute", {"dims": dims}, tuple(shape[a] for a in dims))]


def slices(o: Operator) -> list[Layer]:
    """Slice of channels, and of height and width, which is padding by less than nothing."""
    found, shape = [], list(o.shape())
    crop = {2: (0, 0), 3: (0, 0)}
    for axis, start, stop, step in o.slices():
        pixels = shape[axis]
        start, stop, _ = slice(start, stop, step).indices(pixels)
        if (start, stop, step) == (0, pixels, 1):
            continue
        if step != 1 or axis == 0 or stop <= start or (axis > 1 and len(shape) != 4):
            raise NoLayerError(f"takes {start}:{stop}:{step} of axis {axis} of {o.shown(shape)}: there are layers for "
                              "neighbouring channels, rows and columns")  # fmt: skip
        shape[axis] = stop - start
        if axis == 1:
            found.append(Layer("ChannelSlice", {"start": start, "stop": stop}, tuple(shape)))
        else:
            crop[axis] = (-start, stop - pixels)
    if any(crop[2] + crop[3]):
        found.append(Layer("ZeroPad2d", {"padding": (*crop[3], *crop[2])}, tuple(shape)))
    return found


def split(o: Operator) -> list[list[Layer]]:
    """Split of channels: one slice for each output."""
    shape, axis = o.shape(), o.axis(0)
    sizes = o.option("split", 1, 13)
    count = len(o.node.outputs)
    if sizes is None:
        each = -(-shape[axis] // count)
        sizes = [min(each, shape[axis] - i * each) for i in range(count)]
    if axis != 1 or sum(map(int, sizes)) != shape[1] or len(sizes) != count:
        raise NoLayerError(f"splits axis {axis} of {o.shown(shape)}: there is a layer for channels, axis 1")
    found, start = [], 0
    for size in map(int, sizes):
        after = (shape[0], size, *shape[2:])
        found.append([Layer("ChannelSlice", {"start": start, "stop": start + size}, after)])
        start += size
    return found


def combined(o: Operator) -> list[Layer]:
    """Add, Sub, Mul, Div, Sum and Concat: of several results a join, of a result and a constant a layer."""
    if not any(o.is_constant(i) for i in range(len(o.values))):
        return numbers.joined(o) if len(o.values) > 1 else []
    return numbers.padded_channels(o) if o.op == "Concat" else numbers.arithmetic(o)


def power(o: Operator) -> list[Layer]:
    """Pow with one constant exponent, which becomes a square or part of a norm."""
    exponent = o.array(1)
    if exponent.size != 1:
        raise NoLayerError(f"has exponents of shape {exponent.shape}: there are layers for one number")
    return [Layer("Pow", {"exponent": scalar(exponent)}, o.shape())]


def greater(o: Operator) -> list[Layer]:
    """Greater than a constant, which becomes part of a Softplus."""
    if not o.is_constant(1) or o.array(1).size != 1:
        raise NoLayerError("compares results of the images: there is no layer for it, export the model without it")
    return [Layer("Greater", {"threshold": scalar(o.array(1))}, o.shape())]


def where(o: Operator) -> list[Layer]:
    """Where, which becomes part of a Softplus."""
    shapes = [o.shape(i) for i in range(3)]
    if any(o.is_constant(i) for i in range(3)) or len(set(shapes)) > 1:
        raise NoLayerError(
            "chooses where it depends on the images: there is no layer for it, export the model without it"
        )
    return [Layer("Where", {}, shapes[0])]


def only_in_patterns(o: Operator) -> list[Layer]:
    """Abs, Erf and Sqrt, which become a layer together with their neighbours, such as GELU, or not at all."""
    return [Layer(o.op, {}, o.shape())]


OPERATORS: dict[str, Callable[[Operator], Any]] = {
    "Abs": only_in_patterns,
    "Add": combined,
    "AveragePool": windows.pool,
    "BatchNormalization": numbers.batch_norm,
    "Celu": activation("CELU", alpha=("alpha", 1.0)),
    "Clip": numbers.clip,
    "Concat": combined,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "DepthToSpace": windows.depth_to_space,
    "Div": combined,
    "Dropout": nothing,
    "Elu": activation("ELU", alpha=("alpha", 1.0)),
    "Erf": only_in_patterns,
    "Flatten": reshape,
    "Gelu": activation("GELU", approximate=("approximate", "none")),
    "Gemm": numbers.gemm,
    "GlobalAveragePool": windows.global_pool,
    "GlobalMaxPool": windows.global_pool,
    "Greater": greater,
    "GroupNormalization": numbers.group_norm,
    "HardSigmoid": numbers.hard_sigmoid,
    "HardSwish": activation("Hardswish"),
    "Identity": nothing,
    "InstanceNormalization": numbers.instance_norm,
    "LRN": numbers.local_response_norm,
    "LayerNormalization": numbers.layer_norm,
    "LeakyRelu": activation("LeakyReLU", negative_slope=("alpha", 0.01)),
    "LogSoftmax": numbers.softmax,
    "MatMul": numbers.matmul,
    "MaxPool": windows.pool,
    "Mish": activation("Mish"),
    "Mul": combined,
    NORM_OF_BATCH: numbers.norm_of_batch,
    "Neg": numbers.negative,
    "PRelu": numbers.prelu,
    "Pad": windows.pad,
    "Pow": power,
    "ReduceMax": windows.reduce,
    "ReduceMean": windows.reduce,
    "Relu": activation("ReLU"),
    "Reshape": reshape,
    "Resize": resize.resize,
    "Selu": numbers.selu,
    "Sigmoid": activation("Sigmoid"),
    "Slice": slices,
    "Softmax": numbers.softmax,
    "Softplus": activation("Softplus"),
    "Softsign": activation("Softsign"),
    "SpaceToDepth": windows.space_to_depth,
    "Split": split,
    "Sqrt": only_in_patterns,
    "Squeeze": reshape,
    "Sub": combined,
    "Sum": combined,
    "Swish": numbers.swish,
    "Tanh": activation("Tanh"),
    "Transpose": transpose,
    "Unsqueeze": reshape,
    "Upsample": resize.resize,
    "Where": where,
}
