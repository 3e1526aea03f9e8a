"""Make the modules: rows, branches that are added, multiplied or concatenated, and graphs for what is neither."""

import re
from typing import Any

import numpy as np

from cnn import layers
from cnn.containers import branches, joins
from cnn.containers.graph import INPUT, Graph
from cnn.interop.onnx.parts import Layer, NoLayerError, Step
from cnn.interop.onnx.simplifying import Net
from cnn.module import Module
from cnn.sequential import Sequential

JOINS: dict[str, Any] = {"Add": branches.Sum, "Concatenate": branches.Concat, "Multiply": branches.Product}
LEFT_OVER = {
    "Abs": "an absolute value that is no part of a Softsign",
    "Erf": "an error function that is no part of a GELU",
    "Sqrt": "a square root that is no part of a norm",
    "Greater": "a comparison that is no part of a Softplus",
    "Pow": "a power other than a square that is no part of a norm",
    "Sub": "a difference of results of two shapes that is no part of a norm",
    "Div": "a division by a result that is no part of a norm",
    "Where": "a choice between two results that is no part of a Softplus",
    "Mean": "a mean over axes other than height and width that is no part of a norm",
}


def lowered(net: Net) -> list[Step]:
    """Return steps that are one layer or join each."""
    found: list[Step] = []
    for step in net.steps.values():
        rows, inputs = _parts(net, step), step.inputs
        if step.layer.kind == "Pow":
            inputs = inputs * 2
        elif step.layer.kind == "Concatenate" and step.layer.arguments:
            rows, inputs = _turned(net, step, found)
        elif step.layer.kind == "Sub" and len(rows) > 1:
            found.append(Step(step.name + "_minus", rows[0], inputs[1:], step.output + ":minus"))
            rows, inputs = rows[1:], [inputs[0], step.output + ":minus"]
        for i, layer in enumerate(rows):
            output = step.output if i == len(rows) - 1 else f"{step.output}:part{i}"
            found.append(Step(step.name, layer, inputs, output))
            inputs = [output]
    return found


def _turned(net: Net, step: Step, found: list[Step]) -> tuple[list[Layer], list[str]]:
    """Add steps that exchange the axis of a concatenation with that of the channels; return the rest of the row."""
    shape, axis = step.layer.shape, step.layer.arguments["axis"]
    dims = list(range(len(shape)))
    dims[1], dims[axis] = axis, 1

    def turned(shape: tuple[int, ...]) -> Layer:
        return Layer("Permute", {"dims": tuple(dims)}, tuple(shape[a] for a in dims))

    inputs = []
    for i, name in enumerate(step.inputs):
        inputs.append(f"{step.output}:turned{i}")
        found.append(Step(f"{step.name}_{i}", turned(net.shapes[name]), [name], inputs[-1]))
    join, back = Layer("Concatenate", {}, turned(shape).shape), Layer("Permute", {"dims": tuple(dims)}, shape)
    return [join, back], inputs


def _parts(net: Net, step: Step) -> list[Layer]:
    layer, shape = step.layer, step.layer.shape
    ndim = len(shape)
    if layer.kind == "Reshape":
        return _reshape(net.shapes[step.inputs[0]], shape)
    if layer.kind in ("LastAffine", "ChannelNorm"):
        to_end, to_front = (0, *range(2, ndim), 1), (0, ndim - 1, *range(1, ndim - 1))
        there, back = (to_front, to_end) if layer.kind == "LastAffine" else (to_end, to_front)
        kind = "Affine" if layer.kind == "LastAffine" else "LayerNorm"
        turned = tuple(shape[a] for a in there)
        return [
            Layer("Permute", {"dims": there}, turned),
            Layer(kind, layer.arguments, turned, layer.tensors, layer.frozen),
            Layer("Permute", {"dims": back}, shape),
        ]
    if layer.kind == "Mean" and layer.arguments["axes"] == (3,) and ndim == 4:
        return [Layer("AdaptiveAvgPool2d", {"output_size": (None, 1)}, shape)]
    if layer.kind == "Sub" and len({net.shapes[name] for name in step.inputs}) == 1:
        ones = np.broadcast_to(np.float32(1), shape[1])
        return [
            Layer("Affine", {"num_features": shape[1]}, shape, {"weight": -ones, "bias": 0 * ones}, True),
            Layer("Add", {}, shape),
        ]
    if layer.kind == "Pow" and layer.arguments["exponent"] == 2:
        return [Layer("Multiply", {}, shape)]
    return [layer]


