"""Lines of CSV that can be printed, opened in a spreadsheet and read back: nothing in a name does harm or gets lost."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from cnn.core.text import printable

# A spreadsheet takes a cell that starts so for a formula, also with the wide characters of East Asian keyboards
FORMULA_STARTS = tuple("=+-@＝＋－＠")  # noqa: RUF001


def csv_line(cells: Iterable[str]) -> str:
    """Join the cells of a row; those with commas or quotes are quoted as RFC 4180 says.

    Examples
    --------
    >>> print(csv_line(["a.png", "cats, dogs", 'the "big" one']))
    a.png,"cats, dogs","the ""big"" one"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def escaped(text: str) -> str:
    r"""Escape line breaks, control characters, invalid Unicode and backslashes, so that the text can be recovered.

    ``cell.encode("latin-1", "backslashreplace").decode("unicode_escape")`` gives the text back.

    Examples
    --------
    >>> print(escaped("a\nb"), escaped("C:\\b"))
    a\nb C:\\b
    """
    return printable(text.replace("\\", "\\\\"))


def path_cell(path: str | Path) -> str:
    """Return the cell of a file name, with / between folders; ./ in front keeps a name from becoming a formula.

    Examples
    --------
    >>> path_cell("photos/1.jpg"), path_cell("=1+2.jpg"), path_cell("-rf.jpg")
    ('photos/1.jpg', './=1+2.jpg', './-rf.jpg')
    """
    text = escaped(str(path) if os.sep == "/" else str(path).replace(os.sep, "/"))
    return f"./{text}" if text.startswith(FORMULA_STARTS) else text


def text_cell(text: str) -> str:
    """Return the cell of another text, such as a class; an apostrophe in front keeps it from becoming a formula.

    A text that starts with an apostrophe gets another one, so that the first one can always be removed.

    Examples
    --------
    >>> text_cell("rose"), text_cell("=1+2"), text_cell("'t")
    ('rose', "'=1+2", "''t")
    """
    text = escaped(text)
    return f"'{text}" if text.startswith((*FORMULA_STARTS, "'")) else text
