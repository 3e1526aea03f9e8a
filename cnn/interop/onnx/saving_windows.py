"""How layers whose windows slide over images, and those that pad or resize images, become ONNX operators.

All pads are written as numbers. Where ONNX has no operator for what a layer does, such as an adaptive pool whose
regions overlap, the rows and the columns of the images are multiplied by matrices, or gathered by index, which gives
the same numbers. The operators: https://onnx.ai/onnx/operators.
"""

from typing import Any

import numpy as np

from cnn.functional.windows import Pads, PadSides, WindowGeometry, regions
from cnn.interop.onnx.saving_writer import LayerWriter, Value
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    ConstantPad2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    PixelShuffle,
    ReflectionPad2d,
    ReplicationPad2d,
    Upsample,
)
from cnn.module import Array


def geometry_of(layer: Conv2d | MaxPool2d | AvgPool2d, x: Value) -> WindowGeometry:
    """Return how a layer's window moves over its input."""
    depends_on_size = layer.padding == "same" and layer.stride != (1, 1)
    return layer.geometry(*(x.shape[1:] if depends_on_size else ()))


def in_order(pads: Pads) -> list[int]:
    """Return pads as ONNX orders them: top, left, bottom, right."""
    (top, bottom), (left, right) = pads
    return [top, left, bottom, right]


def conv2d(w: LayerWriter, layer: Conv2d, x: Value) -> str:
    """Conv."""
    geometry = geometry_of(layer, x)
    return w.node(
        "Conv",
        x.name,
        w.tensor("weight"),
        *([] if layer.bias is None else [w.tensor("bias")]),
        kernel_shape=geometry.size,
        strides=geometry.stride,
        dilations=geometry.dilation,
        pads=in_order(geometry.pads),
        group=layer.groups,
    )


def conv_transpose2d(w: LayerWriter, layer: ConvTranspose2d, x: Value) -> str:
    """ConvTranspose. onnxruntime refuses an output_padding that is not below the stride: then Pad, and Add the bias."""
    size, stride, dilation, ((top, bottom), (left, right)) = layer.geometry()  # bottom and right less output_padding
    rows, columns = layer.output_padding
    arguments: dict[str, Any] = {"kernel_shape": size, "strides": stride, "dilations": dilation, "group": layer.groups}
    weight = w.tensor("weight")
    if rows < stride[0] and columns < stride[1]:
        bias = [] if layer.bias is None else [w.tensor("bias")]
        pads = [top, left, bottom + rows, right + columns]
        return w.node("ConvTranspose", x.name, weight, *bias, pads=pads, output_padding=(rows, columns), **arguments)
    pads = [top, left, max(0, bottom), max(0, right)]
    y = w.node("ConvTranspose", x.name, weight, part="conv", pads=pads, **arguments)
    y = pad(w, y, (0, max(0, -right), 0, max(0, -bottom)))
    if layer.bias is None:
        return y
    return w.node("Add", y, w.tensor("bias", (layer.out_channels, 1, 1)))


def max_pool2d(w: LayerWriter, layer: MaxPool2d, x: Value) -> str:
    """MaxPool. A window that ceil_mode adds is written as more padding, because runtimes disagree about ceil_mode."""
    geometry, y = geometry_of(layer, x), x.name
    pads = covered(geometry, x, layer.ceil_mode)
    if any(max(both) >= k for both, k in zip(pads, geometry.size, strict=True)):  # more than MaxPool takes
        y, pads = pad(w, y, (*pads[1], *pads[0]), value=-np.inf), ((0, 0), (0, 0))
    return w.node(
        "MaxPool",
        y,
        kernel_shape=geometry.size,
        strides=geometry.stride,
        dilations=geometry.dilation,
        pads=in_order(pads),
    )


