"""The sizes of outputs as formulas with the numbers filled in."""

from collections.abc import Sequence

from cnn.containers.branches import Concat
from cnn.containers.joins import Concatenate
from cnn.core.checks import Pair
from cnn.explore.walk import Node
from cnn.functional.padding import sides
from cnn.layers import AvgPool2d, ConstantPad2d, Conv2d, ConvTranspose2d, Flatten, MaxPool2d, PixelShuffle, Upsample
from cnn.layers.copypad2d import CopyPad2d
from cnn.module import Array

AXES = ("height", "width")


def size_formulas(node: Node, inputs: Sequence[Array]) -> dict[str, str]:
    """Return how the sizes of a layer's output follow from those of its inputs, for the axes where they are computed.

    Parameters
    ----------
    node : Node
        Of a `Trace`.
    inputs : sequence of ndarray
        The outputs of the nodes that it reads.

    Returns
    -------
    dict of str to str
        By "channels", "height", "width" and "features"; empty where sizes are kept or given by a setting.

    Examples
    --------
    >>> import numpy as np
    >>> node = Node("0", Conv2d(1, 4, 3, padding=1), ("input",), np.ones((1, 4, 28, 28)))
    >>> size_formulas(node, [np.ones((1, 1, 28, 28))])["height"]
    '(28 + 2*1 - 3)/1 + 1 = 28'
    """
    if not inputs:
        return {}
    layer, before, after = node.layer, inputs[0].shape, node.output.shape
    if isinstance(layer, (Conv2d, MaxPool2d, AvgPool2d)):
        geometry, ceil_mode = layer.geometry(*before[2:]), getattr(layer, "ceil_mode", False)
        rows = zip(AXES, before[2:], after[2:], *geometry, strict=True)
        return {axis: _windows(h, oh, k, s, d, pads, ceil_mode) for axis, h, oh, k, s, d, pads in rows}
    if isinstance(layer, ConvTranspose2d):
        settings = (layer.kernel_size, layer.stride, layer.dilation, sides(layer.padding), layer.output_padding)
        rows = zip(AXES, before[2:], after[2:], *settings, strict=True)
        return {axis: _transposed(h, oh, k, s, d, pads, extra) for axis, h, oh, k, s, d, pads, extra in rows}
    if isinstance(layer, Flatten):
        return {"features": f"{' * '.join(map(str, before[1:]))} = {after[1]}"}
    if isinstance(layer, (Concat, Concatenate)):
        axis = "channels" if len(after) == 4 else "features"
        return {axis: f"{' + '.join(str(x.shape[1]) for x in inputs)} = {after[1]}"}
    if isinstance(layer, (ConstantPad2d, CopyPad2d)):
        left, right, top, bottom = layer.padding
        pads = (top, bottom), (left, right)
        return {AXES[i]: f"{before[2 + i]} + {pads[i][0]} + {pads[i][1]} = {after[2 + i]}" for i in (0, 1)}
    if isinstance(layer, Upsample) and layer.scale_factor is not None:
        factors = [f"{scale:g}" for scale in layer.scale_factor]
        return {AXES[i]: f"floor({before[2 + i]} * {factors[i]}) = {after[2 + i]}" for i in (0, 1)}
    if isinstance(layer, PixelShuffle):
        r = layer.upscale_factor
        formulas = {AXES[i]: f"{before[2 + i]} * {r} = {after[2 + i]}" for i in (0, 1)}
        return {"channels": f"{before[1]}/({r} * {r}) = {after[1]}", **formulas}
    return {}


def _padding(pads: Pair) -> str:
    return f"2*{pads[0]}" if pads[0] == pads[1] else f"{pads[0]} + {pads[1]}"


def _windows(h: int, oh: int, k: int, s: int, d: int, pads: Pair, ceil_mode: bool) -> str:
    span = f"{k}" if d == 1 else f"{d}*({k} - 1) - 1"
    last_start = h + sum(pads) - d * (k - 1) - 1
    steps = f"({h} + {_padding(pads)} - {span})/{s}"
    count = last_start // s + 1
    if last_start % s:
        steps = f"{'ceil' if ceil_mode else 'floor'}({steps})"
        count += ceil_mode
    # with ceil_mode no window starts beyond the image
    return f"{steps} + 1 = {oh}" if count == oh else f"{steps} + 1 - {count - oh} = {oh}"


def _transposed(h: int, oh: int, k: int, s: int, d: int, pads: Pair, extra: int) -> str:
    span = f"{k}" if d == 1 else f"{d}*({k} - 1) + 1"
    padding = f"2*{pads[0]}" if pads[0] == pads[1] else f"{pads[0]} - {pads[1]}"
    return f"({h} - 1)*{s} + {span} - {padding}{f' + {extra}' if extra else ''} = {oh}"
