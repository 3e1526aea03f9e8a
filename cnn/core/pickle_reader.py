"""A bounded reader of pickles: the opcodes that PyTorch's state_dicts need, and no others.

A pickle is a program for a small stack machine, and Python's own machine may call any function that the program names.
This one calls nothing. It builds numbers, strings, tuples, lists and dicts; names and persistent ids become plain
records, which the caller interprets or refuses. What the objects take in memory is counted, because a few bytes of a
pickle can ask for gigabytes.

Source: the opcodes as Python's module pickletools describes them.
"""

import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from cnn.core.text import short_text

LARGEST_STACK = 10_000  # a dict or list is written in parts of 1,000 items
LONGEST_TEXT = 65_536
PLACE, ENTRY = 16, 80  # bytes: places of an object on the stack and in a container; an entry of a dict


class Global(NamedTuple):
    """A function or class that a pickle names."""

    module: str
    name: str


class PersistentId(NamedTuple):
    """A reference to something outside the pickle."""

    value: Any


class PickleError(ValueError):
    """A pickle that is damaged, or that does what no state_dict needs."""


class PickleReader:
    """The stack machine. `read` runs one pickle; the memo and the stack belong to that pickle.

    Parameters
    ----------
    data : bytes or mmap.mmap
        One pickle or several, one after the other.
    budget : int
        The number of bytes that all objects may take.
    call : callable
        ``call(function, arguments)`` returns the object in place of a call, or raises `PickleError`.
    """

    def __init__(self, data: Any, budget: int, call: Callable[[Global, Any], Any]) -> None:
        self.data, self.position, self.budget, self._call = data, 0, budget, call

    def read(self) -> Any:
        """Run the pickle at the position, and return its object; the position is then behind it.

        Raises
        ------
        PickleError
            If it is damaged, uses another opcode, or needs too much memory.
        """
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        try:
            while (code := self.take(1)) != b".":
                if code not in OPCODES:
                    raise PickleError(f"it uses the pickle opcode {code!r}, which no state_dict needs")
                OPCODES[code](self)
                if self.budget < 0:
                    raise PickleError("its pickle would need more memory than the file is large")
                if len(self.stack) > LARGEST_STACK:
                    raise PickleError("its pickle is nested too deeply")
            return self._pop()
        except (IndexError, KeyError, UnicodeDecodeError, struct.error):
            raise PickleError("its pickle is damaged") from None

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise PickleError("its pickle ends too early")
        taken = self.data[self.position : end]
        self.position = end
        return bytes(taken)

    def number(self, layout: str) -> Any:
        """Return the next number, in a layout of the module struct."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def _push(self, value: Any) -> None:
        self.budget -= sys.getsizeof(value) + PLACE
        self.stack.append(value)

    def _pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("its pickle is damaged")
        return self.stack.pop()

    def _pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _line(self) -> str:
        found = self.data.find(b"\n", self.position, self.position + 256)
        if found < 0:
            raise PickleError("its pickle is damaged")
        return self.take(found + 1 - self.position)[:-1].decode()

    # The opcodes

    def mark(self) -> None:
        self.marks.append(len(self.stack))
        if len(self.marks) > LARGEST_STACK:
            raise PickleError("its pickle is nested too deeply")

    def protocol(self) -> None:
        version = self.number("<B")
        if version > 3:
            raise PickleError(f"its pickle has protocol {version}: torch.save writes 2, unless told otherwise")

    def text(self, layout: str) -> None:
        count: int = self.number(layout)
        if count > LONGEST_TEXT:
            raise PickleError(f"it holds a text of {count:,} bytes, where only names are needed")
        self._push(self.take(count).decode("utf-8", "surrogatepass"))

    def long(self) -> None:
        count = self.number("<B")
        if count > 10:  # as many as the magic number of torch.save's old format has
            raise PickleError("it holds an integer of more than 64 bits")
        self._push(int.from_bytes(self.take(count), "little", signed=True))

    def global_(self) -> None:
        self._push(Global(self._line(), self._line()))

    def put(self, layout: str) -> None:
        number, value = self.number(layout), self._pop()
        self.stack.append(value)
        self.budget -= ENTRY
        self.memo[number] = value

    def get(self, layout: str) -> None:
        self.stack.append(self.memo[self.number(layout)])

    def make_tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def append(self) -> None:
        item = self._pop()
        self._extend([item])

    def appends(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleError("it appends to something that is no list")
        self.budget -= PLACE * len(items)
        target.extend(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise PickleError("it sets an item of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int, float, bool):  # the hash of a deeply nested tuple would overflow the C stack
                raise PickleError(f"it has a dict with the key {short_text(type(key).__name__)}")
            self.budget -= ENTRY
            target[key] = value

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise PickleError("it calls something that is no function")
        self._push(self._call(function, arguments))

    def persistent_id(self) -> None:
        self._push(PersistentId(self._pop()))

    def build(self) -> None:
        state = self._pop()
        if type(self.stack[-1]) is not dict or type(state) is not dict:  # the attribute _metadata of a state_dict
            raise PickleError("it sets the attributes of an object")


def _pushes(value: Callable[[PickleReader], Any]) -> Callable[[PickleReader], None]:
    return lambda reader: reader._push(value(reader))


OPCODES: dict[bytes, Callable[[PickleReader], None]] = {
    b"\x80": PickleReader.protocol,
    b"(": PickleReader.mark,
    b"N": _pushes(lambda reader: None),
    b"\x88": _pushes(lambda reader: True),
    b"\x89": _pushes(lambda reader: False),
    b"J": _pushes(lambda reader: reader.number("<i")),
    b"K": _pushes(lambda reader: reader.number("<B")),
    b"M": _pushes(lambda reader: reader.number("<H")),
    b"G": _pushes(lambda reader: reader.number(">d")),
    b"\x8a": PickleReader.long,
    b"X": lambda reader: reader.text("<I"),
    b"U": lambda reader: reader.text("<B"),  # of Python 2
    b"T": lambda reader: reader.text("<I"),
    b"c": PickleReader.global_,
    b"q": lambda reader: reader.put("<B"),
    b"r": lambda reader: reader.put("<I"),
    b"h": lambda reader: reader.get("<B"),
    b"j": lambda reader: reader.get("<I"),
    b")": _pushes(lambda reader: ()),
    b"\x85": lambda reader: reader.make_tuple(1),
    b"\x86": lambda reader: reader.make_tuple(2),
    b"\x87": lambda reader: reader.make_tuple(3),
    b"t": lambda reader: reader._push(tuple(reader._pop_mark())),
    b"]": _pushes(lambda reader: []),
    b"}": _pushes(lambda reader: {}),
    b"a": PickleReader.append,
    b"e": PickleReader.appends,
    b"s": PickleReader.set_item,
    b"u": PickleReader.set_items,
    b"R": PickleReader.reduce,
    b"\x81": PickleReader.reduce,  # a new object of a class
    b"Q": PickleReader.persistent_id,
    b"b": PickleReader.build,
}