def avg_pool2d(w: LayerWriter, layer: AvgPool2d, x: Value) -> str:
    """AveragePool, whose mean leaves out its padding. Zeros that count in the mean are a Pad in front of it."""
    geometry, y = geometry_of(layer, x), x.name
    pads = covered(geometry, x, layer.ceil_mode)
    if layer.count_include_pad and geometry.pads != ((0, 0), (0, 0)):
        y = pad(w, y, (*geometry.pads[1], *geometry.pads[0]))
        beyond = [max(0, needed[1] - given[1]) for needed, given in zip(pads, geometry.pads, strict=True)]
        pads = ((0, beyond[0]), (0, beyond[1]))
    return average_pool(w, y, geometry.size, geometry.stride, pads)


def average_pool(w: LayerWriter, x: str, size: tuple[int, int], stride: tuple[int, int], pads: Pads) -> str:
    """AveragePool, whose mean leaves out the padding."""
    return w.node(
        "AveragePool", x, kernel_shape=size, strides=stride, pads=in_order(pads), count_include_pad=0, ceil_mode=0
    )


def covered(geometry: WindowGeometry, x: Value, ceil_mode: bool) -> Pads:
    """Return the padding of a pool; with ceil_mode, what its last windows need."""
    if not ceil_mode:
        return geometry.pads
    height, width = x.shape[1:]
    return geometry.needed_padding(geometry.output_size(height, width, ceil_mode), height, width)


def adaptive_avg_pool2d(w: LayerWriter, layer: AdaptiveAvgPool2d, x: Value) -> str:
    """GlobalAveragePool or AveragePool, or where the regions differ in size, matrices of shares."""
    (height, width), sizes = x.shape[1:], adaptive_sizes(layer, x)
    if sizes == (1, 1):
        return w.node("GlobalAveragePool", x.name)
    if height % sizes[0] == width % sizes[1] == 0:
        size = (height // sizes[0], width // sizes[1])
        return average_pool(w, x.name, size, size, ((0, 0), (0, 0)))
    rows, columns = (shares(pixels, count) for pixels, count in zip((height, width), sizes, strict=True))
    return multiplied(w, x.name, rows, columns)


def shares(pixels: int, count: int) -> Array:
    """Return how much of each pixel goes into the mean of each region: (count, pixels)."""
    matrix = np.zeros((count, pixels))
    for i, region in enumerate(regions(pixels, count)):
        matrix[i, region] = 1 / (region.stop - region.start)
    return matrix


def adaptive_max_pool2d(w: LayerWriter, layer: AdaptiveMaxPool2d, x: Value) -> str:
    """GlobalMaxPool or MaxPool. Where regions differ in size, a Gather first repeats the last pixel of the smaller."""
    (height, width), sizes = x.shape[1:], adaptive_sizes(layer, x)
    if sizes == (1, 1):
        return w.node("GlobalMaxPool", x.name)
    y, window = x.name, []
    for axis, pixels, count in zip((2, 3), (height, width), sizes, strict=True):
        parts = [np.arange(region.start, region.stop) for region in regions(pixels, count)]
        longest = max(map(len, parts))
        index = np.concatenate([np.pad(part, (0, longest - len(part)), mode="edge") for part in parts])
        y = gathered(w, y, index, axis, pixels)
        window.append(longest)
    return w.node("MaxPool", y, kernel_shape=window, strides=window)


def adaptive_sizes(layer: AdaptiveAvgPool2d | AdaptiveMaxPool2d, x: Value) -> tuple[int, int]:
    """Return height and width of the output."""
    return layer.output_size[0] or x.shape[1], layer.output_size[1] or x.shape[2]


def multiplied(w: LayerWriter, x: str, rows: Array, columns: Array) -> str:
    """Multiply the rows of images by one matrix, (OH, H), and their columns by the other, (OW, W)."""
    if not is_identity(rows):
        x = w.node("MatMul", w.constant("row_weights", rows), x, part="rows")
    if not is_identity(columns):
        x = w.node("MatMul", x, w.constant("column_weights", columns.T), part="columns")
    return x


def is_identity(matrix: Array) -> bool:
    """Whether a product with this matrix changes nothing."""
    return np.array_equal(matrix, np.eye(matrix.shape[1]))


def gathered(w: LayerWriter, x: str, index: Array, axis: int, pixels: int) -> str:
    """Copy the rows (axis 2) or columns (axis 3) of images with these numbers."""
    if np.array_equal(index, np.arange(pixels)):
        return x
    part = "rows" if axis == 2 else "columns"
    return w.node("Gather", x, w.constant(f"{part}_index", index.astype(np.int64)), part=part, axis=axis)


def pad(w: LayerWriter, x: str, sides: PadSides, mode: str = "constant", value: float = 0.0) -> str:
    """Pad, with sides as (left, right, top, bottom)."""
    left, right, top, bottom = sides
    inputs = [w.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))]
    if mode == "constant":
        inputs.append(w.constant("value", np.float32(value)))
    return w.node("Pad", x, *inputs, part="pad", mode=mode)


