"""ONNX's vectors as models: they become files, as it were, that `cnn.interop.onnx` turns into layers.

The vectors feed weights as inputs, and the importer takes one input: so all but the first are constants. Where an
operator joins several arrays of one shape, they are one array, which is split first. What is computed along the first
axis gets a batch axis in front.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from cnn.containers.graph import Graph
from cnn.interop.onnx import loading
from cnn.interop.onnx.folding import FOLDED
from cnn.interop.onnx.operators import OPERATORS
from cnn.interop.onnx.parts import NoLayerError
from cnn.interop.onnx.planning import MEASURING
from cnn.interop.onnx.protobuf import OnnxError
from cnn.interop.onnx.reading import File, Node, shortest
from cnn.module import Array, Module
from cnn.sequential import Sequential
from cnn.verify.check import NOT_OURS, LeftOut
from cnn.verify.onnx_vectors import Vector

NOT_2D = "windows over 1 or 3 axes: cnn has windows over 2"
NO_LAYER = "arguments that no layer has, or that read the batch axis"
KNOWN = {*OPERATORS, *FOLDED, *MEASURING}
JOINED = ("Add", "Concat", "Mul", "Sub", "Sum")
HELPERS = ("Flatten", "Unflatten", "Permute", "ZeroPad2d")  # layers that others have beside them
LARGE = 2**20  # bytes of the file, as it were


class Imported:
    """The model of a vector.

    Parameters
    ----------
    vector : Vector
        With its arrays.

    Raises
    ------
    LeftOut
        If no layer does what it tests.
    """

    def __init__(self, vector: Vector) -> None:
        self.x = vector.arrays[vector.inputs[0]]
        if self.x.ndim == 0:
            raise LeftOut(NO_LAYER)
        constants = {name: array for name, array in vector.arrays.items() if name != vector.inputs[0]}
        nodes = [Node(f"node {i}", n.op, n.inputs, n.outputs, _plain(n.attributes)) for i, n in enumerate(vector.nodes)]
        self.has_batch = True
        opset, first = vector.opset, vector.inputs[0]
        if len(nodes) == 1:
            self.has_batch = self._has_batch(nodes[0], constants)
            if not self.has_batch:
                self.x = self.x[None]
                nodes = [replace(nodes[0], attributes=_shifted(nodes[0].attributes))]
            if nodes[0].op in JOINED and _joins(nodes[0], self.x, constants, self.has_batch):
                nodes, constants, opset = self._split(nodes[0], constants), {}, max(opset, 11)
                first = "all inputs"
        self.file = File(opset, nodes, constants, first, self.x.shape, vector.outputs[:1], {}, LARGE)
        self.net = self._understood(vector)

    def _has_batch(self, node: Node, constants: dict[str, Array]) -> bool:
        axis = node.attributes.get("axis", 1)
        normalises = node.op in ("LayerNormalization", "LogSoftmax", "Softmax")
        return not (normalises and axis in (0, -self.x.ndim)) and not (node.op in JOINED[1:] and self.x.ndim == 1)

    def _split(self, node: Node, constants: dict[str, Array]) -> list[Node]:
        """Make all inputs one array; return a node that splits it, and the node that joins them."""
        arrays = [self.x, *(constants[name] if self.has_batch else constants[name][None] for name in node.inputs[1:])]
        self.x = np.concatenate(arrays, axis=1)
        sizes = tuple(array.shape[1] for array in arrays)
        names = [f"part {i}" for i in range(len(arrays))]
        split = Node("split", "Split", ["all inputs"], names, {"axis": 1, "split": sizes})
        return [split, Node(node.name, node.op, names, node.outputs, node.attributes)]

    def _understood(self, vector: Vector) -> Any:
        try:
            return loading.understood(self.file)
        except (OnnxError, NoLayerError) as error:
            if "windows over" in str(error) or "normalises 5 axes" in str(error):
                raise LeftOut(NOT_2D) from None
            raise LeftOut(NOT_OURS if "cubic" in str(error) else NO_LAYER) from None

    def module(self) -> Module:
        """Return the model."""
        made: Sequential | Graph = loading.built(self.net, self.file)
        return made.to(self.x.dtype)

    def output(self, module: Module) -> Array:
        """Return what the model computes."""
        x = self.x.transpose(0, 3, 1, 2) if self.net.channels_last else self.x
        y = module(x)
        return y if self.has_batch else y[0]


def _joins(node: Node, x: Array, constants: dict[str, Array], has_batch: bool) -> bool:
    """Whether the inputs are arrays of one shape, or of shapes that may be concatenated along the channels."""
    if len(node.inputs) < 2 or not set(node.inputs[1:]) <= set(constants):
        return False
    shapes = [x.shape[1 - has_batch :], *(constants[name].shape for name in node.inputs[1:])]
    along = (1, 1 - len(shapes[0])) if has_batch else ()
    if node.op == "Concat":
        kept = {(len(shape), *shape[:1], *shape[2:]) for shape in shapes}
        return len(kept) == 1 and node.attributes.get("axis", 1) in along
    return len(set(shapes)) == 1 and x.ndim > 1


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return arguments as the importer reads them."""
    return {name: shortest(value) if isinstance(value, float) else value for name, value in attributes.items()}


def _shifted(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return arguments for an array with one more axis in front."""
    axis = attributes.get("axis", -1)
    return attributes | {"axis": axis + 1 if axis >= 0 else axis}


def subject(module: Module) -> str:
    """Return the class that a vector checks: of several layers the first that is no helper."""
    kinds = [type(layer).__name__ for layer in module] if isinstance(module, Sequential) else [type(module).__name__]
    return next((kind for kind in kinds if kind not in HELPERS), kinds[0])
