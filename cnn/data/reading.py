"""Reading samples: from arrays, from memory-mapped files, or from objects that return them one by one."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.core.parameter import plain_array
from cnn.errors import InputError, ShapeError
from cnn.module import Array


def open_data(data: Any, name: str) -> Any:
    """Return ``data`` as an array (memory-mapped for a path), or unchanged if it is an object indexed by sample.

    Raises
    ------
    InputError
        If it is none of these, is empty, or contains Python objects.
    FileNotFoundError
        If there is no file with that path.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, whose hidden values would be used: pass {name}.filled(...)")
    # y[i] of a pandas Series is the item with the label i, not the item at position i
    if hasattr(data, "detach") or hasattr(data, "iloc"):
        data = plain_array(data)
    if isinstance(data, (str, os.PathLike)):
        data = _mapped(data, name)
    elif isinstance(data, (list, tuple)) and len(data) > 0 and getattr(data[0], "ndim", 0) == 0:
        try:
            data = np.asarray(data)
        except ValueError:
            raise ShapeError(f"{name} holds samples of different shapes: all need one, (N, ...)") from None
    elif isinstance(data, np.ndarray):
        data = data if isinstance(data, np.memmap) else np.asarray(data)
    elif isinstance(data, (dict, set)) or not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise InputError(
            f"{name} must be an array, the path of a .npy file, or an object with len({name}) and {name}[i], got "
            f"{type(data).__name__}"
        )
    if isinstance(data, np.ndarray):
        if data.dtype.hasobject:
            raise InputError(f"{name} holds Python objects: make it an array of numbers, all samples of one shape")
        if data.ndim == 0:
            raise ShapeError(f"{name} must have an axis of samples, (N, ...), got a single number")
    if len(data) == 0:
        raise ShapeError(f"{name} is empty: batches need at least one sample")
    return data


def _mapped(path: str | os.PathLike[str], name: str) -> Array:
    try:
        with Path(path).open("rb") as file:
            archive = file.read(2) == b"PK"
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no file {os.fspath(path)}") from None
    if archive:
        raise InputError(f"{name}: {os.fspath(path)} holds several arrays: save one of them with np.save")
    try:
        # a size in a damaged header may overflow
        data = without_warnings(np.load)(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header is Python text, which can raise nearly every kind of error
        raise InputError(f"{name}: {os.fspath(path)} is not a .npy file of numbers, or is damaged ({error})") from None
    return data


def take(data: Any, positions: Array, name: str) -> Array:
    """Return the samples at these positions as one new array (len(positions), ...).

    Raises
    ------
    InputError
        If they differ in shape or dtype.
    """
    if type(data) is np.ndarray:
        # take needs half the time for small arrays, but would first copy all of an array that is not contiguous
        return data.take(positions, axis=0) if data.flags.carray else data[positions]
    if isinstance(data, np.memmap):
        ascending = np.argsort(positions)  # random access to a disk is slow
        samples = np.empty((len(positions), *data.shape[1:]), data.dtype)
        samples[ascending] = data[positions[ascending]]
        return samples
    if isinstance(data, np.ndarray):
        return data[positions]
    first = sample(data, int(positions[0]), name)
    samples = np.empty((len(positions), *first.shape), first.dtype)
    samples[0] = first
    for index, position in enumerate(positions[1:].tolist(), start=1):
        one = sample(data, position, name)
        if one.shape != first.shape or one.dtype != first.dtype:
            raise ShapeError(
                f"all samples need one shape and dtype, but {name}[{positions[0]}] is {first.dtype} of shape "
                f"{first.shape} and {name}[{position}] is {one.dtype} of shape {one.shape}"
            )
        samples[index] = one
    return samples


def sample(data: Any, position: int, name: str) -> Array:
    """Return one sample; an error gets a note that says which sample was being read."""
    try:
        array = plain_array(data[position])
    except Exception as error:
        error.add_note(f"(when {name}[{position}] was read)")
        raise
    if array.dtype.hasobject:
        raise InputError(f"{name}[{position}] must be an array of numbers, got {type(data[position]).__name__}")
    return array


def number_of_samples(x: Any, y: Any) -> int:
    """Return the length of x, or raise an error unless y is as long."""
    if len(x) != len(y):
        raise InputError(f"x has {len(x):,} samples and y {len(y):,} targets: each sample needs one target")
    return len(x)
