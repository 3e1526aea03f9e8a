"""ONNX's published test vectors: models of one or a few operators, with inputs and expected outputs.

They are part of the package onnx (Apache-2.0), up to version 1.22. Its folder `node` has models of one operator each,
`pytorch-converted` has modules that PyTorch exported, with PyTorch's own outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn.core.text import fields_text
from cnn.module import Array

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # then run.py leaves the vectors out
    onnx = None  # type: ignore[assignment]

FOLDERS = ("node", "pytorch-converted")
FLOATS = (1, 11)  # TensorProto.FLOAT and DOUBLE


@dataclass(frozen=True)
class Node:
    """One operator of a graph: its kind, the names of its inputs and outputs, and its arguments."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Vector:
    """One test vector.

    Attributes
    ----------
    name, folder : str
    nodes : list of Node
        In execution order.
    is_float : bool
        Whether its first input and its first output are float32 or float64.
    arrays : dict of str to ndarray
        Inputs and constants, by name; `load` reads the inputs.
    inputs, outputs : list of str
        Names of the inputs and of the outputs.
    expected : dict of str to ndarray
        The expected outputs, by name.
    """

    name: str
    folder: str
    path: Path
    opset: int = 0
    is_float: bool = False
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)

    __repr__ = fields_text

    @property
    def is_expanded(self) -> bool:
        """Whether it repeats another vector in smaller operators."""
        return "_expanded" in self.name

    @property
    def ops(self) -> tuple[str, ...]:
        """The kinds of its operators."""
        return tuple(node.op for node in self.nodes)

    def load(self) -> None:
        """Read inputs and expected outputs."""
        data = self.path / "test_data_set_0"
        for kind, names, arrays in (("input", self.inputs, self.arrays), ("output", self.outputs, self.expected)):
            for i, name in enumerate(names):
                tensor = TensorProto()
                tensor.ParseFromString((data / f"{kind}_{i}.pb").read_bytes())
                arrays[name] = numpy_helper.to_array(tensor)


def installed() -> bool:
    """Return whether onnx is installed."""
    return onnx is not None


def folder() -> Path:
    """Return the folder of the vectors; newer versions of onnx have none."""
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def version() -> str:
    """Return the version of onnx."""
    return str(onnx.__version__)


def vectors() -> Iterator[Vector]:
    """Yield all vectors, without their arrays."""
    for name in FOLDERS:
        for path in sorted((folder() / name).glob("test_*")):
            vector = Vector(path.name.removeprefix("test_"), name, path)
            if not vector.is_expanded:  # their models are large, and not needed
                _read(vector)
            yield vector


def _read(vector: Vector) -> None:
    """Read everything except inputs and expected outputs."""
    model = onnx.load(vector.path / "model.onnx")
    graph, vector.opset = model.graph, model.opset_import[0].version
    vector.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    fed = [value for value in graph.input if value.name not in vector.arrays]
    for node in graph.node:
        attributes = {attribute.name: _plain(attribute) for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            vector.arrays[node.output[0]] = attributes["value"]
        vector.nodes.append(Node(node.op_type, list(node.input), list(node.output), attributes))
    vector.inputs, vector.outputs = [value.name for value in fed], [value.name for value in graph.output]
    kinds = [value.type.tensor_type.elem_type for value in (*fed[:1], *graph.output[:1])]
    vector.is_float = bool(fed) and all(kind in FLOATS for kind in kinds)


def _plain(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(int(n) for n in value) if isinstance(value, list) and all(isinstance(n, int) for n in value) else value
