"""How layers whose windows slide over images, and those that pad or resize images, become ONNX operators.

All pads are written as numbers. Where ONNX has no operator for what a layer does, such as an adaptive pool with regions
of different sizes, the rows and the columns of the images are multiplied by matrices, which gives the same numbers. The
operators: https://onnx.ai/onnx/operators.
"""

from typing import Any

import numpy as np

from cnn.functional.padding import Pads
from cnn.functional.windows import PadSides, WindowGeometry, regions
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


def in_order(pads: Pads) -> list[int]:
    """Return pads as ONNX orders them: top, left, bottom, right."""
    (top, bottom), (left, right) = pads
    return [top, left, bottom, right]


def conv2d(w: LayerWriter, layer: Conv2d, x: Value) -> str:
    """Conv."""
    geometry = layer.geometry(*x.shape[1:])
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
    geometry, y = layer.geometry(*x.shape[1:]), x.name
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
    geometry, y = layer.geometry(*x.shape[1:]), x.name
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
    """GlobalAveragePool or AveragePool; where the regions are not regular, products with the shares of the pixels."""
    parts = adaptive_regions(layer, x)
    if len(parts[0]) == len(parts[1]) == 1:
        return w.node("GlobalAveragePool", x.name)
    windows = [regular_window(regions_of_axis) for regions_of_axis in parts]
    if None not in windows:
        (height, down), (width, across) = (window or (0, 0) for window in windows)
        return average_pool(w, x.name, (height, width), (down, across), ((0, 0), (0, 0)))
    shares = [np.zeros((len(part), pixels)) for part, pixels in zip(parts, x.shape[1:], strict=True)]
    for matrix, part in zip(shares, parts, strict=True):
        for i, region in enumerate(part):
            matrix[i, region] = 1 / (region.stop - region.start)
    return multiplied(w, x.name, *shares)


def adaptive_max_pool2d(w: LayerWriter, layer: AdaptiveMaxPool2d, x: Value) -> str:
    """GlobalMaxPool or MaxPool. Where the regions are not regular, their pixels are first copied next to each other."""
    parts = adaptive_regions(layer, x)
    if len(parts[0]) == len(parts[1]) == 1:
        return w.node("GlobalMaxPool", x.name)
    copies, windows = [], []
    for part, pixels in zip(parts, x.shape[1:], strict=True):
        longest = max(region.stop - region.start for region in part)
        each = [np.minimum(np.arange(longest) + region.start, region.stop - 1) for region in part]  # repeats the last
        window = regular_window(part)
        copies.append(np.eye(pixels) if window else np.eye(pixels)[np.concatenate(each)])
        windows.append(window or (longest, longest))
    sizes, strides = zip(*windows, strict=True)
    return w.node("MaxPool", multiplied(w, x.name, *copies), kernel_shape=sizes, strides=strides)


def adaptive_regions(layer: AdaptiveAvgPool2d | AdaptiveMaxPool2d, x: Value) -> list[list[slice]]:
    """Return the regions of rows, and those of columns."""
    return [regions(n, size or n) for n, size in zip(x.shape[1:], layer.output_size, strict=True)]


def regular_window(part: list[slice]) -> tuple[int, int] | None:
    """Return length and distance of the regions if all have the same."""
    size = part[0].stop
    step = part[1].start if len(part) > 1 else size
    is_regular = step > 0 and part == [slice(i * step, i * step + size) for i in range(len(part))]
    return (size, step) if is_regular else None


def multiplied(w: LayerWriter, x: str, rows: Array, columns: Array) -> str:
    """Multiply the rows of images by one matrix, (OH, H), and their columns by the other, (OW, W).

    A constant is always the second factor, as in a Linear layer.
    """
    if not is_identity(columns):
        x = w.node("MatMul", x, w.constant("column_weights", columns.T), part="columns")
    if is_identity(rows):
        return x
    x = w.node("Transpose", x, part="columns_first", perm=[0, 1, 3, 2])
    x = w.node("MatMul", x, w.constant("row_weights", rows.T), part="rows")
    return w.node("Transpose", x, part="rows_first", perm=[0, 1, 3, 2])


def is_identity(matrix: Array) -> bool:
    """Whether a product with this matrix changes nothing."""
    return np.array_equal(matrix, np.eye(matrix.shape[1]))


def pad(w: LayerWriter, x: str, sides: PadSides, mode: str = "constant", value: float = 0.0) -> str:
    """Pad, with sides as (left, right, top, bottom)."""
    left, right, top, bottom = sides
    inputs = [w.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))]
    if mode == "constant":
        inputs.append(w.constant("value", value))
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
    """Resize, where it gives the layer's numbers in every runtime; or else products with the layer's own weights."""
    taps = [layer.taps(axis, pixels) for axis, pixels in enumerate(x.shape[1:])]
    scales = [resize_scale(layer, axis, pixels) for axis, pixels in enumerate(x.shape[1:])]
    if None in scales:
        return multiplied(w, x.name, *(as_matrix(*each, n) for each, n in zip(taps, x.shape[1:], strict=True)))
    arguments = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if layer.mode == "bilinear":
        rule = "asymmetric" if layer.asymmetric else "pytorch_half_pixel"
        rule = "align_corners" if layer.align_corners else rule
        arguments = {"mode": "linear", "coordinate_transformation_mode": rule}
    return w.node("Resize", x.name, "", w.constant("scales", np.array([1, 1, *scales], np.float32)), **arguments)


def resize_scale(layer: Upsample, axis: int, pixels: int) -> float | None:
    """Return the scale along an axis with which Resize gives the layer's numbers; None if there is none.

    Resize makes floor(pixels scale) pixels, in float32. A scale that was given to the layer must not have been rounded
    there, because runtimes disagree whether the scale or the two sizes count. Output pixel i of "nearest" copies
    floor(i / scale).
    """
    index = layer.taps(axis, pixels)[0][0]
    count = len(index)
    given = None if layer.scale_factor is None else layer.scale_factor[axis]
    scale = np.float32(count / pixels)
    if pixels * float(scale) < count:
        scale = np.nextafter(scale, np.float32(np.inf))
    if given is not None and count != pixels and abs(pixels * given - count) > 1e-6:
        return None
    if layer.mode == "bilinear":
        return None if count == 1 else float(scale)
    copied = np.floor(np.arange(count, dtype=np.float32) / scale).clip(0, pixels - 1)
    return float(scale) if layer.mode == "nearest" and np.array_equal(copied, index) else None


def as_matrix(index: Array, weights: Array, pixels: int) -> Array:
    """Write the taps of an interpolation as a matrix: (taps, count) twice -> (count, pixels)."""
    matrix = np.zeros((index.shape[1], pixels))
    for source, weight in zip(index, weights, strict=True):
        np.add.at(matrix, (np.arange(len(source)), source), weight)
    return matrix
