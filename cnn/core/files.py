"""Atomic writes, and arrays in files.

Data are first written to a temporary file next to the old one, which replaces it only once it is complete and on the
disk. So a crash or a full disk at any moment leaves the old file intact. Arrays are stored as safetensors, never
pickled: reading them runs no code.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.text import printable

LOCK = ".lock"
BEST = "best.safetensors"  # the checkpoint of the best epoch
MAX_NESTING = 200  # lists and dicts inside each other, in JSON; Python's own stack holds several times that
METADATA_KEY = "cnn"  # a single key with sorted JSON, because several keys would be written in random order


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the contents of the file by ``data`` atomically.

    Raises
    ------
    OSError
        If it cannot be written, with the reason and the path; an existing file is left unchanged.
    """
    given = Path(path)
    path = given.resolve()  # a symbolic link stays, and its target is replaced
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"could not write {printable(given)}: there is no folder {printable(given.parent)}; create it first"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(
            error.errno, f"could not write (an existing file is left unchanged): {reason}", str(given)
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it no longer exists if all went well
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Sync the folder's entries to disk, where the system can: a power cut may lose the name of a new file."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # some file systems do not support it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; the operating system releases the lock when the process ends, however it ends.

    Raises
    ------
    FileExistsError
        If another process, or another part of this one, holds the lock.
    """
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                yield  # a file system without locks
                return
            raise FileExistsError(
                f"another training is writing into {printable(folder)}: wait for it, or choose another folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any] | None = None) -> None:
    """Write arrays and JSON-serialisable metadata as safetensors; the same values give the same bytes."""
    from safetensors.numpy import save

    text = None
    if metadata is not None:
        text = {METADATA_KEY: json.dumps(metadata, sort_keys=True, default=to_json)}
        check_nesting(text[METADATA_KEY])
    # safetensors writes wrong values from an array that is not contiguous
    write_bytes(path, save({name: np.array(array, order="C") for name, array in tensors.items()}, text))


def to_json(value: Any) -> Any:
    """Convert NumPy numbers and arrays to types that JSON supports."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a model file can hold numbers, strings, lists and dicts, got {value!r}")


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Read the arrays and the metadata of a safetensors file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is cut short, damaged or not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{printable(path)} is a folder: name the .safetensors file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(path)}")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is not a dict)
            text = (file.metadata() or {}).get(METADATA_KEY)
        return tensors, None if text is None else parse_json(text)
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        reason = f"is cut short, damaged or not a safetensors file ({printable(error)})"
        with path.open("rb") as opened:
            start = opened.read(2)
        if start == b"PK":  # a zip archive, as those of torch.save
            reason = (
                "is not a safetensors file; if PyTorch has saved weights in it, use "
                "model.load_state_dict(cnn.interop.pytorch.read_weights(path))"
            )
        raise ValueError(f"{printable(path)} {reason}") from None
    except MemoryError:
        raise ValueError(f"{printable(path)} is damaged, or larger than the memory") from None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text from a file that may be damaged or crafted.

    Raises
    ------
    ValueError
        If it is not JSON, or nested so deeply that code which walks through it could run out of stack.

    Examples
    --------
    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    check_nesting(text)
    return json.loads(text)


def check_nesting(text: str) -> None:
    """Raise an error if lists and dicts of a JSON text are nested too deeply, before a parser descends into them."""
    outside_strings = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    steps = (1 if c in "[{" else -1 for part in outside_strings for c in part if c in "[]{}")
    if max(accumulate(steps), default=0) > MAX_NESTING:
        raise ValueError(f"its JSON is nested more than {MAX_NESTING} levels deep")


def read_model_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], Any]:
    """Read the tensors of a model as `read_tensors` does; a checkpoint is an error, which says what to call."""
    tensors, description = read_tensors(path)
    if isinstance(description, dict) and "checkpoint" in description:
        raise ValueError(checkpoint_text(Path(path)))
    return tensors, description


def checkpoint_text(path: Path) -> str:
    """Say what to call for a file of a checkpoint, where a model or weights are expected."""
    folder = repr(str(path.parent))
    best = f"cnn.training.Checkpoint({folder}).load_best(model) for the weights of the best epoch, or "
    return (
        f"{printable(path)} is a checkpoint of a training, not a model: build the model, then "
        f"{best if (path.parent / BEST).exists() else ''}model.fit(..., resume={folder}) to continue the training"
    )
