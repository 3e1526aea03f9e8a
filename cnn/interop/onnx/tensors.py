"""Arrays in ONNX files, or in files beside them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.text import printable, short_text
from cnn.interop.onnx.protobuf import Message, OnnxError, floats, integers
from cnn.module import Array

DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4"}
DTYPES |= {13: "<u8"}
NAMES = {8: "text", 10: "float16", 11: "float64", 14: "complex64", 15: "complex128", 16: "bfloat16"}
NAMES |= {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 17: "float8", 18: "float8", 19: "float8", 20: "float8"}
FLOAT, OTHER_FLOATS = 1, (10, 11, 16)
EXTERNAL = 1
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)
FLOAT32 = "export the model in float32"


def array(tensor: Any, folder: Path, is_weight: bool) -> tuple[str, Array]:
    """Return the name and the numbers of a stored array, read-only.

    Parameters
    ----------
    tensor : memoryview
        The message.
    folder : Path
        Of the file, where its other files are, too.
    is_weight : bool
        Whether an array of several axes must be float32.
    """
    message = Message(tensor)
    name = message.text(8)
    kind = message.integer(2)
    shape = tuple(integers(message.all(1)))
    if any(n < 0 for n in shape) or len(shape) > 32:
        raise OnnxError(f"the array {short_text(name)} has the shape {short_text(shape)}: the file is damaged")
    if is_weight and kind != FLOAT and len(shape) > 1 and kind in NAMES:
        raise OnnxError(f"the weight {short_text(name)} is {NAMES[kind]}: {in_float32(kind)}")
    if kind not in DTYPES:
        raise OnnxError(f"the array {short_text(name)} holds numbers of the kind {NAMES.get(kind, kind)}: {FLOAT32}")
    if message.integer(14) == EXTERNAL:
        found = _external(message, name, kind, shape, folder)
    else:
        found = _numbers(message, kind)
        if found.size != math.prod(shape):
            raise OnnxError(
                f"the array {short_text(name)} of the shape {shape} has {found.size} numbers: the file is damaged"
            )
    found = found.reshape(shape)
    found.flags.writeable = False
    return name, found


def in_float32(kind: int) -> str:
    """Say what to do about numbers of a kind that is not float32."""
    return f"{FLOAT32}, and before it is quantized" if kind in INTEGERS else FLOAT32


def _numbers(message: Message, kind: int) -> Array:
    """Return the numbers in the field that a tensor of this kind uses."""
    dtype = DTYPES[kind]
    if raw := message.all(9):
        if isinstance(raw[-1], int) or len(raw[-1]) % np.dtype(dtype).itemsize:
            raise OnnxError("an array in it is cut short: export the model again")
        return np.frombuffer(raw[-1], dtype)
    if kind in (1, 11):
        return floats(message.all({1: 4, 11: 10}[kind]), dtype)
    found = integers(message.all({7: 7, 12: 11, 13: 11}.get(kind, 5)))
    if kind == 10:
        return np.array(found, np.uint16).view(np.float16)
    try:
        return np.array([n % 2**64 for n in found] if kind == 13 else found, dtype)
    except OverflowError:
        raise OnnxError("an array in it has numbers that do not fit its kind: the file is damaged") from None


def _external(message: Message, name: str, kind: int, shape: tuple[int, ...], folder: Path) -> Array:
    """Return an array that is stored in another file in the folder."""
    entries = [Message(entry) for entry in message.all(13)]
    place = {entry.text(1): entry.text(2) for entry in entries}
    location, other = place.get("location", ""), folder / printable(place.get("location", ""))
    if not location or not other.resolve().is_relative_to(folder.resolve()):
        raise OnnxError(
            f"{short_text(name)} is in {short_text(location)}, outside the folder of the file: move it there"
        )
    if not other.is_file():
        raise OnnxError(
            f"its weights are in {short_text(location)}, which is missing: put that file in the same folder"
        )
    dtype = np.dtype(DTYPES[kind])
    try:
        offset = int(place.get("offset", "0"))
    except ValueError:
        raise OnnxError(f"the place of the array {short_text(name)} is damaged: export the file again") from None
    if offset < 0 or offset + math.prod(shape) * dtype.itemsize > other.stat().st_size:
        raise OnnxError(f"the file {short_text(location)} of its weights is cut short: copy it again")
    return np.memmap(other, dtype, "r", offset, shape) if math.prod(shape) else np.zeros(shape, dtype)
