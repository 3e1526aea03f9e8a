"""Output: results go to stdout; progress, messages and errors go to stderr. Control characters are escaped in both."""

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from cnn.core.text import printable_lines, width
from cnn.training.progress import TERMINAL_INTERVAL, LiveLine, columns_of, is_terminal, stream_progress

READER_GONE = (errno.EPIPE, errno.EINVAL)  # Windows reports EINVAL
MIN_WIDTH, MAX_WIDTH = 40, 120  # columns of wrapped text
SECOND_COLUMN = "\ue000"  # stands for the second column of a wide character


def print_stdout(text: str = "") -> bool:
    """Print results to stdout; in a terminal, lines that are too long for it are broken between words.

    A reader that has gone, as in ``cnn summary RUN | head -3`` or after a terminal was closed, is not an error: the
    remaining output is discarded, so that training continues.

    Returns
    -------
    bool
        False if the reader has just gone.

    Raises
    ------
    OSError
        If it cannot be written for another reason, such as a full disk.
    """
    columns = stdout_columns()
    return print_data(text if columns is None else fitted(text, columns))


def print_data(text: str) -> bool:
    """Print to stdout as `print_stdout` does, but break no lines: they are for another program."""
    try:
        _write(sys.stdout, text)
    except OSError as error:
        gone = _reader_gone(sys.stdout, error)
        _discard_output(sys.stdout)
        if not gone:
            raise OSError(error.errno, f"could not write the results: {error.strerror}") from error
        return False
    return True


def print_wrapped(text: str, indent: int = 2) -> None:
    """Print a paragraph of results to stdout, wrapped to the width of the terminal; later lines are indented."""
    columns = max(MIN_WIDTH, min(shutil.get_terminal_size().columns, MAX_WIDTH))
    print_stdout(_fill(text, columns, subsequent_indent=" " * indent))


def print_stderr(text: str = "") -> None:
    """Print text that is not a result to stderr, fitted to a terminal; if stderr cannot be written, it is lost."""
    columns = _columns(sys.stderr)
    print_command(text if columns is None else fitted(text, columns))


def print_command(text: str) -> None:
    """Print to stderr as `print_stderr` does, but break no lines: they have something to copy."""
    try:
        _write(sys.stderr, text)
    except OSError:
        _discard_output(sys.stderr)


def output_columns() -> int:
    """Return the width for what looks the same in a terminal and elsewhere: that of the terminal, or else 80."""
    return stdout_columns() or shutil.get_terminal_size().columns


def stdout_columns() -> int | None:
    """Return the width of the terminal that stdout goes to; None if it goes elsewhere."""
    return _columns(sys.stdout)


def _columns(stream: TextIO | None) -> int | None:
    return columns_of(stream) if stream is not None and is_terminal(stream) else None


def fitted(text: str, columns: int, hanging: bool = True) -> str:
    """Break lines that are too long between words; the rest is indented, below the second column if there is one.

    With ``hanging=False``, lines that are not indented stay so.

    Examples
    --------
    >>> print(fitted("  data      1,000 images of 3 x 64 x 64", 30))
      data      1,000 images of 3
                x 64 x 64
    >>> print(fitted("error: there is no folder here", 20))
    error: there is no
      folder here
    """
    return "\n".join(line if width(line) <= columns else _broken(line, columns, hanging) for line in text.split("\n"))


def _broken(line: str, columns: int, hanging: bool) -> str:
    first_column = re.match(r" *\S+ {2,}", line)
    indent = len(line) - len(line.lstrip(" "))
    indent += 2 if hanging or indent else 0
    if first_column is not None and first_column.end() <= columns // 3:
        indent = first_column.end()
    return _fill(
        line,
        columns,
        subsequent_indent=" " * indent,
        replace_whitespace=False,
        expand_tabs=False,
    )


def _fill(text: str, columns: int, **options: Any) -> str:
    r"""Do as textwrap.fill does, but count columns: characters that take two are two characters while lines are broken.

    Examples
    --------
    >>> _fill("\u732b cat", 5) == "\u732b\ncat"
    True
    """
    doubled = "".join(c + SECOND_COLUMN * (width(c) - 1) for c in text)
    return textwrap.fill(doubled, columns, break_long_words=False, break_on_hyphens=False, **options).replace(
        SECOND_COLUMN, ""
    )


class LiveCount:
    """Shows on stderr, if it is a terminal, how many files are done.

    Parameters
    ----------
    total : int
        How many there are.
    what : str
        What they are.
    beside_results : bool
        Whether results are printed meanwhile: then nothing is shown if stdout is a terminal, too.
    """

    def __init__(self, total: int, what: str = "files", beside_results: bool = True) -> None:
        is_live = isinstance(stream_progress(sys.stderr), LiveLine)
        is_live = is_live and not (beside_results and stdout_columns() is not None)
        self._total, self._what, self._stream, self._length = total, what, sys.stderr if is_live else None, 0
        self._last_shown = time.monotonic()

    def show(self, count: int) -> None:
        """Show the count, unless another was shown less than a moment ago."""
        if self._stream is None or time.monotonic() - self._last_shown < TERMINAL_INTERVAL:
            return
        text = f"{count:,} of {self._total:,} {self._what}"
        self._length, self._last_shown = len(text), time.monotonic()
        with contextlib.suppress(OSError):
            self._stream.write(f"\r{text}")
            self._stream.flush()

    def hide(self) -> None:
        """Erase the count, before other lines are printed."""
        if self._stream is not None and self._length:
            with contextlib.suppress(OSError):
                self._stream.write(f"\r{' ' * self._length}\r")
                self._stream.flush()
            self._length = 0


def replace_unencodable_characters() -> None:
    """Let stdout and stderr print a question mark for a character that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def flush_streams() -> None:
    """Flush stdout and stderr, so that no write can fail while Python shuts down."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _discard_output(stream)


@contextlib.contextmanager
def one_line_warnings(shown: bool = True) -> Iterator[None]:
    """Print each warning as one line, without its source line; or, with ``shown=False``, not at all."""

    def show(message: Warning | str, *_: Any) -> None:
        if shown:
            print_stderr(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # catch_warnings restores the original
        yield


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # Python without a console, as pythonw on Windows
        stream.write(printable_lines(text) + "\n")
        stream.flush()


def _reader_gone(stream: TextIO | None, error: OSError) -> bool:
    """Return whether nobody reads the stream any more."""
    if error.errno in READER_GONE:
        return True
    if error.errno != errno.EIO or stream is None:
        return False
    try:  # a closed terminal; for a file, EIO is an error of the disk
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _discard_output(stream: TextIO | None) -> None:
    """Discard the buffer of the stream and everything written to it later."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # a stream that is not a file, as in tests
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
