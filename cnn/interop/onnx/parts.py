"""What the importer works with: an operator with what is known of its inputs, and the layers that it becomes."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cnn.core.text import fields_text
from cnn.interop.onnx.reading import Node, shortest
from cnn.module import Array

BATCH = 1_000_003  # the size of the batch axis while shapes are computed: a prime that no file has, so it stays visible
LARGEST = 2**28  # numbers that all weights together may have beyond those that are stored in the file
# what NumPy and Python raise where the arguments or the constants of an operator are not what ONNX says
DAMAGE = (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, AttributeError, OverflowError)
Shape = tuple[int, ...]


class NoLayerError(ValueError):
    """What of an operator cannot be expressed, or is wrong; the message continues "node ... "."""


@dataclass
class Layer:
    """A layer or a join that is to be made.

    Attributes
    ----------
    kind : str
        The name of its class. While parts are joined there are also "Reshape", with the sizes of a sample after it in
        ``arguments["shape"]``, and "Erf", "Sqrt" and so on, which become a layer together with others or not at all.
    arguments : dict
        Of the constructor.
    shape : tuple of int
        Of the output.
    tensors : dict of str to ndarray
        Parameters and buffers.
    frozen : bool
        Whether its numbers are no parameters in the file, such as the 3 of a hard swish.
    """

    kind: str
    arguments: dict[str, Any]
    shape: Shape
    tensors: dict[str, Array] = field(default_factory=dict)
    frozen: bool = False

    __repr__ = fields_text


@dataclass
class Step:
    """A layer with the names of what it reads and of what it makes."""

    name: str
    layer: Layer
    inputs: list[str]
    output: str


class Value(NamedTuple):
    """What is known of a value: its shape, and its numbers if they do not depend on the images."""

    shape: Shape
    array: Array | None = None
    of_batch: bool = False  # whether the numbers depend on how many images there are

    def __repr__(self) -> str:
        return fields_text(self)


class Operator:
    """A node with what is known of its inputs.

    Parameters
    ----------
    node : Node
    values : list of Value or None
        Of the inputs; None for one that is left out.
    opset : int
    batch : int or None
        The batch size that the file fixes.
    """

    def __init__(self, node: Node, values: list[Value | None], opset: int, batch: int | None) -> None:
        self.node, self.values, self.opset, self.batch = node, values, opset, batch
        self.op = node.op

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument."""
        return self.node.attributes.get(name, default)

    def has(self, i: int) -> bool:
        """Whether an input is given."""
        return i < len(self.values) and self.values[i] is not None

    def shape(self, i: int = 0) -> Shape:
        """Return the shape of an input."""
        value = self.values[i] if i < len(self.values) else None
        if value is None:
            raise NoLayerError(f"has no input {i}: the file is damaged")
        return value.shape

    def array(self, i: int) -> Array:
        """Return the numbers of an input that must not depend on the images."""
        self.shape(i)
        found: Any = self.values[i]
        if found.array is None:
            raise NoLayerError(
                f"computes its input {i}, {self.node.inputs[i]!r}, from the images, where layers need constants"
            )
        numbers: Array = found.array
        return numbers

    def is_constant(self, i: int) -> bool:
        """Whether the numbers of an input are known."""
        value = self.values[i] if i < len(self.values) else None
        return value is not None and value.array is not None

    def option(self, name: str, i: int, since: int) -> Any:
        """Return what was an argument before a version of the operators, and an input from then on; None by default."""
        if self.opset < since:
            return self.get(name)
        return self.array(i) if self.has(i) else None

    def axis(self, default: int) -> int:
        """Return the argument axis, counted from 0."""
        return self.count_from_0(int(self.get("axis", default)), len(self.shape()))

    def count_from_0(self, axis: int, ndim: int) -> int:
        """Return an axis, counted from 0."""
        if not -ndim <= axis < ndim + (self.op == "Flatten"):
            raise NoLayerError(f"has axis {axis} for {ndim} axes: the file is damaged")
        return axis % ndim if axis < ndim else axis

    def reduced_axes(self) -> tuple[int, ...]:
        """Return the axes over which ReduceMean and others go."""
        ndim = len(self.shape())
        axes = self.option("axes", 1, 13 if self.op == "ReduceSum" else 18)
        if axes is None or not np.size(axes):
            return () if self.get("noop_with_empty_axes", 0) else tuple(range(ndim))
        return tuple(sorted(self.count_from_0(int(a), ndim) for a in np.reshape(axes, -1)))

    def bounds(self) -> tuple[float, float]:
        """Return the bounds of Clip."""
        low, high = (self.option(name, i, 11) for i, name in ((1, "min"), (2, "max")))
        return (
            -math.inf if low is None else shortest(np.reshape(low, -1)[0]),
            math.inf if high is None else shortest(np.reshape(high, -1)[0]),
        )

    def slices(self) -> list[tuple[int, int, int, int]]:
        """Return (axis, start, stop, step) of Slice."""
        starts, stops = (np.reshape(self.option(name, i, 10), -1) for i, name in ((1, "starts"), (2, "ends")))
        axes = self.option("axes", 3, 10)
        steps = self.option("steps", 4, 10) if self.opset >= 10 else None
        axes = range(len(starts)) if axes is None else [int(a) for a in np.reshape(axes, -1)]
        steps = [1] * len(starts) if steps is None else [int(n) for n in np.reshape(steps, -1)]
        ndim = len(self.shape())
        found = []
        for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
            if step == 0:
                raise NoLayerError("has a step of 0: the file is damaged")
            found.append((self.count_from_0(axis, ndim), int(start), int(stop), step))
        return found

    def new_shape(self) -> Shape:
        """Return the shape after Reshape, Flatten, Squeeze or Unsqueeze."""
        before = self.shape()
        if self.op == "Reshape":
            return self._reshaped(before)
        if self.op == "Flatten":
            axis = self.axis(1)
            return math.prod(before[:axis]), math.prod(before[axis:])
        axes = self.option("axes", 1, 13)
        if self.op == "Squeeze":
            if axes is None:
                return tuple(n for n in before if n != 1)
            dropped = [self.count_from_0(int(a), len(before)) for a in np.reshape(axes, -1)]
            if any(before[a] != 1 for a in dropped):
                raise NoLayerError(f"drops axes {dropped} of {self.shown(before)}, which are longer than 1")
            return tuple(n for a, n in enumerate(before) if a not in dropped)
        ndim = len(before) + np.size(axes)
        added = {self.count_from_0(int(a), ndim) for a in np.reshape(axes, -1)}
        if len(added) != np.size(axes) or ndim in added:
            raise NoLayerError(f"adds the axes {np.reshape(axes, -1).tolist()}, which do not fit: the file is damaged")
        rest = iter(before)
        return tuple(1 if a in added else next(rest) for a in range(ndim))

    def _reshaped(self, before: Shape) -> Shape:
        wanted = [int(n) for n in self.array(1).reshape(-1)]
        if not self.get("allowzero", 0):
            wanted = [before[i] if n == 0 and i < len(before) else n for i, n in enumerate(wanted)]
        if before[:1] == (BATCH,) and wanted and wanted[0] == self.batch:  # the batch size that the file fixes
            wanted[0] = BATCH
        known = math.prod(n for n in wanted if n != -1)
        total = math.prod(before)
        if wanted.count(-1) == 1 and known > 0:
            wanted[wanted.index(-1)] = total // known
        if math.prod(wanted) != total or any(n < 0 for n in wanted):
            raise NoLayerError(f"cannot turn {self.shown(before)} into {self.shown(wanted)}")
        return tuple(wanted)

    @staticmethod
    def shown(shape: Any) -> str:
        """Return a shape as text, with N for the batch axis."""
        return f"({', '.join(size_text(n) for n in shape)})"


def size_text(n: int) -> str:
    """Return a size as text, with N for the size of the batch."""
    times, rest = divmod(n, BATCH)
    if rest or not n:
        return str(n)
    return "N" if times == 1 else f"{times} N"


def in_memory(array: Array) -> Array:
    """Return the part of an array that takes memory: of what is repeated along an axis, the first.

    Examples
    --------
    >>> in_memory(np.broadcast_to(np.float32([[2], [3]]), (2, 1000))).shape
    (2, 1)
    """
    return array[tuple(slice(None, 1 if step == 0 else None) for step in array.strides)]
