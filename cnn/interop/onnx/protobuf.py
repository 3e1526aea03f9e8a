"""The format of ONNX files, protobuf: a message is a row of fields, each a number and a value.

This reader makes no copy of what it reads, so a file takes as much memory as it has bytes. The package onnx copies all
numbers and makes an object of each message, so a file of small numbers or empty messages grows to many times its size.

Source: Protocol Buffers documentation, Encoding, https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnn.module import Array

MOST_NUMBERS = 2**16  # in a list of numbers of variable length, which are axes and sizes
Bytes = memoryview


class OnnxError(ValueError):
    """A file that cannot become a model."""


def fields(data: Bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field: an int, or the bytes of what has a length.

    Raises
    ------
    OnnxError
        If the message is cut short or damaged.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, at = varint(data, at)
        if length is None or at + length > end or not number:
            raise OnnxError("it is cut short, damaged or no ONNX file: export the model to ONNX again")
        yield number, data[at : at + length]
        at += length


def varint(data: Bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends: seven bits a byte, the lowest first."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise OnnxError("it is cut short, damaged or no ONNX file: export the model to ONNX again")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def signed(value: Any) -> int:
    """Return a number of 64 bits with its sign."""
    if not isinstance(value, int):
        raise OnnxError("it is damaged or no ONNX file: export the model to ONNX again")
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def integers(values: list[Any]) -> list[int]:
    """Return a list of numbers, which are fields of their own or packed in one."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            found.append(signed(number))
            if len(found) > MOST_NUMBERS:
                raise OnnxError(f"it has a list of more than {MOST_NUMBERS:,} integers, which no layer needs")
    return found


def floats(values: list[Any], dtype: str = "<f4") -> Array:
    """Return a list of floats, which are fields of their own or packed in one; packed ones are not copied."""
    parts = [value for value in values if isinstance(value, memoryview)]
    if len(parts) != len(values) or len(parts) > MOST_NUMBERS:
        raise OnnxError("it is damaged or no ONNX file: export the model to ONNX again")
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) % np.dtype(dtype).itemsize:
        raise OnnxError("it has a list of floats that is cut short: export the model to ONNX again")
    return np.frombuffer(data, dtype)


def number(value: Any) -> float:
    """Return one float of 32 bits."""
    if isinstance(value, int) or len(value) != 4:
        raise OnnxError("it is damaged or no ONNX file: export the model to ONNX again")
    return float(struct.unpack("<f", value)[0])


def text(value: Any) -> str:
    """Return a text."""
    if isinstance(value, int):
        raise OnnxError("it is damaged or no ONNX file: export the model to ONNX again")
    return bytes(value).decode(errors="replace")


class Message:
    """A small message, all fields of which are needed: the values of each field by its number."""

    def __init__(self, data: Any) -> None:
        if isinstance(data, int):
            raise OnnxError("it is damaged or no ONNX file: export the model to ONNX again")
        self.values: dict[int, list[Any]] = {}
        for i, (field, value) in enumerate(fields(data)):
            if i > MOST_NUMBERS:
                raise OnnxError(f"it has a message of more than {MOST_NUMBERS:,} parts, which no layer needs")
            self.values.setdefault(field, []).append(value)

    def all(self, field: int) -> list[Any]:
        """Return all values of a field."""
        return self.values.get(field, [])

    def integer(self, field: int, default: int = 0) -> int:
        """Return a field with one integer."""
        return signed(self.values[field][-1]) if field in self.values else default

    def text(self, field: int) -> str:
        """Return a field with one text."""
        return text(self.values[field][-1]) if field in self.values else ""

    def message(self, field: int) -> "Message":
        """Return a field with one message; an empty one if it is not there."""
        return Message(self.values[field][-1] if field in self.values else memoryview(b""))
