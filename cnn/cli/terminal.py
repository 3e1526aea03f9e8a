"""What the commands write: results on stdout; progress, notes and errors on stderr."""

import contextlib
import errno
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

READER_GONE = (errno.EPIPE, errno.EINVAL)  # Windows says EINVAL


def say(text: str = "") -> None:
    """Write a line of results to stdout.

    A reader that went away, as in ``cnn summary RUN | head -3`` or a terminal that was closed, is no error: the rest
    is written to nobody, so that a training goes on.

    Raises
    ------
    OSError
        If it cannot be written for another reason, such as a full disk.
    """
    try:
        _write(sys.stdout, text)
    except OSError as error:
        gone = _reader_gone(sys.stdout, error)
        _silence(sys.stdout)
        if not gone:
            raise OSError(error.errno, f"could not write the results: {error.strerror}") from error


def note(text: str = "") -> None:
    """Write a line that is no result to stderr; where that cannot be written, nothing can be told to anybody."""
    try:
        _write(sys.stderr, text)
    except OSError:
        _silence(sys.stderr)


def tolerate_any_text() -> None:
    """Let stdout and stderr write a question mark for what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def finish() -> None:
    """Flush both streams, so that nothing is left that could fail while Python shuts down."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _silence(stream)


@contextlib.contextmanager
def short_warnings(shown: bool = True) -> Iterator[None]:
    """Show warnings as one line for people, without the place in the code that they come from; or not at all."""

    def show(message: Warning | str, *_: Any) -> None:
        if shown:
            note(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # catch_warnings puts the old one back
        yield


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # Python without a console, as pythonw on Windows
        stream.write(text + "\n")
        stream.flush()


def _reader_gone(stream: TextIO | None, error: OSError) -> bool:
    """Tell whether nobody reads the stream any more."""
    if error.errno in READER_GONE:
        return True
    if error.errno != errno.EIO or stream is None:
        return False
    try:  # a closed terminal; an error of the disk is one
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _silence(stream: TextIO | None) -> None:
    """Send what is still in the buffer, and all that follows, nowhere."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file, as in tests
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
