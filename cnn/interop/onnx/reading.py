"""Read an ONNX file into plain records, and refuse what cannot become a model. Nothing in a file is run.

The numbers of the fields are those of onnx/onnx.proto, version 1.22.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.text import fields_text, printable, short_text
from cnn.interop.onnx.protobuf import Message, OnnxError, fields, floats, integers, number, text
from cnn.interop.onnx.tensors import FLOAT, NAMES, array, in_float32
from cnn.module import Array

OLDEST, NEWEST = 7, 22  # the operator sets whose rules the importer knows
STANDARD = ("", "ai.onnx")  # names of ONNX's own domain
QUANTIZED = ("QLinear", "Quantize", "Dequantize", "DynamicQuantize")  # beginnings of the names of these operators
MOST = 30_000  # nodes, and stored arrays, of a file; the largest nets have a few thousand
AGAIN = "export the model to ONNX again"


@dataclass(slots=True)
class Node:
    """One operator: its name, its kind, the names of its inputs ("" for one left out) and outputs, its arguments."""

    name: str
    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class File:
    """What a file holds.

    Attributes
    ----------
    opset : int
        The version of the operators.
    nodes : list of Node
        In an order in which each reads what comes before it.
    constants : dict of str to ndarray
        The stored arrays, read-only.
    input, shape : str, tuple
        The name of the input, and its sizes; None where the file leaves one open.
    outputs : list of str
    metadata : dict of str to str
    size : int
        Bytes, with those of the files beside it that hold weights.
    """

    opset: int
    nodes: list[Node]
    constants: dict[str, Array]
    input: str
    shape: tuple[int | None, ...]
    outputs: list[str]
    metadata: dict[str, str]
    size: int

    __repr__ = fields_text


def read(path: str | Path) -> File:
    """Return what an ONNX file holds.

    Raises
    ------
    FileNotFoundError, OnnxError
        If there is no such file; if it is damaged or cannot become a model.
    """
    path = Path(path)
    if path.is_dir():
        raise OnnxError(f"{printable(path)} is a folder: name the .onnx file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(path)}")
    try:
        data = path.read_bytes()
        if data[:4] == b"PK\x03\x04":
            raise OnnxError("it is a zip file, as PyTorch writes, no ONNX file: export the model to ONNX")
        return _file(memoryview(data), path.parent)
    except OnnxError as error:
        raise OnnxError(f"{printable(path)}: {error}") from None
    except MemoryError:
        raise OnnxError(f"{printable(path)} is larger than the memory") from None


def _file(data: memoryview, folder: Path) -> File:
    graph, versions, metadata = None, dict[str, int](), {}
    for field, value in fields(data):
        if field == 7:
            graph = value
        elif field == 8:
            message = Message(value)
            versions[message.text(1)] = message.integer(2)
        elif field == 14:
            message = Message(value)
            metadata[message.text(1)] = message.text(2)
        elif field == 25:
            raise OnnxError("it has functions: put them in line with onnx.inliner.inline_local_functions(model)")
        if len(versions) + len(metadata) > MOST:
            raise OnnxError(f"it has more than {MOST:,} entries: {AGAIN}")
    if graph is None or isinstance(graph, int):
        raise OnnxError(f"it is empty, cut short or no ONNX file: {AGAIN}")
    opset = _opset(versions)
    parts = _Graph(graph, folder)
    fed = [value for value in parts.inputs if value.text(1) not in parts.constants]
    if len(fed) != 1:
        names = ", ".join(printable(value.text(1)) for value in fed[:10])
        raise OnnxError(f"a model takes one input, but it has {len(fed)} ({names}): export a part that has one")
    name = fed[0].text(1)
    outputs = [value.text(1) for value in parts.outputs]
    _check_order(parts.nodes, {name, *parts.constants}, outputs)
    beside = {str(a.filename) for a in parts.constants.values() if isinstance(a, np.memmap)}
    size = len(data) + sum(Path(other).stat().st_size for other in beside)
    return File(opset, parts.nodes, parts.constants, name, _shape(fed[0]), outputs, metadata, size)


def _opset(versions: dict[str, int]) -> int:
    found = [versions[domain] for domain in STANDARD if domain in versions]
    if versions and not found:
        raise OnnxError(f"it uses only operators of {short_text(next(iter(versions)))}, for which there are no layers")
    if not found:
        raise OnnxError(f"it does not say which version of the operators it uses, so it is damaged: {AGAIN}")
    opset = max(found)
    problem = f"it uses operators of version {opset}, this reads {OLDEST} to {NEWEST}"
    if opset > NEWEST:
        raise OnnxError(f"{problem}: export it again with older ones, such as opset_version=17 in PyTorch")
    if opset < OLDEST:
        raise OnnxError(f"{problem}: convert it with onnx.version_converter.convert_version(model, 17)")
    return opset


class _Graph:
    """The parts of a graph."""

    def __init__(self, data: memoryview, folder: Path) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[Message] = []
        self.outputs: list[Message] = []
        self.folder = folder
        for field, value in fields(data):
            if field == 1:
                self.nodes.append(self.node(Message(value)))
            elif field == 5:
                name, numbers = array(value, folder, is_weight=True)
                self.constants[name] = numbers
            elif field in (11, 12):
                (self.inputs if field == 11 else self.outputs).append(Message(value))
            elif field == 15:
                raise OnnxError("it holds sparse arrays: store them as dense ones")
            if max(len(self.nodes), len(self.constants), len(self.inputs), len(self.outputs)) > MOST:
                raise OnnxError(f"it has more than {MOST:,} nodes, arrays, inputs or outputs: export a part of it")
        if not self.nodes:
            raise OnnxError(f"it has no nodes, so it is cut short or damaged: {AGAIN}")

    def node(self, message: Message) -> Node:
        domain, op = message.text(7), message.text(4)
        if not op or not message.all(2) or len(message.all(1)) + len(message.all(2)) > MOST:
            raise OnnxError(f"node {len(self.nodes)} has no operator or no output, so the file is damaged: {AGAIN}")
        if op.startswith(QUANTIZED) or op.endswith("Integer"):
            raise OnnxError(f"it computes with quantized integers ({printable(op)}): use the file before quantization")
        name = message.text(3) or f"node {len(self.nodes)}"
        inputs, outputs = ([text(value) for value in message.all(field)] for field in (1, 2))
        attributes = dict(self.attribute(Message(value), name) for value in message.all(5))
        return Node(name, op if domain in STANDARD else f"{domain}.{op}", inputs, outputs, attributes)

    def attribute(self, message: Message, node: str) -> tuple[str, Any]:
        """Return the name and the value of an argument: numbers, texts, tuples or an array; None for a graph."""
        name, kind = message.text(1), message.integer(20)
        value: Any = None  # If, Loop and Scan have graphs, and no layer expresses them
        if kind == 1:
            value = shortest(number((message.all(2) or [memoryview(bytes(4))])[-1]))
        elif kind == 2:
            value = message.integer(3)
        elif kind == 3:
            value = message.text(4)
        elif kind == 4:
            value = array((message.all(5) or [memoryview(b"")])[-1], self.folder, is_weight=False)[1]
        elif kind == 6:
            value = tuple(shortest(n) for n in floats(message.all(7) or [memoryview(b"")])[:MOST])
        elif kind == 7:
            value = tuple(integers(message.all(8)))
        elif kind == 8:
            value = tuple(text(each) for each in message.all(9)[:MOST])
        elif kind not in (5, 10):
            raise OnnxError(f"node {short_text(node)} has an argument {short_text(name)} of a kind that no layer has")
        return name, value


def shortest(value: Any) -> float:
    """Return the decimal with the fewest digits that float32 rounds to the same number: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def _shape(value: Message) -> tuple[int | None, ...]:
    """Return the sizes of the input; None where the file leaves one open."""
    name, tensor = short_text(value.text(1)), value.message(2).message(1)
    kind = tensor.integer(1)
    if kind != FLOAT:
        found = (NAMES | {0: "no array", 6: "int32", 7: "int64", 9: "bool"}).get(kind, f"of the kind {kind}")
        raise OnnxError(f"the input {name} must be float32, but is {found}: {in_float32(kind)}")
    if not tensor.all(2):
        raise OnnxError(f"the input {name} has no shape: export it with one, such as (N, 3, 224, 224)")
    sizes = [Message(dim).integer(1, -1) for dim in tensor.message(2).all(1)[:40]]
    if len(sizes) < 2:
        raise OnnxError(f"the input {name} must have a batch axis and others, but has {len(sizes)} axes")
    return tuple(n if n > 0 else None for n in sizes)


def _check_order(nodes: list[Node], known: set[str], outputs: list[str]) -> None:
    """Raise an error unless each node reads what comes before it, and each value is computed once."""
    known = known | {""}
    for node in nodes:
        for name in node.inputs:
            if name not in known:
                reader, unknown = short_text(node.name), short_text(name)
                raise OnnxError(f"node {reader} reads {unknown}, which nothing before it makes: the file is damaged")
        twice = [name for name in node.outputs if name and name in known]
        if twice:
            raise OnnxError(f"{short_text(twice[0])} is computed twice: the file is damaged, {AGAIN}")
        known.update(node.outputs)
    missing = [name for name in outputs if name not in known]
    if missing or not outputs:
        what = f"the output {short_text(missing[0])}" if missing else "an output"
        raise OnnxError(f"nothing computes {what}: the file is damaged, {AGAIN}")
