"""Compute what does not depend on the images: constants, and arithmetic on shapes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.interop.onnx.parts import DAMAGE, NoLayerError, Operator
from cnn.interop.onnx.reading import shortest
from cnn.module import Array

DTYPES = {1: "f4", 2: "u1", 3: "i1", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8", 12: "u4", 13: "u8"}


def constant(o: Operator) -> Array:
    """Constant, which has its value in one of several arguments."""
    for name, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if name in o.node.attributes:
            return np.array(o.get(name), dtype)
    value = o.get("value")
    if not isinstance(value, np.ndarray):
        raise NoLayerError("holds no array of numbers")
    return value


def constant_of_shape(o: Operator) -> Array:
    """ConstantOfShape: one number, repeated without taking memory."""
    value = o.get("value", np.zeros(1, "f4"))
    return repeated(value.reshape(()), [int(n) for n in o.array(0)])


def repeated(value: Array, shape: Any) -> Array:
    """Return one number or array, repeated without taking memory."""
    shape = tuple(int(n) for n in shape)
    if any(n < 0 for n in shape) or math.prod(shape) > 2**40:
        raise NoLayerError(f"makes an array of shape {shape}")
    return np.broadcast_to(value, shape)


def expand(o: Operator) -> Array:
    """Expand to a shape that broadcasts with that of the input."""
    x = o.array(0)
    return repeated(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in o.array(1))))


def reshape(o: Operator) -> Array:
    """Reshape, Squeeze, Unsqueeze and Flatten; one repeated number stays one number in memory."""
    x, shape = o.array(0), o.new_shape()
    if x.size and not any(x.strides):
        return repeated(x.reshape(-1)[0] if x.ndim == 0 else x[(0,) * x.ndim], shape)
    return x.reshape(shape)


def slices(o: Operator) -> Array:
    """Slice."""
    x = o.array(0)
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in o.slices():
        index[axis] = slice(start, stop if step > 0 or stop >= -x.shape[axis] else None, step)
    return x[tuple(index)]


def divide(a: Array, b: Array) -> Array:
    """Div: of integers, rounded towards zero."""
    if a.dtype.kind not in "iu":
        return a / b
    if not b.all():
        raise NoLayerError("divides by zero")
    return np.trunc(a / b).astype(a.dtype)


def reduced(function: Callable[..., Array]) -> Callable[[Operator], Array]:
    """ReduceMean and others."""

    def reduce(o: Operator) -> Array:
        if not o.array(0).size:
            raise NoLayerError("reduces an array without numbers: the file is damaged")
        found: Array = function(o.array(0), axis=o.reduced_axes(), keepdims=bool(o.get("keepdims", 1)))
        return found

    return reduce


def binary(function: Callable[[Array, Array], Any]) -> Callable[[Operator], Array]:
    """An operator on two arrays that broadcast."""
    return lambda o: function(o.array(0), o.array(1))


def unary(function: Callable[[Array], Any]) -> Callable[[Operator], Array]:
    """An operator on one array."""
    return lambda o: function(o.array(0))


def clip(o: Operator) -> Array:
    """Clip."""
    low, high = o.bounds()
    return o.array(0).clip(low, high)


def arange(o: Operator) -> Array:
    """Range."""
    start, stop, step = (o.array(i).item() for i in range(3))
    return np.arange(start, stop, step).astype(o.array(0).dtype)


FOLDED: dict[str, Callable[[Operator], Array]] = {
    "Abs": unary(np.abs),
    "Add": binary(np.add),
    "And": binary(np.logical_and),
    "Cast": lambda o: o.array(0).astype(DTYPES[o.get("to")], copy=False),
    "Ceil": unary(np.ceil),
    "Clip": clip,
    "Concat": lambda o: np.concatenate([o.array(i) for i in range(len(o.values))], axis=o.get("axis", 1)),
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Div": binary(divide),
    "Equal": binary(np.equal),
    "Exp": unary(np.exp),
    "Expand": expand,
    "Flatten": reshape,
    "Floor": unary(np.floor),
    "Gather": lambda o: o.array(0).take(o.array(1), axis=o.get("axis", 0)),
    "Greater": binary(np.greater),
    "Identity": unary(np.asarray),
    "Less": binary(np.less),
    "Max": binary(np.maximum),
    "Min": binary(np.minimum),
    "Mod": binary(np.mod),
    "Mul": binary(np.multiply),
    "Neg": unary(np.negative),
    "Not": unary(np.logical_not),
    "Pow": binary(np.power),
    "Range": lambda o: arange(o),
    "Reciprocal": unary(np.reciprocal),
    "ReduceMax": reduced(np.max),
    "ReduceMean": reduced(np.mean),
    "ReduceMin": reduced(np.min),
    "ReduceProd": reduced(np.prod),
    "ReduceSum": reduced(np.sum),
    "Reshape": reshape,
    "Slice": slices,
    "Sqrt": unary(np.sqrt),
    "Squeeze": reshape,
    "Sub": binary(np.subtract),
    "Tile": lambda o: np.tile(o.array(0), o.array(1)),
    "Transpose": lambda o: o.array(0).transpose(o.get("perm")),
    "Unsqueeze": reshape,
    "Where": lambda o: np.where(o.array(0), o.array(1), o.array(2)),
}
RESHAPING = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}
VIEWS = {"Constant", "ConstantOfShape", "Expand", "Identity", "Transpose"} | RESHAPING  # they take no memory


def count_made(o: Operator) -> float:
    """Return how many numbers an operator makes that may be many more than it reads; 0 for others."""
    if o.op == "Tile":
        return math.prod(int(n) for n in o.array(1).reshape(-1)) * o.array(0).size
    if o.op == "Range":
        start, stop, step = (o.array(i).item() for i in range(3))
        return float((stop - start) / step)
    if o.op == "Gather":
        return o.array(1).size * o.array(0).size / o.array(0).shape[o.get("axis", 0)]
    if o.op == "Concat":
        return sum(o.array(i).size for i in range(len(o.values)))
    if o.op in RESHAPING and any(o.array(0).strides):
        try:
            o.array(0).reshape(o.new_shape(), copy=False)
        except ValueError:
            return o.array(0).size
    return 0


BROADCASTING = {"Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mod", "Mul", "Pow", "Sub", "Where"}


def fold(o: Operator, limit: int) -> Array:
    """Return what an operator computes from constants, of at most ``limit`` numbers unless they take no memory."""
    arrays = [value.array for value in o.values if value is not None and value.array is not None]
    sizes = [array.size for array in arrays]
    if o.op in BROADCASTING:
        try:
            sizes.append(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        except ValueError:
            raise NoLayerError("has inputs of shapes that do not fit: the file is damaged") from None
    if o.op not in VIEWS and max(sizes, default=0) > limit:
        raise NoLayerError(f"computes with constants of {max(sizes):,} numbers, more than the file holds")
    try:
        count = count_made(o)
        if not count <= limit:
            raise NoLayerError(f"makes {count:,.0f} numbers, more than the file holds")
        with np.errstate(all="ignore"):
            found = np.asarray(FOLDED[o.op](o))
    except DAMAGE as error:
        if isinstance(error, NoLayerError):
            raise
        raise NoLayerError(f"does not fit its constants ({error}): the file is damaged") from None
    return found


def scalar(value: Array) -> float:
    """Return one number as the shortest decimal that float32 rounds to it."""
    return shortest(value.reshape(-1)[0]) if value.dtype.kind == "f" else float(value.reshape(-1)[0])