def _reshape(before: tuple[int, ...], after: tuple[int, ...]) -> list[Layer]:
    """Return Flatten, Unflatten of one axis, or both."""
    if len(after) == 2:
        return [Layer("Flatten", {}, after)]
    added = len(after) - len(before)
    for axis in range(1, len(before)):
        if added > 0 and after[:axis] == before[:axis] and after[axis + added + 1 :] == before[axis + 1 :]:
            return [Layer("Unflatten", {"dim": axis, "unflattened_size": after[axis : axis + added + 1]}, after)]
    flat = (after[0], int(np.prod(after[1:])))
    unflatten = Layer("Unflatten", {"dim": 1, "unflattened_size": after[1:]}, after)
    return [unflatten] if len(before) == 2 else [Layer("Flatten", {}, flat), unflatten]


def missing(steps: list[Step]) -> list[str]:
    """Return what no layer does, a sentence for each step."""
    left_over = [step for step in steps if step.layer.kind in LEFT_OVER]
    return [f"node {step.name!r}: {LEFT_OVER[step.layer.kind]}; no layer does it" for step in left_over]


def made(layer: Layer) -> Module:
    """Return the module, with its numbers."""
    kind: Any = getattr(joins if layer.kind in JOINS else layers, layer.kind)
    try:
        module: Module = kind(**layer.arguments)
        tensors = dict(module.named_tensors())
        for name, values in layer.tensors.items():
            tensors[name].data = np.ascontiguousarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise NoLayerError(f"{layer.kind}: {error}") from None
    return module.freeze() if layer.frozen else module


class Builder:
    """Modules of the steps between two values."""

    def __init__(self, steps: list[Step], input: str) -> None:
        self.input = input
        self.by_output = {step.output: step for step in steps}
        self.order = {step.output: i for i, step in enumerate(steps)}

    def model(self, outputs: list[str]) -> Sequential | Graph:
        """Return the model: a Graph if it has several outputs, otherwise a Sequential, which can be trained."""
        if len(outputs) > 1:
            return self.graph(self.ancestors(outputs, self.input), self.input, outputs)
        row = self.row(self.input, outputs[0])
        return Sequential(row or [layers.Identity()])

    def row(self, start: str, end: str) -> list[Module]:
        """Return the modules that lead from one value to another."""
        found: list[Module] = []
        value = end
        while value != start:
            step = self.by_output[value]
            if step.layer.kind not in JOINS:
                found.append(self.module(step))
                value = step.inputs[0]
                continue
            fork = self.fork(step, start)
            found.append(self.joined(step, fork))
            value = fork
        return found[::-1]

    def joined(self, step: Step, fork: str) -> Module:
        """Return Sum, Product or Concat of what leads from a value to a join; a Graph if branches share steps."""
        parts = [self.ancestors([name], fork) for name in step.inputs]
        if sum(map(len, parts)) > len(set().union(*parts)):
            return self.graph(self.ancestors([step.output], fork), fork, [step.output])
        rows = [self.row(fork, name) for name in step.inputs]
        made_branches = [_branch(row) for row in rows]
        if step.layer.kind == "Add" and len(rows) == 2 and [] in rows and any(rows):
            return branches.Residual(made_branches[0] if rows[0] else made_branches[1])
        join: Module = JOINS[step.layer.kind](made_branches)
        return join

    def ancestors(self, names: list[str], start: str) -> set[str]:
        """Return the outputs of all steps that lead from a value to these."""
        found, waiting = set[str](), [name for name in names if name != start]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.by_output:
                found.add(name)
                waiting.extend(each for each in self.by_output[name].inputs if each != start)
        return found

    def fork(self, step: Step, start: str) -> str:
        """Return the last value through which everything goes that a join reads."""
        waiting = set(step.inputs)
        while len(waiting) > 1:
            latest = max(waiting, key=lambda name: self.order.get(name, -1))
            waiting.remove(latest)
            waiting.update([start] if latest == start else self.by_output[latest].inputs)
        return waiting.pop()

    def graph(self, inner: set[str], start: str, outputs: list[str]) -> Graph:
        """Return a Graph of these steps."""
        names = {start: INPUT}
        nodes = []
        for output in sorted(inner, key=self.order.__getitem__):
            step = self.by_output[output]
            names[output] = valid_name(step.name, set(names.values()))
            inputs = [names[name] for name in step.inputs]
            nodes.append((names[output], self.module(step), inputs if step.layer.kind in JOINS else inputs[0]))
        return Graph(nodes, names[outputs[0]] if len(outputs) == 1 else [names[name] for name in outputs])

    def module(self, step: Step) -> Module:
        """Return the module of a step."""
        try:
            return made(step.layer)
        except NoLayerError as error:
            raise NoLayerError(f"node {step.name!r}: {error}") from None


def _branch(row: list[Module]) -> Module:
    if len(row) == 1:
        return row[0]
    return Sequential(row) if row else layers.Identity()


def valid_name(name: str, taken: set[str]) -> str:
    """Return a name as a module in a Graph may have it, without dots and other signs, and not taken."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "node"
    found, n = plain, 2
    while found in taken:
        found, n = f"{plain}_{n}", n + 1
    return found
