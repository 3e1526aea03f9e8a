"""Receptive fields: which pixels of the image each pixel of a layer's output can depend on."""

from typing import NamedTuple

from cnn.containers.branches import Concat, Product, Sum
from cnn.containers.joins import Join
from cnn.core.checks import Pair
from cnn.explore.walk import Node
from cnn.functional.elementwise import Elementwise
from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    Affine,
    AvgPool2d,
    ChannelShuffle,
    ChannelSlice,
    ConstantPad2d,
    Conv2d,
    Dropout,
    Dropout2d,
    Flatten,
    GroupNorm,
    Identity,
    InstanceNorm2d,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool2d,
    PReLU,
    ReLU,
    Softmax,
)
from cnn.layers.batchnorm import BatchNorm

# each output number reads only numbers of its own pixel; Flatten moves them
POINTWISE = (
    *(Elementwise, ReLU, PReLU, Affine, Identity, Dropout, Dropout2d),
    *(ChannelShuffle, ChannelSlice, LocalResponseNorm, Flatten),
)
WHOLE = (GroupNorm, InstanceNorm2d, LayerNorm)  # each output number reads all pixels
WINDOWS = (Conv2d, MaxPool2d, AvgPool2d)
ADAPTIVE = (AdaptiveAvgPool2d, AdaptiveMaxPool2d)


class Field(NamedTuple):
    """The pixels that output [i, j] can depend on: offset + stride (i, j) is the first, size says how many there are.

    Padding counts as pixels, so the first one may be negative. The stride is 0 where all outputs see the same pixels.
    """

    size: Pair
    stride: Pair
    offset: Pair


Map = tuple[Field, Pair]  # a field, and the height and width of the map that has it


def receptive_fields(nodes: dict[str, Node]) -> dict[str, Field | None]:
    """Return the receptive field of each node, None where it is not known, such as after a layer of the user's.

    With d for dilation, a window of k pixels with stride s makes of a field of size r and stride j one of size
    r + d (k - 1) j and stride s j. Branches that are joined see the pixels of all of them.

    Parameters
    ----------
    nodes : dict of str to Node
        Those of a `Trace`.

    Returns
    -------
    dict of str to Field or None

    Source
    ------
    Araujo, Norris and Sim 2019, Computing receptive fields of convolutional neural networks, Distill.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn import zoo
    >>> from cnn.explore import trace
    >>> fields = receptive_fields(trace(zoo.small_cnn(), np.ones((1, 1, 28, 28), np.float32)).nodes)
    >>> fields["3"]
    Field(size=(8, 8), stride=(2, 2), offset=(-3, -3))
    """
    maps: dict[str, Map | None] = {}
    for name, node in nodes.items():
        if node.layer is None:
            is_image = node.output.ndim == 4
            sides = (node.output.shape[2], node.output.shape[3]) if is_image else (1, 1)
            maps[name] = (Field((1, 1), (1, 1), (0, 0)), sides) if is_image else None
            continue
        read = [maps[each] for each in node.reads]
        known = [each for each in read if each is not None]
        maps[name] = _after(node, known, nodes[node.reads[0]].output.ndim) if len(known) == len(read) else None
    return {name: None if found is None else _normalized(*found) for name, found in maps.items()}


def _after(node: Node, read: list[Map], ndim: int) -> Map | None:
    """Return what a layer makes of the fields that it reads, of which the first has this number of axes."""
    layer, shape = node.layer, node.output.shape
    if isinstance(layer, (Sum, Product, Concat, Join)):
        return _union(read)
    field, sides = read[0]
    after = (shape[2], shape[3]) if len(shape) == 4 else sides
    if isinstance(layer, BatchNorm):
        return (field, sides) if layer.track_running_stats else _all_pixels(field, sides)
    if isinstance(layer, (Softmax, LogSoftmax)):
        along_channels = layer.dim % ndim == 1 and ndim == 4
        return (field, sides) if along_channels else _all_pixels(field, sides)
    if isinstance(layer, WHOLE) or (isinstance(layer, Linear) and ndim == 2):
        return _all_pixels(field, sides)
    if isinstance(layer, POINTWISE):
        return field, after
    if isinstance(layer, WINDOWS):
        geometry = layer.geometry(*sides)
        before = tuple(pads[0] for pads in geometry.pads)
        return _windows(field, geometry.size, geometry.stride, geometry.dilation, before), after
    if isinstance(layer, ADAPTIVE) and not (sides[0] % after[0] or sides[1] % after[1]):
        step = sides[0] // after[0], sides[1] // after[1]
        return _windows(field, step, step, (1, 1), (0, 0)), after
    if isinstance(layer, ConstantPad2d):
        left, _, top, _ = layer.padding
        return _windows(field, (1, 1), (1, 1), (1, 1), (top, left)), after
    return None


def _windows(field: Field, size: Pair, stride: Pair, dilation: Pair, before: tuple[int, ...]) -> Field:
    sizes, strides, offsets = [], [], []
    for axis in (0, 1):
        sizes.append(field.size[axis] + dilation[axis] * (size[axis] - 1) * field.stride[axis])
        strides.append(stride[axis] * field.stride[axis])
        offsets.append(field.offset[axis] - before[axis] * field.stride[axis])
    return Field((sizes[0], sizes[1]), (strides[0], strides[1]), (offsets[0], offsets[1]))


def _all_pixels(field: Field, sides: Pair) -> Map:
    size = tuple((n - 1) * j + r for n, j, r in zip(sides, field.stride, field.size, strict=True))
    return Field((size[0], size[1]), (0, 0), field.offset), sides


def _normalized(field: Field, sides: Pair) -> Field:
    stride = tuple(j if n > 1 else 0 for n, j in zip(sides, field.stride, strict=True))
    return field._replace(stride=(stride[0], stride[1]))


def _union(read: list[Map]) -> Map | None:
    """Return the field of what reads several maps; None if no single size describes it."""
    sides = max(sides for _, sides in read)  # a gate has one pixel
    fields = [_normalized(*each) for each in read]
    axes = [
        _union_of_axis([(f.size[axis], f.stride[axis], f.offset[axis]) for f in fields], sides[axis]) for axis in (0, 1)
    ]
    if axes[0] is None or axes[1] is None:
        return None
    (h, sh, top), (w, sw, left) = axes[0], axes[1]
    return Field((h, w), (sh, sw), (top, left)), sides


def _union_of_axis(fields: list[tuple[int, int, int]], pixels: int) -> tuple[int, int, int] | None:
    """Join (size, stride, offset) along one axis of a map of so many pixels."""
    strides = {stride for _, stride, _ in fields}
    if len(strides) == 1:
        first, end = min(o for _, _, o in fields), max(o + r for r, _, o in fields)
        return end - first, strides.pop(), first
    first = min(offset for _, _, offset in fields)
    end = max(offset + (pixels - 1) * stride + size for size, stride, offset in fields)
    if any(stride == 0 and offset <= first and offset + size >= end for size, stride, offset in fields):
        return end - first, 0, first  # one of them sees everything that the others see
    return None
