"""Walk through the nodes of a file: what is constant is computed, the rest becomes a list of steps."""

import math
from dataclasses import dataclass

import numpy as np

from cnn.core.text import printable, short_text
from cnn.interop.onnx.folding import FOLDED, RESHAPING, VIEWS, fold
from cnn.interop.onnx.operators import OPERATORS
from cnn.interop.onnx.parts import BATCH, DAMAGE, LARGEST, Layer, NoLayerError, Operator, Shape, Step, Value, in_memory
from cnn.interop.onnx.patterns_nodes import joined
from cnn.interop.onnx.protobuf import OnnxError
from cnn.interop.onnx.reading import File, Node
from cnn.module import Array

SMALL = 2**16  # numbers that one operator of the arithmetic on shapes may always make
MOST_MADE = 2**22  # bytes that all of them together may make, besides as many as the file has
MEASURING = {"Shape", "Size"}
SHAPED = {"Expand", "Gather", "Slice", "Tile"} | RESHAPING  # whose further inputs say where numbers go, not which
OPEN = "it leaves sizes open, but does not fit every one: "
USUAL = (224, 256, 128, 64, 32, 28)  # sizes of images that are suggested where a file leaves them open


@dataclass
class Plan:
    """The steps of a model, the names of its outputs, and what cannot be expressed."""

    steps: list[Step]
    outputs: list[str]
    problems: list[str]


def plan(file: File, sample: Shape) -> Plan:
    """Return the steps for inputs whose sample has this shape.

    The batch axis has the size `BATCH` while shapes are computed, whatever the file says.
    """
    return _Walk(file, sample).run()


class _Walk:
    def __init__(self, file: File, sample: Shape) -> None:
        self.file = file
        self.values: dict[str, Value | None] = {name: Value(a.shape, a) for name, a in file.constants.items()}
        self.values[file.input] = Value((BATCH, *sample))
        self.same = {file.input: file.input}  # of a value that is another one unchanged: which
        self.steps: list[Step] = []
        self.problems: list[str] = []
        self.limit, self.made = SMALL + file.size // 4, 0

    def run(self) -> Plan:
        for node in joined(self.file):
            try:
                self.visit(node)
            except NoLayerError as problem:
                self.problems.append(f"node {short_text(node.name)}, {printable(node.op)}: {printable(problem)}")
                self.values.update(dict.fromkeys(node.outputs))
        outputs = []
        for name in self.file.outputs:
            value = self.values.get(name)
            if value is not None and value.array is not None:
                self.problems.append(f"output {short_text(name)} does not depend on the input: leave it out")
            elif value is None and not self.problems:
                self.problems.append(f"output {short_text(name)}: no layer returns it")
            outputs.append(self.same.get(name, name))
        for i, (name, same) in enumerate(zip(self.file.outputs, outputs, strict=True)):
            if not self.problems and len(outputs) > 1 and same in (self.file.input, *outputs[:i]):
                what = "the input" if same == self.file.input else "another output"
                self.problems.append(f"output {short_text(name)} is the same as {what}: leave it out")
        return Plan(self.steps, outputs, self.problems)

    def visit(self, node: Node) -> None:
        """Compute what a node gives, or add its layers."""
        read = [self.values.get(name) if name else None for name in node.inputs]
        unknown = [name for name, value in zip(node.inputs, read, strict=True) if name and value is None]
        if unknown:  # behind a node that is a problem itself, or an output that no layer returns
            self.values.update(dict.fromkeys(node.outputs))
            self.check_known(node, unknown)
            return
        o = Operator(node, read, self.file.opset, self.file.shape[0])
        if node.op in MEASURING:
            array = measured(o)
            self.values[node.outputs[0]] = Value(array.shape, array, bool((array >= BATCH).any()))
        elif node.op in FOLDED and all(value is None or value.array is not None for value in read):
            array = fold(o, self.limit)
            self.count(o, array)
            self.values[node.outputs[0]] = Value(array.shape, array, is_of_batch(o, array))
        else:
            self.check_known(node, [])
            if all(value is None or value.array is not None for value in read):
                raise NoLayerError("computes with constants alone, and is not folded: put its result into the file")
            made = layers_of(o, max(LARGEST, self.limit))
            rows = made if node.op == "Split" else [made]
            for row, output in zip(rows, node.outputs, strict=False):
                self.add(o, row, output)
            self.values.update(dict.fromkeys(node.outputs[len(rows) :]))

    def count(self, o: Operator, array: Array) -> None:
        """Raise an error if what was computed from constants takes too much memory by now."""
        read = [value.array for value in o.values if value is not None and value.array is not None]
        if (o.op in VIEWS and o.op not in RESHAPING) or any(np.may_share_memory(array, one) for one in read):
            return
        self.made += array.nbytes
        if self.made > MOST_MADE + self.file.size:
            raise OnnxError(
                f"what it computes from constants takes more than {(MOST_MADE + self.file.size) // 2**20:,} MiB: fold "
                "them before, as onnxruntime does with optimized_model_filepath"
            )

    def check_known(self, node: Node, unknown: list[str]) -> None:
        """Raise an error if no layer does what a node does."""
        if any(value is None and name != "value" for name, value in node.attributes.items()):
            raise NoLayerError("decides while it runs which nodes to run: export the model for one fixed way")
        if node.op not in OPERATORS and node.op not in FOLDED and node.op not in MEASURING:
            raise NoLayerError("there is no layer for it: export a part of the model without it")
        if node.op not in OPERATORS and not unknown:
            raise NoLayerError("there is no layer for it where it depends on the images: export the model without it")
        if unknown and not self.problems:
            raise NoLayerError(f"reads {unknown[0]!r}, a further output of a layer that returns only its first")

    def add(self, o: Operator, row: list, output: str) -> None:
        """Add the layers of a node, of which each reads the one before."""
        inputs = [name for name in o.node.inputs if name and self.file_value(name).array is None]
        before = [self.same.get(name, name) for name in inputs]
        if not row:
            self.same[output] = before[0]
            self.values[output] = self.values[inputs[0]]
            return
        for i, layer in enumerate(row):
            name = output if i == len(row) - 1 else f"{output}:{i}"
            self.steps.append(Step(self.name_of(o.node, output), layer, before, name))
            before = [name]
        self.values[output] = Value(row[-1].shape)

    def file_value(self, name: str) -> Value:
        value = self.values[name]
        if value is None:
            raise NoLayerError(f"reads {name!r}, which no layer returns")
        return value

    def name_of(self, node: Node, output: str) -> str:
        """Return a name for the layer of a node: that of its weight, its own, or that of its output."""
        weight = node.inputs[1] if len(node.inputs) > 1 else ""
        if weight in self.file.constants and weight.endswith(".weight"):
            return weight.removesuffix(".weight")
        return output if node.name.startswith("node ") or not node.name else node.name