def pad_layer(w: LayerWriter, layer: ConstantPad2d | ReflectionPad2d | ReplicationPad2d, x: Value) -> str:
    """Pad, and for negative sides, which crop, a Slice."""
    y = x.name
    if max(layer.padding) > 0:
        left, right, top, bottom = (max(0, side) for side in layer.padding)
        sides = (left, right, top, bottom)
        if isinstance(layer, ConstantPad2d):
            y = pad(w, y, sides, value=layer.value)
        else:
            y = pad(w, y, sides, mode="reflect" if isinstance(layer, ReflectionPad2d) else "edge")
    if min(layer.padding) >= 0:
        return y
    left, right, top, bottom = layer.padding
    starts = [max(0, -top), max(0, -left)]
    ends = [x.shape[1] + bottom + max(0, top), x.shape[2] + right + max(0, left)]
    names = ("starts", starts), ("ends", ends), ("axes", [2, 3])
    return w.node("Slice", y, *(w.constant(name, np.array(numbers, np.int64)) for name, numbers in names))


def pixel_shuffle(w: LayerWriter, layer: PixelShuffle, x: Value) -> str:
    """DepthToSpace."""
    return w.node("DepthToSpace", x.name, blocksize=layer.upscale_factor, mode="CRD")


def upsample(w: LayerWriter, layer: Upsample, x: Value) -> str:
    """Resize, where its scale is exact in float32, or else the layer's own numbers: a Gather, or matrices."""
    height, width = x.shape[1:]
    taps = layer.taps(0, height), layer.taps(1, width)
    counts = [index.shape[1] for index, _ in taps]
    if layer.mode != "bilinear":
        if layer.mode == "nearest" and counts[0] % height == counts[1] % width == 0:
            return resize(w, x, counts, mode="nearest", rule="asymmetric", nearest_mode="floor")
        y = gathered(w, x.name, taps[0][0][0], 2, height)
        return gathered(w, y, taps[1][0][0], 3, width)
    is_exact = all(float(np.float32(n / m)) * m == n for n, m in zip(counts, (height, width), strict=True))
    given = layer.scale_factor or tuple(n / m for n, m in zip(counts, (height, width), strict=True))
    if is_exact and min(counts) > 1 and [height * given[0], width * given[1]] == counts:
        rule = "asymmetric" if getattr(layer, "asymmetric", False) else "pytorch_half_pixel"
        return resize(w, x, counts, mode="linear", rule="align_corners" if layer.align_corners else rule)
    rows, columns = (as_matrix(*each, pixels) for each, pixels in zip(taps, (height, width), strict=True))
    return multiplied(w, x.name, rows, columns)


def resize(w: LayerWriter, x: Value, counts: list[int], rule: str, **arguments: str) -> str:
    """Resize images to these heights and widths."""
    scales = np.array([1, 1, counts[0] / x.shape[1], counts[1] / x.shape[2]], np.float32)
    return w.node("Resize", x.name, "", w.constant("scales", scales), coordinate_transformation_mode=rule, **arguments)


def as_matrix(index: Array, weights: Array, pixels: int) -> Array:
    """Write the taps of an interpolation as a matrix: (taps, count) twice -> (count, pixels)."""
    matrix = np.zeros((index.shape[1], pixels))
    for source, weight in zip(index, weights, strict=True):
        np.add.at(matrix, (np.arange(len(source)), source), weight)
    return matrix
