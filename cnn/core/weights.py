"""Weights from files of other libraries: safetensors and PyTorch's .pt and .pth, without running what is in them."""

from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.parameter import Array
from cnn.core.pickle_reader import PickleError
from cnn.core.text import printable, short_text
from cnn.core.torch_file import read_torch

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")  # keys of training checkpoints
MOST_NAMED = 5  # keys in a message
PREFIX = "module."  # of the keys of a model inside DataParallel
SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "<u1",
    "BOOL": "?",
}


def read_weights(path: str | Path, key: str | None = None) -> dict[str, Array]:
    """Read a state_dict from a .safetensors, .pt or .pth file, without PyTorch.

    A pickle in the file is not run: a small reader builds tensors, numbers, strings, lists and dicts, and refuses
    everything else. A training checkpoint may hold the weights under ``state_dict``, ``model_state_dict``, ``model``,
    ``net`` or ``weights``; these are taken out, and so is ``module.`` in front of all names.

    Parameters
    ----------
    path : str or Path
        The file; its content decides on the format, not its name.
    key : str, optional
        The weights under this key of a file that holds several.

    Returns
    -------
    dict of str to ndarray
        The arrays, read-only; those that share memory in PyTorch still do. bfloat16 becomes float32, which holds the
        same values.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, holds something else than weights, or has a pickle that does more than weights need.

    Examples
    --------
    >>> import tempfile
    >>> from cnn.layers import Linear
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Linear(3, 2).save_weights(folder + "/linear.safetensors")
    ...     weights = read_weights(folder + "/linear.safetensors")
    >>> {name: array.shape for name, array in weights.items()}
    {'bias': (2,), 'weight': (2, 3)}
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{printable(path)} is a folder: name the file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {printable(path)}")
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if not start:
            raise PickleError("it is empty")
        if start[8:] == b"{":  # behind the length of the header
            return unwrapped(_read_safetensors(path), key)
        return unwrapped(read_torch(path), key)
    except PickleError as error:
        raise ValueError(f"{printable(path)} cannot be read as weights: {error}") from None
    except MemoryError:
        raise ValueError(f"{printable(path)} is damaged, or larger than the memory") from None


def _read_safetensors(path: Path) -> dict[str, Array]:
    import safetensors

    read: Any = safetensors.deserialize
    try:
        parts = read(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise PickleError(f"it is cut short or damaged ({printable(error)})") from None
    tensors = {}
    for name, part in parts:
        if part["dtype"] not in SAFETENSORS_DTYPES:
            raise PickleError(f"{short_text(name)} has numbers of the kind {short_text(part['dtype'])}")
        array = np.frombuffer(part["data"], SAFETENSORS_DTYPES[part["dtype"]])
        if part["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = array.reshape(part["shape"])
        tensors[name].flags.writeable = False
    return dict(sorted(tensors.items()))


def unwrapped(found: Any, key: str | None) -> dict[str, Array]:
    """Return the dict of arrays inside what a file holds."""
    if key is not None:
        outermost = found
        while type(found) is dict and key not in found and (wrapper := _wrapper(found)):
            found = found[wrapper]
        if type(found) is not dict or key not in found:
            raise PickleError(f"it has no key {short_text(key)}{_keys(outermost)}")
        found = found[key]
    found = _innermost(found)
    if not _is_state(found):
        items = found.items() if type(found) is dict else ()
        wrong = [(name, value) for name, value in items if not isinstance(value, np.ndarray)]
        if 0 < len(wrong) < len(items):
            name, value = wrong[0]
            raise PickleError(
                f"beside tensors it holds {short_text(name)}, which is {_kind(value)}: save a dict of the tensors alone"
            )
        keys = [f"key={name!r}" for name, value in items if type(name) is str and _is_state(_innermost(value))]
        advice = f": choose with {' or '.join(keys[:MOST_NAMED])}" if keys and key is None else ""
        raise PickleError(f"it holds no dict of tensors{_keys(found)}{advice}")
    if all(name.startswith(PREFIX) for name in found):
        found = {name.removeprefix(PREFIX): array for name, array in found.items()}
    return dict(found)


def _wrapper(found: dict[Any, Any]) -> str | None:
    """Return the key that holds the weights in a training checkpoint; None if none or several may."""
    names = [name for name in WRAPPERS if type(found.get(name)) is dict]
    return names[0] if len(names) == 1 else None


def _innermost(found: Any) -> Any:
    """Return what lies inside the dicts of a training checkpoint."""
    while type(found) is dict and not _is_state(found) and (wrapper := _wrapper(found)):
        found = found[wrapper]
    return found


def _is_state(found: Any) -> bool:
    """Whether this is a dict of tensors only."""
    if type(found) is not dict or not found:
        return False
    return all(type(name) is str and isinstance(value, np.ndarray) for name, value in found.items())


def _kind(value: Any) -> str:
    """Return what a value is, for a message."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "a tensor"
    kind = type(value).__name__
    return f"{'an' if kind == 'int' else 'a'} {kind}"


def _keys(found: Any) -> str:
    if type(found) is not dict:
        return f", but {_kind(found)}"
    return f", but a dict of {short_text(list(found))[1:-1]}" if found else ", but an empty dict"