def measured(o: Operator) -> Array:
    """Return what Shape or Size gives."""
    shape = o.shape()
    try:
        if o.op == "Size":
            return np.array(math.prod(shape), np.int64)
        return np.array(shape, np.int64)[o.get("start", 0) : o.get("end") if o.opset >= 15 else None]
    except DAMAGE as error:
        raise NoLayerError(f"cannot measure {o.shown(shape)} ({error}): the file is damaged") from None


def is_of_batch(o: Operator, array: Array) -> bool:
    """Whether numbers that were computed from others depend on the size of the batch."""
    if o.op == "ConstantOfShape":
        return False  # only its shape does
    read = o.values[:1] if o.op in SHAPED else o.values
    depends = any(value is not None and value.of_batch for value in read)
    if o.op in ("Gather", "Slice") and array.dtype.kind == "i":  # perhaps of the other sizes alone
        return depends and bool((np.abs(array) >= BATCH).any())
    return depends


def layers_of(o: Operator, most_floats: int) -> list:
    """Return the layers of an operator.

    Raises
    ------
    NoLayerError
        If there are none, or if its constants are larger than any of a layer, as those of a damaged file may be.
    """
    for value in o.values:
        if value is None or value.array is None or o.op == "Concat":  # which looks only whether all of them are 0
            continue
        if value.of_batch and value.array.dtype.kind == "f":
            raise NoLayerError("computes with the number of images, which a layer does not know: use a fixed number")
        most, kind = (most_floats, "numbers") if value.array.dtype.kind == "f" else (SMALL, "integers")
        if value.array.size > most:
            raise NoLayerError(f"reads a constant of {value.array.size:,} {kind}, more than a layer needs")
    try:
        with np.errstate(all="ignore"):  # a division by 0 gives infinity, as it does in the file
            made: list = OPERATORS[o.op](o)
    except NoLayerError:
        raise
    except DAMAGE as error:
        raise NoLayerError(f"has arguments or constants that do not fit ({error}): the file is damaged") from None
    return made


def check(plans: list[Plan], file: File) -> None:
    """Raise an error that names every node that cannot be expressed, for inputs of any of the sizes."""
    problems = plans[0].problems
    if len(plans) > 1 and problems != plans[1].problems:
        raise OnnxError(OPEN + suggestion(file) + _lines(plans[1].problems or problems))
    if problems:
        given = "with this input_shape " if len(plans) == 1 and None in file.shape[1:] else ""
        raise OnnxError(f"{given}it cannot become a model:" + _lines(problems))


def check_same(rows: list[list[Step]], file: File) -> None:
    """Raise an error unless the layers are the same for inputs of every size; ``rows`` are those for each size."""
    for other in rows[1:]:
        problems = [
            f"node {short_text(one.name)}: {one.layer.kind} depends on the height and width of the images"
            for one, another in zip(rows[0], other, strict=False)
            if not is_same(one.layer, another.layer)
        ]
        if len(rows[0]) != len(other):
            problems.append("the number of layers depends on the height and width of the images")
        if problems:
            raise OnnxError(OPEN + suggestion(file) + _lines(problems))


def is_same(one: Layer, other: Layer) -> bool:
    """Whether two layers have the same settings and numbers."""
    if (one.kind, one.arguments, one.tensors.keys()) != (other.kind, other.arguments, other.tensors.keys()):
        return False
    pairs = [(tensor, other.tensors[name]) for name, tensor in one.tensors.items()]
    return all(
        a is b or (a.shape == b.shape and np.array_equal(in_memory(a), in_memory(b), equal_nan=True)) for a, b in pairs
    )


def _lines(problems: list[str]) -> str:
    return "".join(f"\n  {problem}" for problem in problems)


def suggestion(file: File) -> str:
    """Return a sentence about input_shape, with a shape that fits if a usual one does."""
    for pixels in USUAL:
        sizes = tuple(pixels if n is None else n for n in file.shape[1:])
        if not plan(file, sizes).problems:
            return f"say which, as in cnn.interop.onnx.load(path, input_shape={sizes})"
    shown = ", ".join("..." if n is None else str(n) for n in file.shape[1:])
    return f"say which it is made for, cnn.interop.onnx.load(path, input_shape=({shown}))"
