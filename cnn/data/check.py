"""Verification of data files: no file is used before its size and SHA-256 digest have been checked."""

import hashlib
import zlib
from pathlib import Path

from numpy.typing import NDArray

from cnn.data.catalogue import DataFile
from cnn.data.errors import DataError
from cnn.data.idx import read_idx


def read_checked(path: Path, file: DataFile) -> NDArray:
    """Read a file, decompress it if its name ends in ``.gz``, verify its digest and return its array.

    Raises
    ------
    DataError
        If it cannot be read, is damaged, or is a different file. The message starts with the path.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return decode(data, str(path), file, compressed=path.suffix == ".gz")


def decode(data: bytes, name: str, file: DataFile, compressed: bool = True) -> NDArray:
    """Verify that the bytes are those of ``file`` and return the array in them.

    Raises
    ------
    DataError
        If they are damaged or belong to a different file. The message starts with ``name``, a path or a URL.
    """
    if file.digest_of == "gz":
        if not compressed:
            raise DataError(
                f"{name} cannot be checked: only the digest of {file.name} is known. Use {file.name} instead"
            )
        _check_digest(data, name, file)
    content = _gunzip(data, name, file) if compressed else data
    if len(content) < file.size:
        raise DataError(f"{name} is cut short: {_found(content, file)}")
    if len(content) > file.size:
        raise DataError(f"{name} is too long: {_found(data, file, 'a file of ')}")
    if file.digest_of == "content":
        _check_digest(content, name, file)
    return read_idx(content, name)


def _gunzip(data: bytes, name: str, file: DataFile) -> bytes:
    """Decompress at most one byte more than expected, so that a wrong file cannot exhaust the memory."""
    if not data.startswith(b"\x1f\x8b"):
        start = data[:200].lstrip().lower()
        what = "a web page" if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")) else "not gzip data"
        problem = what if data else "empty"
        raise DataError(f"{name} is not the published file ({problem}): {_found(data, file, 'a file of ')}")
    gunzip = zlib.decompressobj(wbits=31)
    try:
        content = gunzip.decompress(data, file.size + 1)
    except zlib.error as error:
        raise DataError(f"{name} is damaged ({error}): {_found(data, file, 'a file of ')}") from error
    if not gunzip.eof and len(content) <= file.size:
        raise DataError(f"{name} is cut short: its gzip data ends early; {_found(data, file, 'a file of ')}")
    return content


def _check_digest(data: bytes, name: str, file: DataFile) -> None:
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DataError(f"{name} is not the published file: {_found(data, file)}")


def _found(data: bytes, file: DataFile, what: str = "") -> str:
    """Describe what was expected and what was found; twelve digits of a digest are enough to compare by eye."""
    of = f"{file.size} bytes of content" if file.digest_of == "content" else "a .gz"
    found = hashlib.sha256(data).hexdigest()
    return (
        f"expected {of} with SHA-256 {file.sha256[:12]}..., found {what}{len(data)} bytes with SHA-256 {found[:12]}..."
    )
