"""The ONNX graph of a model while it is written: operators and constants, still without the package onnx.

`Writer` holds the graph. It finds for each module the function that writes it, and hands it a `LayerWriter`, which
knows the module's name. A module that cannot be expressed is noted, so that one error lists them all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.core.parameter import Buffer
from cnn.module import Array, Module

OPSET = 17
SINCE = {"Mish": 18, "Gelu": 20, "GroupNormalization": 21}  # operators that need a later opset
TRAINING_ONLY = {  # what a subclass may override: it does not change the outputs in evaluation mode
    "arguments",
    "backward",
    "evaluate",
    "fit",
    "gradient",
    "keep",
    "loss_and_grad",
    "multiply_adds",
    "predict",
    "predict_proba",
    "preprocess",
    "save",
    "summary",
    "train_step",
}
OWN_CLASS = (
    "ONNX has no operator for a class of your own: build it of layers of cnn.layers, with Sum, Concat or Graph where "
    "it branches, or export the parts before and after it as two files"
)


class Value(NamedTuple):
    """An array that flows through the graph: its name, and its shape for one sample."""

    name: str
    shape: tuple[int, ...]


class Node(NamedTuple):
    """One operator: what it reads, the name of its output, which is also its own, and its arguments."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class NotExpressible(Exception):  # noqa: N818  (it never leaves this package)
    """A layer that ONNX cannot express, with what to do."""


Function = Callable[["LayerWriter", Any, Any], str]  # writes one kind of module and returns the name of its output


class Writer:
    """The graph of a model.

    Parameters
    ----------
    functions : dict of type to callable
        For each class the function that writes it.
    shapes : dict of str to tuple of int
        The shape of every module's output for one sample.
    opset : int or None
        The opset that was asked for; None: the lowest that the operators need, but at least 17.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they run.
    constants : dict of str to ndarray
        The parameters, named as in the state_dict, and other constants.
    problems : list of str
        One for each module that cannot be expressed.
    """

    def __init__(self, functions: dict[type, Function], shapes: dict[str, tuple[int, ...]], opset: int | None) -> None:
        self.functions, self.shapes, self.opset = functions, shapes, opset
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.problems: list[str] = []
        self._names = {"input", "output"}
        self._written: dict[tuple[int, tuple[int, ...]], str] = {}  # names of the tensors that are constants already

    def write(self, path: str, module: Module, inputs: Any) -> Value:
        """Write a module; ``inputs`` is a `Value`, or a list of them for a join."""
        function = function_for(module, self.functions)
        name = inputs[0].name if isinstance(inputs, list) else inputs.name
        try:
            if function is None:
                raise NotExpressible(OWN_CLASS)
            name = function(LayerWriter(self, path, module), module, inputs)
        except NotExpressible as problem:
            self.problems.append(f"{described(module, path)}: {problem}")
        return Value(name, self.shapes.get(path, ()))  # a Graph with several outputs has no one shape

    def add(self, op: str, inputs: list[str], name: str, attributes: dict[str, Any]) -> str:
        """Add an operator and return the name of its output."""
        needed = SINCE.get(op, OPSET)
        if self.opset is not None and self.opset < needed:
            raise NotExpressible(f"its operator {op} needs opset={needed}, got {self.opset}: pass that, or no opset")
        self.nodes.append(Node(op, inputs, self.new_name(name), attributes))
        return self.nodes[-1].output

    def needed_opset(self) -> int:
        """Return the lowest opset, at least 17, that has all operators."""
        return max([OPSET, *(SINCE.get(node.op, OPSET) for node in self.nodes)])

    def new_name(self, name: str) -> str:
        """Return this name, or if it is taken, one that is not."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def constant(self, name: str, array: Any) -> str:
        """Add a constant and return its name; floats become float32."""
        array = np.asarray(array, order="C")  # onnx writes the memory as it is
        if array.dtype.kind == "f":
            array = as_float32(array, name)
        name = self.new_name(name)
        self.constants[name] = array
        return name

    def tensor(self, name: str, tensor: Buffer, shape: tuple[int, ...]) -> str:
        """Add a parameter or a buffer in this shape, unless another layer that shares it has, and return its name."""
        key = id(tensor), shape
        if key not in self._written:
            self._written[key] = self.constant(name, tensor.data.reshape(shape))
        return self._written[key]

    def name_outputs(self, values: list[Value], names: list[str]) -> None:
        """Give the outputs of the model their names."""
        made = {node.output for node in self.nodes}
        renamed: dict[str, str] = {}
        copies: list[tuple[str, str]] = []
        for value, name in zip(values, names, strict=True):
            if value.name in made and value.name not in renamed:
                renamed[value.name] = name
            else:  # the input itself, or an output already
                copies.append((value.name, name))
        self.nodes = [
            Node(op, [renamed.get(name, name) for name in inputs], renamed.get(output, output), attributes)
            for op, inputs, output, attributes in self.nodes
        ]
        self.nodes += [Node("Identity", [renamed.get(value, value)], name, {}) for value, name in copies]


class LayerWriter:
    """Writes the operators of one module; their names begin with its own."""

    def __init__(self, writer: Writer, path: str, module: Module) -> None:
        self._writer, self._path, self._module = writer, path, module

    def node(self, op: str, *inputs: str, part: str = "", **attributes: Any) -> str:
        """Add an operator, by default as the one that gives the module's output; return the name of its output."""
        return self._writer.add(op, list(inputs), self._named(part), attributes)

    def tensor(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Add a parameter or a buffer of the module, by default in its own shape; return its name."""
        tensor = getattr(self._module, name)
        return self._writer.tensor(self._named(name), tensor, tensor.shape if shape is None else shape)

    def constant(self, name: str, array: Any) -> str:
        """Add another constant; return its name."""
        return self._writer.constant(self._named(name), array)

    def child(self, name: str, module: Module, inputs: Any) -> Value:
        """Write a module inside this one."""
        return self._writer.write(self._named(name), module, inputs)

    def _named(self, part: str) -> str:
        return ".".join(filter(None, [self._path, part])) or type(self._module).__name__


def reshape(w: LayerWriter, x: str, shape: list[int], part: str = "") -> str:
    """Add a Reshape; a 0 in the shape keeps the batch axis."""
    return w.node("Reshape", x, w.constant(f"{part or 'new'}_shape", np.array(shape, np.int64)), part=part)


def function_for(module: Module, functions: dict[type, Function]) -> Function | None:
    """Return the function of a module's class, or of the class it derives from if its forward runs the same code."""
    changed = set(vars(module))
    for cls in type(module).__mro__:
        if cls in functions:
            overridden = {name for name in changed if callable(getattr(cls, name, None))}
            return None if overridden - TRAINING_ONLY else functions[cls]
        changed |= {name for name in vars(cls) if not name.startswith("__") or name == "__call__"}
    return None


def described(module: Module, path: str) -> str:
    """Return the name of a module in its model, and its class with its arguments, or without if they are many."""
    text = repr(module)
    if "\n" in text or len(text) > 80:
        text = type(module).__name__
    return f"layer {path}, {text}" if path else text


def as_float32(array: Array, name: str) -> Array:
    """Return an array in float32, or raise an error if a number is too large for that."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(array, np.float32, order="C")
    if not np.array_equal(np.isinf(narrow), np.isinf(array)):
        raise ValueError(f"{name} has a number that float32, which ONNX files hold, cannot: {np.abs(array).max():g}")
    return narrow
