"""Operators that slide windows over images or pad them."""

import math
from typing import Any

from cnn.interop.onnx.parts import Layer, NoLayerError, Operator, Shape

Pads = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))


def images(o: Operator) -> Shape:
    """Return the shape of the images that the operator reads."""
    shape = o.shape()
    if len(shape) != 4:
        raise NoLayerError(f"has windows over {len(shape) - 2} axes: there are layers for images, (N, C, H, W)")
    return shape


def both(o: Operator, name: str) -> tuple[int, int]:
    """Return an argument for height and width, 1 by default."""
    found = tuple(int(n) for n in o.get(name, (1, 1)))
    if len(found) != 2:
        raise NoLayerError(f"has {len(found)} {name} for an image: the file is damaged")
    return found


def padding_of(o: Operator, size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Pads:
    """Return the padding. SAME pads so that the output has ceil(pixels / stride) pixels, the odd one at an end."""
    auto = o.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for pixels, k, s, d in zip(o.shape()[2:], size, stride, dilation, strict=True):
            total = max(0, (math.ceil(pixels / s) - 1) * s + d * (k - 1) + 1 - pixels)
            smaller, larger = total // 2, total - total // 2
            sides.append((smaller, larger) if auto == "SAME_UPPER" else (larger, smaller))
        return sides[0], sides[1]
    top, left, bottom, right = o.get("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    return (top, bottom), (left, right)


def written(o: Operator, pads: Pads) -> Any:
    """Return padding in its shortest form: one number, a pair, or four sides; "same" fits images of every size."""
    if o.get("auto_pad", "NOTSET") == "SAME_UPPER":
        return "same"
    (top, bottom), (left, right) = pads
    if (top, left) != (bottom, right):
        return pads
    return top if top == left else (top, left)


def short(pair: tuple[Any, Any]) -> Any:
    """Return one number for an equal pair."""
    return pair[0] if pair[0] == pair[1] else pair


def counted(
    o: Operator, pads: Pads, size: Shape, stride: Shape, dilation: Shape = (1, 1), ceil_mode: bool = False
) -> Shape:
    """Return the height and width of the output of a sliding window."""
    counts = []
    for pixels, (before, after), k, s, d in zip(o.shape()[2:], pads, size, stride, dilation, strict=True):
        last = pixels + before + after - d * (k - 1) - 1
        count = (math.ceil(last / s) if ceil_mode else last // s) + 1
        if ceil_mode and (count - 1) * s >= pixels + before:
            count -= 1
        if count < 1:
            raise NoLayerError(
                f"has windows larger than its input {o.shown(o.shape())}: load with a larger input_shape"
            )
        counts.append(count)
    return tuple(counts)


def conv(o: Operator) -> list[Layer]:
    """Conv."""
    n, channels = images(o)[:2]
    weight = o.array(1)
    tensors = {"weight": weight} | ({"bias": o.array(2)} if o.has(2) else {})
    if weight.ndim != 4 or weight.shape[1] * o.get("group", 1) != channels:
        raise NoLayerError(
            f"has weights {weight.shape} that do not fit its input {o.shown(o.shape())}: the file is damaged"
        )
    k, size = len(weight), (weight.shape[2], weight.shape[3])
    stride, dilation, groups = both(o, "strides"), both(o, "dilations"), o.get("group", 1)
    pads = padding_of(o, size, stride, dilation)
    arguments = {"in_channels": channels, "out_channels": k, "kernel_size": short(size), "stride": short(stride)}
    arguments |= {"padding": written(o, pads), "dilation": short(dilation), "groups": groups, "bias": o.has(2)}
    if min(*pads[0], *pads[1]) < 0:
        raise NoLayerError("has negative padding: crop the images before it")
    return [Layer("Conv2d", arguments, (n, k, *counted(o, pads, size, stride, dilation)), tensors)]


def conv_transpose(o: Operator) -> list[Layer]:
    """ConvTranspose; what output_shape and SAME mean is taken from its output: extra pixels, or cropped ones."""
    n, channels, *image = images(o)
    weight = o.array(1)
    tensors = {"weight": weight} | ({"bias": o.array(2)} if o.has(2) else {})
    groups, stride, dilation = o.get("group", 1), both(o, "strides"), both(o, "dilations")
    extra = tuple(o.get("output_padding", (0, 0)))
    size, k = weight.shape[2:], weight.shape[1] * groups
    top, left, bottom, right = o.get("pads", (0, 0, 0, 0))
    full = [s * (m - 1) + d * (w - 1) + 1 for s, m, d, w in zip(stride, image, dilation, size, strict=True)]
    wanted, auto = o.get("output_shape"), o.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        wanted = [pixels * s for pixels, s in zip(image, stride, strict=True)]
    if wanted is not None:
        wanted = wanted[-2:]
        extra = tuple(max(0, w - m) for w, m in zip(wanted, full, strict=True))
        cropped = [max(0, m - w) for w, m in zip(wanted, full, strict=True)]
        smaller, larger = [m // 2 for m in cropped], [m - m // 2 for m in cropped]
        (top, left), (bottom, right) = (smaller, larger) if auto == "SAME_UPPER" else (larger, smaller)
    symmetric = (top, left) == (bottom, right)
    arguments = {"in_channels": channels, "out_channels": k, "kernel_size": short(size), "stride": short(stride)}
    arguments |= {"padding": short((top, left)) if symmetric else 0, "output_padding": short(extra), "groups": groups}
    arguments |= {"bias": o.has(2), "dilation": short(dilation)}
    uncut = (full[0] + extra[0], full[1] + extra[1])
    shape = (n, k, uncut[0] - top - bottom, uncut[1] - left - right)
    if symmetric:
        return [Layer("ConvTranspose2d", arguments, shape, tensors)]
    crop = Layer("ZeroPad2d", {"padding": (-left, -right, -top, -bottom)}, shape)
    return [Layer("ConvTranspose2d", arguments, (n, k, *uncut), tensors), crop]


def pool(o: Operator) -> list[Layer]:
    """MaxPool and AveragePool."""
    n, channels = images(o)[:2]
    average = o.op == "AveragePool"
    size, stride, dilation = both(o, "kernel_shape"), both(o, "strides"), both(o, "dilations")
    if average and dilation != (1, 1):
        raise NoLayerError("averages with gaps (dilations), which AvgPool2d cannot")
    pads, ceil = padding_of(o, size, stride, dilation), bool(o.get("ceil_mode", 0))
    shape = (n, channels, *counted(o, pads, size, stride, dilation, ceil))
    arguments = {"kernel_size": short(size), "stride": short(stride), "padding": written(o, pads), "ceil_mode": ceil}
    if average:
        arguments["count_include_pad"] = bool(o.get("count_include_pad", 0))
    else:
        arguments["dilation"] = short(dilation)
    is_pair = isinstance(arguments["padding"], int) or isinstance(arguments["padding"][0], int)
    if is_pair and any(side > k // 2 for (side, _), k in zip(pads, size, strict=True)):
        arguments["padding"] = pads  # in this form more than half of a window is allowed
    return [Layer("AvgPool2d" if average else "MaxPool2d", arguments, shape)]


def global_pool(o: Operator) -> list[Layer]:
    """GlobalAveragePool and GlobalMaxPool."""
    kind = "AdaptiveAvgPool2d" if o.op == "GlobalAveragePool" else "AdaptiveMaxPool2d"
    return [Layer(kind, {"output_size": 1}, (*images(o)[:2], 1, 1))]


def reduce(o: Operator) -> list[Layer]:
    """ReduceMean and ReduceMax over height, width or both."""
    axes, shape = o.reduced_axes(), o.shape()
    if o.op == "ReduceMean" and o.get("keepdims", 1) and len(axes) == 1 and axes[0] in (1, len(shape) - 1):
        return [Layer("Mean", {"axes": axes}, tuple(1 if a in axes else n for a, n in enumerate(shape)))]
    if len(shape) != 4 or not axes or not set(axes) <= {2, 3}:
        raise NoLayerError(f"reduces axes {axes} of {o.shown(shape)}: only height and width, 2 and 3, have a layer")
    kind = "AdaptiveAvgPool2d" if o.op == "ReduceMean" else "AdaptiveMaxPool2d"
    size = tuple(1 if axis in axes else None for axis in (2, 3))
    pooled = (*shape[:2], *(1 if axis in axes else shape[axis] for axis in (2, 3)))
    found = [Layer(kind, {"output_size": 1 if size == (1, 1) else size}, pooled)]
    if not o.get("keepdims", 1):
        rest = tuple(m for axis, m in enumerate(pooled) if axis not in axes)
        found.append(Layer("Reshape", {"shape": rest[1:]}, rest))
    return found


def pad(o: Operator) -> list[Layer]:
    """Pad of height and width."""
    shape = images(o)
    given: Any = o.option("pads", 1, 11)
    axes = [o.count_from_0(int(a), 4) for a in o.array(3)] if o.has(3) else [0, 1, 2, 3]
    if len(given) != 2 * len(axes):
        raise NoLayerError(f"has {len(given)} pads for {len(axes)} axes: the file is damaged")
    sides = [int(m) for m in given]
    padding = {axis: (sides[i], sides[i + len(axes)]) for i, axis in enumerate(axes)}
    if any(padding.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        raise NoLayerError("pads the batch or the channels, not only height and width")
    vertical, horizontal = padding.get(2, (0, 0)), padding.get(3, (0, 0))
    value: Any = o.option("value", 2, 11)
    value = 0.0 if value is None else float(value if isinstance(value, float) else value.reshape(-1)[0])
    after = (*shape[:2], shape[2] + sum(vertical), shape[3] + sum(horizontal))
    arguments: dict[str, Any] = {"padding": (*horizontal, *vertical)}
    mode = o.get("mode", "constant")
    kind = {"constant": "ConstantPad2d", "reflect": "ReflectionPad2d", "edge": "ReplicationPad2d"}.get(mode)
    if kind is None:
        raise NoLayerError(f"pads with mode {mode!r}: there are constant, reflect and edge")
    if mode == "constant" and value == 0:
        kind = "ZeroPad2d"
    elif mode == "constant":
        arguments["value"] = value
    return [Layer(kind, arguments, after)]


def depth_to_space(o: Operator) -> list[Layer]:
    """DepthToSpace: in the order CRD PixelShuffle; in the order DCR the channels come after the block."""
    n, channels, height, width = images(o)
    r = o.get("blocksize")
    k = channels // r**2
    if o.get("mode", "DCR") == "CRD":
        return [Layer("PixelShuffle", {"upscale_factor": r}, (n, k, height * r, width * r))]
    split, after = (n, r, r, k, height, width), (n, k, height, r, width, r)
    return [
        Layer("Reshape", {"shape": split[1:]}, split),
        Layer("Permute", {"dims": (0, 3, 4, 1, 5, 2)}, after),
        Layer("Reshape", {"shape": (k, height * r, width * r)}, (n, k, height * r, width * r)),
    ]


def space_to_depth(o: Operator) -> list[Layer]:
    """SpaceToDepth: the pixels of each block become channels."""
    n, channels, height, width = images(o)
    r = o.get("blocksize")
    split = (n, channels, height // r, r, width // r, r)
    turned, after = (n, r, r, channels, height // r, width // r), (n, channels * r**2, height // r, width // r)
    return [
        Layer("Reshape", {"shape": split[1:]}, split),
        Layer("Permute", {"dims": (0, 3, 5, 1, 2, 4)}, turned),
        Layer("Reshape", {"shape": after[1:]}, after),
    ]
