"""Files that are never half written, and arrays in them.

What is written goes to a temporary file beside the old one, which takes its place only when it is whole and on the
disk. So a crash or a full disk at any moment leaves the old file as it was. Arrays are stored as safetensors, never
pickled: reading one runs no code.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

METADATA_KEY = "cnn"  # one key with sorted JSON: several keys would be written in random order


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the file by one that holds ``data``, all or nothing.

    Raises
    ------
    OSError
        If it cannot be written, with the reason and the path; what was there before is unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(error.errno, f"could not write (what was there is unchanged): {reason}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)  # gone already if all went well


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any] | None = None) -> None:
    """Write arrays, and a description that JSON can hold, as safetensors; the same values give the same bytes."""
    from safetensors.numpy import save

    text = {METADATA_KEY: json.dumps(metadata, sort_keys=True)} if metadata is not None else None
    # safetensors writes wrong values from an array that is not contiguous
    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, text))


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Read the arrays and the description of a safetensors file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is cut short, damaged or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the .safetensors file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
            text = (file.metadata() or {}).get(METADATA_KEY)
        return tensors, None if text is None else json.loads(text)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is cut short, damaged or no safetensors file ({error})") from None
