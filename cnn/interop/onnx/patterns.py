"""The rules by which several steps become one layer."""

import math
from typing import Any

import numpy as np

from cnn.interop.onnx.parts import Layer, Step
from cnn.interop.onnx.simplifying import NHWC_TO_NCHW, Net, Rule

Found = Step | bool | None


def unchanged(net: Net, step: Step) -> Found:
    """A Reshape or Permute that changes nothing, and the Permute that puts the channels of the input first."""
    layer = step.layer
    before = net.shapes[step.inputs[0]]
    if layer.kind == "Reshape" and layer.shape == before:
        net.skip(step)
        return True
    if layer.kind != "Permute":
        return None
    dims = layer.arguments["dims"]
    if dims == NHWC_TO_NCHW and step.inputs[0] == net.input and net.readers[net.input] == 1:
        net.channels_last = True
    elif dims != tuple(range(len(dims))):
        return None
    net.skip(step)
    if net.channels_last and step.inputs[0] == net.input:
        net.shapes[net.input] = layer.shape
    return True


def twice(net: Net, step: Step) -> Found:
    """Two Reshape or two Permute in a row."""
    if pair := net.chain(step, "Reshape", "Reshape"):
        return net.replace(pair, step.layer, pair[0].inputs)
    if pair := net.chain(step, "Permute", "Permute"):
        first, second = (one.layer.arguments["dims"] for one in pair)
        dims = tuple(first[a] for a in second)
        return net.replace(pair, Layer("Permute", {"dims": dims}, step.layer.shape), pair[0].inputs)
    return None


def shuffle(net: Net, step: Step) -> Found:
    """Reshape, Permute and Reshape that mix channels, or make larger images of them."""
    parts = net.chain(step, "Reshape", "Permute", "Reshape")
    if parts is None:
        return None
    before, between, after = net.shapes[parts[0].inputs[0]], parts[0].layer.shape, step.layer.shape
    dims = parts[1].layer.arguments["dims"]
    if len(before) == 4 and dims == (0, 2, 1, 3, 4) and after == before and between[3:] == before[2:]:
        return net.replace(parts, Layer("ChannelShuffle", {"groups": between[1]}, after), parts[0].inputs)
    if len(before) == 4 and dims == (0, 1, 4, 2, 5, 3) and between[4:] == before[2:] and between[2] == between[3]:
        r = between[2]
        if after == (before[0], before[1] // r**2, before[2] * r, before[3] * r):
            return net.replace(parts, Layer("PixelShuffle", {"upscale_factor": r}, after), parts[0].inputs)
    return None


def group_norm(net: Net, step: Step) -> Found:
    """Write the channels of each group in one row, normalise the rows, and write them as images again."""
    parts = net.chain(step, "Reshape", "GroupNorm", "Reshape")
    if parts is None:
        return None
    norm, shape = parts[1].layer, step.layer.shape
    groups = norm.arguments["num_groups"]
    plain = (norm.tensors["weight"] == 1).all() and not norm.tensors["bias"].any()
    if net.shapes[parts[0].inputs[0]] != shape or len(norm.shape) != 3 or groups != norm.shape[1] or not plain:
        return None
    one, zero = (np.broadcast_to(np.float32(n), shape[1]) for n in (1, 0))
    arguments = {"num_groups": groups, "num_channels": shape[1], "eps": norm.arguments["eps"]}
    made = Layer("GroupNorm", arguments, shape, {"weight": one, "bias": zero})
    return net.replace(parts, made, parts[0].inputs)


def is_scalar(step: Step | None, weight: float | None = None, bias: float | None = None) -> bool:
    """Whether a step computes weight x + bias with one number each, as far as they are given."""
    if step is None or step.layer.kind != "Affine" or not step.layer.frozen:
        return False
    found = [step.layer.tensors[name].reshape(-1)[0] for name in ("weight", "bias")]
    return all(
        b is None or math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-7) for a, b in zip(found, (weight, bias), strict=True)
    )


