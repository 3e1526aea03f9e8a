"""Text from outside, such as file names, class names and what a file contains, in a form that is safe to print."""

import dataclasses
import unicodedata
from typing import Any

BRIEF = 6  # items of a list or dict that are shown


def printable(text: object) -> str:
    r"""Escape everything that is not printable: line breaks, control characters and invalid Unicode.

    That includes the escape sequences of a terminal and the characters that change the direction of text, so that no
    name can move the cursor, recolour the screen or look like another name.

    Examples
    --------
    >>> print(printable("Äpfel und\nBirnen.jpg"))
    Äpfel und\nBirnen.jpg
    >>> print(printable("\x1b[31mred \u202etxt.exe"))
    \x1b[31mred \u202etxt.exe
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def printable_lines(text: str) -> str:
    r"""Escape the same characters, except line breaks and tabs, in a text that has lines of its own.

    Examples
    --------
    >>> print(printable_lines("one\ntwo\x1b[2J"))
    one
    two\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def width(text: str) -> int:
    r"""Return the number of columns of a text in a terminal.

    Chinese, Japanese, Korean and emoji characters take two columns, combining ones none.

    Examples
    --------
    >>> width("cat"), width("猫"), width("e\u0301")
    (3, 2, 1)
    """
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if not unicodedata.combining(c))


def padded(text: str, columns: int, right: bool = False) -> str:
    """Fill a text with spaces to so many columns, on its left with ``right=True``."""
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def cut(text: str, columns: int) -> str:
    """Return a text of at most so many columns, at least 3; if it is longer, it ends in three dots.

    Examples
    --------
    >>> cut("a long name", 8), cut("short", 8), cut("猫" * 5, 8)
    ('a lon...', 'short', '猫猫...')
    """
    if width(text) <= columns:
        return text
    while width(text) > columns - 3:
        text = text[:-1]
    return f"{text}..."


def short_text(value: object, length: int = 60) -> str:
    """Return the repr of a value for an error message, cut to ``length`` characters.

    Examples
    --------
    >>> short_text("a name"), short_text(list(range(100)), 12)
    ("'a name'", '[0, 1, 2, 3,...')
    """
    text = printable(repr(value))
    return text if len(text) <= length else text[:length] + "..."


def brief(value: Any) -> str:
    """Return a value in a few words: an array as its dtype and shape, a long list as its length.

    Examples
    --------
    >>> import numpy as np
    >>> brief((np.zeros((900, 1, 8, 8), np.float32), np.arange(900))), brief(["a", "b"]), brief([1.0] * 900)
    ('(float32 (900, 1, 8, 8), int64 (900,))', "['a', 'b']", '[1.0, ... 900 items]')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        items = [f"{short_text(key)}: {brief(item)}" for key, item in list(value.items())[:BRIEF]]
        begin, end = "{}"
    elif type(value) in (list, tuple):
        items = [brief(item) for item in value[:BRIEF]]
        begin, end = "[]" if isinstance(value, list) else "()"
    else:
        text = short_text(value)
        return text if "\\n" not in text or isinstance(value, str) else f"{type(value).__name__}(...)"
    if len(value) > BRIEF:
        return f"{begin}{items[0]}, ... {len(value)} items{end}"
    return f"{begin}{', '.join(items)}{end}"


def fields_text(record: Any) -> str:
    """Return one line for the repr of a record that holds arrays: its fields, each as `brief` has it."""
    names = getattr(record, "_fields", None) or [field.name for field in dataclasses.fields(record) if field.repr]
    return f"{type(record).__name__}({', '.join(f'{name}={brief(getattr(record, name))}' for name in names)})"


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural if needed.

    Examples
    --------
    >>> count_text(1, "epoch"), count_text(2000, "epoch")
    ('1 epoch', '2,000 epochs')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"
