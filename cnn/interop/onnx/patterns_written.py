"""The rules for layers that `save` writes as several operators, because ONNX has none that is the same."""

import math

import numpy as np

from cnn.interop.onnx.parts import Layer, Step
from cnn.interop.onnx.patterns import Found, is_scalar
from cnn.interop.onnx.reading import shortest
from cnn.interop.onnx.simplifying import Net, Rule


def softplus(net: Net, step: Step) -> Found:
    """The softplus of beta x, divided by beta; with a threshold, x where beta x is above it."""
    row = net.chain(step, "Affine", "Softplus", "Affine")
    if row and not row[1].layer.arguments and (beta := _factor(row[0], row[2])):
        return net.replace(row, Layer("Softplus", {"beta": beta}, step.layer.shape), row[0].inputs)
    if step.layer.kind != "Where":
        return None
    greater, curve, x = net.before(step, 0), net.before(step, 2), step.inputs[1]
    if greater is None or curve is None or greater.layer.kind != "Greater":
        return None
    arguments = dict(greater.layer.arguments)
    parts = [greater, curve, step]
    scaled = net.steps.get(greater.inputs[0])
    if greater.inputs != [x]:
        row = net.chain(curve, "Softplus", "Affine")
        beta = _factor(scaled, row[1]) if row and scaled else None
        if not row or not scaled or not beta or scaled.inputs != [x] or net.readers[scaled.output] != 2:
            return None
        arguments["beta"] = beta
        curve, parts = row[0], [scaled, greater, *row, step]
    if curve.layer.kind != "Softplus" or curve.layer.arguments or curve.inputs != greater.inputs:
        return None
    if not arguments["threshold"] > 0:
        return None
    return net.replace(parts, Layer("Softplus", arguments, step.layer.shape), [x])


def _factor(first: Step | None, last: Step) -> float | None:
    """Return the number by which the first step multiplies, if the last one divides by it."""
    if first is None or not is_scalar(first, bias=0) or not is_scalar(last, bias=0):
        return None
    by, back = (float(one.layer.tensors["weight"].reshape(-1)[0]) for one in (first, last))
    return shortest(by) if by > 0 and math.isclose(by * back, 1, rel_tol=1e-6) else None


def local_response_norm(net: Net, step: Step) -> Found:
    """Recognise x / (k + sums of squares of neighbouring channels) ^ beta, where a matrix makes the sums."""
    power = net.before(step, 1) if step.layer.kind == "Div" else None
    if power is None:
        return None
    product = ("Permute", "Linear", "Permute")
    parts = net.chain(power, "Multiply", "Reshape", *product, "Reshape", "Affine", "Pow")
    parts = parts or net.chain(power, "Multiply", *product, "Affine", "Pow")
    x = step.inputs[0]
    if not parts or parts[0].inputs != [x, x] or not is_scalar(parts[-2], 1):
        return None
    (linear,) = (part.layer for part in parts if part.layer.kind == "Linear")
    matrix = linear.tensors["weight"]
    channels = net.shapes[x][1]
    if linear.arguments["bias"] or matrix.shape != (channels, channels):
        return None
    row, column = np.nonzero(matrix)
    if not len(row):
        return None
    size = 1 + int((column - row).max() - (column - row).min())
    distance = np.arange(channels) - np.arange(channels)[:, None]
    neighbours = (-(size // 2) <= distance) & (distance <= (size - 1) // 2)
    if not np.array_equal(matrix, neighbours * matrix[0, 0]):
        return None
    arguments = {"size": size, "alpha": shortest(matrix[0, 0] * size), "beta": power.layer.arguments["exponent"]}
    arguments["k"] = shortest(parts[-2].layer.tensors["bias"].reshape(-1)[0])
    return net.replace([*parts, step], Layer("LocalResponseNorm", arguments, step.layer.shape), [x])


WRITTEN: list[Rule] = [softplus, local_response_norm]