def affine_twice(net: Net, step: Step) -> Found:
    """Two Affine in a row: w2 (w1 x + b1) + b2."""
    for kind in ("Affine", "LastAffine"):
        pair = net.chain(step, kind, kind)
        if pair and pair[0].layer.frozen == pair[1].layer.frozen:
            (w1, b1), (w2, b2) = ((one.layer.tensors["weight"], one.layer.tensors["bias"]) for one in pair)
            tensors = {"weight": w1 * w2, "bias": b1 * w2 + b2}
            layer = Layer(kind, step.layer.arguments, step.layer.shape, tensors, step.layer.frozen)
            return net.replace(pair, layer, pair[0].inputs)
    return None


def bias(net: Net, step: Step) -> Found:
    """A layer without bias, and an addition for each channel."""
    for kind, shift in (
        ("Conv2d", "Affine"),
        ("ConvTranspose2d", "Affine"),
        ("Linear", "Affine"),
        ("Linear", "LastAffine"),
    ):
        pair = net.chain(step, kind, shift)
        if pair is None or (kind == "Linear" and shift == "Affine" and len(step.layer.shape) != 2):
            continue
        before = pair[0].layer
        if before.arguments["bias"] or step.layer.frozen or (step.layer.tensors["weight"] != 1).any():
            continue
        tensors = before.tensors | {"bias": step.layer.tensors["bias"]}
        return net.replace(pair, Layer(kind, before.arguments | {"bias": True}, before.shape, tensors), pair[0].inputs)
    return None


def scale_of_norm(net: Net, step: Step) -> Found:
    """Put a scale and shift for each channel after a norm into its own: (w1 x + b1) w2 + b2."""
    for kind, scale in (("LayerNorm", "LastAffine"), ("GroupNorm", "Affine"), ("InstanceNorm2d", "Affine")):
        pair = net.chain(step, kind, scale)
        if pair is None or step.layer.frozen:
            continue
        norm, after = pair[0].layer, step.layer.tensors
        if norm.tensors["weight"].shape == after["weight"].shape:
            tensors = {"weight": norm.tensors["weight"] * after["weight"]}
            tensors["bias"] = norm.tensors["bias"] * after["weight"] + after["bias"]
            return net.replace(pair, Layer(kind, norm.arguments, norm.shape, tensors), pair[0].inputs)
    return None


def gate_of_itself(net: Net, step: Step) -> Found:
    """Recognise x sigmoid(x), x hardsigmoid(x) and x tanh(softplus(x))."""
    if step.layer.kind != "Multiply" or len(step.inputs) != 2:
        return None
    for i in (0, 1):
        x, gate = step.inputs[1 - i], net.before(step, i)
        if gate is None:
            continue
        if gate.inputs == [x]:
            kinds: dict[str, Any] = {"Sigmoid": "SiLU"} | ({} if gate.layer.arguments else {"Hardsigmoid": "Hardswish"})
            kind = kinds.get(gate.layer.kind)
            if kind and net.readers[x] >= 2:
                return net.replace([gate, step], Layer(kind, {}, step.layer.shape), [x])
        parts = net.chain(gate, "Softplus", "Tanh")
        if parts and parts[0].inputs == [x]:
            return net.replace([*parts, step], Layer("Mish", {}, step.layer.shape), [x])
    return None


def hard(net: Net, step: Step) -> Found:
    """clip(x + 3, 0, 6) / 6, and x clip(x + 3, 0, 6) / 6."""
    parts = net.chain(step, "Affine", "ReLU6", "Affine")
    if parts and is_scalar(parts[0], 1, 3) and is_scalar(step, 1 / 6, 0):
        return net.replace(parts, Layer("Hardsigmoid", {}, step.layer.shape), parts[0].inputs)
    pair = net.chain(step, "Multiply", "Affine")
    if not pair or not is_scalar(step, 1 / 6, 0) or len(pair[0].inputs) != 2:
        return None
    for i in (0, 1):
        gate = net.before(pair[0], i)
        parts = net.chain(gate, "Affine", "ReLU6") if gate else None
        if parts and is_scalar(parts[0], 1, 3) and parts[0].inputs == [pair[0].inputs[1 - i]]:
            return net.replace([*parts, *pair], Layer("Hardswish", {}, step.layer.shape), parts[0].inputs)
    return None


def gelu(net: Net, step: Step) -> Found:
    """Recognise x (1 + erf(x / sqrt 2)) / 2, in the orders that exporters write."""
    after: list[Step] = [step]
    product: Step | None = step
    halves = 1.0
    if is_scalar(step, 0.5, 0):
        product, halves = net.before(step), 0.5
        after = [product, step] if product else []
    if product is None or product.layer.kind != "Multiply" or len(product.inputs) != 2:
        return None
    for i in (0, 1):
        one = net.before(product, i)
        parts = net.chain(one, "Affine", "Erf", "Affine") if one else None
        if not parts or not is_scalar(parts[0], 2**-0.5, 0):
            continue
        x = parts[0].inputs[0]
        for share in (1.0, 0.5):  # of 1 + erf
            if not is_scalar(parts[2], share, share):
                continue
            other = net.before(product, 1 - i)
            if product.inputs[1 - i] == x and halves * share == 0.5:
                return net.replace([*parts, *after], Layer("GELU", {}, step.layer.shape), [x])
            if other and is_scalar(other, 0.5, 0) and other.inputs == [x] and halves * share == 1:
                return net.replace([*parts, other, *after], Layer("GELU", {}, step.layer.shape), [x])
    return None


def written_layer_norm(net: Net, step: Step) -> Found:
    """(x - mean) / sqrt(mean of (x - mean) squared + eps), in small operators."""
    if step.layer.kind != "Div":
        return None
    difference, deviation = net.steps.get(step.inputs[0]), net.before(step, 1)
    parts = net.chain(deviation, "Mean", "Affine", "Sqrt") if deviation else None
    if difference is None or parts is None or difference.layer.kind != "Sub" or not is_scalar(parts[1], 1):
        return None
    square, mean = net.before(parts[0]), net.before(difference, 1)
    x = difference.inputs[0]
    axes = parts[0].layer.arguments["axes"]
    last = len(net.shapes[x]) - 1
    if square is None or mean is None or mean.layer.kind != "Mean" or mean.inputs != [x]:
        return None
    is_square = square.layer.kind == "Pow" and square.layer.arguments["exponent"] == 2
    is_square = is_square or (square.layer.kind == "Multiply" and square.inputs == [difference.output] * 2)
    if not is_square or set(square.inputs) != {difference.output} or mean.layer.arguments["axes"] != axes:
        return None
    if axes not in ((last,), (1,)) or net.readers[difference.output] != 1 + len(square.inputs):
        return None
    shape = step.layer.shape
    size = shape[axes[0]]
    eps = float(str(parts[1].layer.tensors["bias"].reshape(-1)[0]))
    one, zero = (np.broadcast_to(np.float32(n), size) for n in (1, 0))
    arguments = {"normalized_shape": (size,), "eps": eps}
    norm = Layer("LayerNorm" if axes == (last,) else "ChannelNorm", arguments, shape, {"weight": one, "bias": zero})
    return net.replace([mean, difference, square, *parts, step], norm, [x])


def softsign(net: Net, step: Step) -> Found:
    """Recognise x / (1 + |x|)."""
    if step.layer.kind != "Div":
        return None
    after = net.before(step, 1)
    parts = net.chain(after, "Abs", "Affine") if after else None
    if not parts or not is_scalar(parts[1], 1, 1) or parts[0].inputs != step.inputs[:1]:
        return None
    return net.replace([*parts, step], Layer("Softsign", {}, step.layer.shape), step.inputs[:1])


LAYOUT: list[Rule] = [unchanged, twice, shuffle]
NUMBERS: list[Rule] = [group_norm, affine_twice, bias, scale_of_norm, written_layer_norm]
ACTIVATIONS: list[Rule] = [gate_of_itself, hard, gelu, softsign]
RULES = LAYOUT + NUMBERS + ACTIVATIONS
