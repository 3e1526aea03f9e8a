"""Applying transforms to a batch, and finding the sample that is NaN or infinite."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.core.parameter import Array
from cnn.data.reading import take
from cnn.data.sample_rng import SampleRNG
from cnn.data.targets import check_points
from cnn.errors import InputError

Batch = tuple[Array, Array]
Rows = Callable[[int], slice]  # says which samples of a batch of so many are wanted


def make_batch(
    loader: Any,
    order: Array,
    part: slice,
    transforms: Sequence[tuple[int, Callable[..., Any]]],
    sample_rng: Callable[[slice, int], SampleRNG],
    rows: Rows | None = None,
) -> Batch:
    """Read the samples ``order[part]`` of a DataLoader, and transform them; with ``rows``, return only these of them.

    The other samples are read only for transforms that may mix samples: all but those with ``mixes_samples = False``.
    """
    wanted = None if rows is None else rows(len(order[part]))
    if wanted is not None and not any(getattr(transform, "mixes_samples", True) for _, transform in transforms):
        part, wanted = slice(part.start + wanted.start, part.start + wanted.stop), None
    x, y = take(loader.x, order[part], "x"), take(loader.y, order[part], "y")
    for index, transform in transforms:
        x, y = apply(transform, x, y, sample_rng(part, index), loader.targets, f"transforms[{index}]")
    return (x, y) if wanted is None else (x[wanted], y[wanted])


def apply(transform: Callable[..., Any], x: Array, y: Array, rng: SampleRNG, word: str | None, name: str) -> Batch:
    """Return a batch after the transform with this name. ``word``: what the user said about targets, see targets.py."""
    if word is None or not hasattr(transform, "move_points"):
        changed = transform(x, y, rng)
    else:
        again = copy.copy(rng)  # the same random numbers for the points as for the images
        images = transform(x, None, rng)[0]
        points = y
        if word == "points":
            points = transform.move_points(check_points(y, len(x)), x.shape[2:], again)
        changed = images, points
    if not isinstance(changed, tuple) or [np.shape(part)[:1] for part in changed] != [rng.indices.shape] * 2:
        raise InputError(f"{name}, {transform!r}, must return a pair (x, y) of {len(rng.indices)} samples each")
    return changed


def describe_non_finite(
    loader: Any,
    positions: Array,
    transforms: Sequence[tuple[int, Callable[..., Any]]],
    sample_rng: Callable[[int], SampleRNG],
    dtype: Any,
) -> str:
    """Make a batch of a DataLoader step by step, and name its first sample that is NaN or infinite; "" if none is.

    ``positions``, (N,), are the indices of the samples, ``transforms`` those of the loader that are applied, each with
    its index, and ``sample_rng(index)`` returns the random numbers for one. In the end, floating-point values are
    converted to ``dtype``.
    """
    batch = take(loader.x, positions, "x"), take(loader.y, positions, "y")
    found = _first_non_finite(batch, positions)
    if found:
        return f"{found} is NaN or infinite"
    for index, transform in transforms:
        batch = apply(transform, *batch, sample_rng(index), loader.targets, f"transforms[{index}]")
        found = _first_non_finite(batch, positions)
        if found:
            return f"{found} became NaN or infinite in transforms[{index}], {transform!r}"
    found = _first_non_finite([without_warnings(np.asarray(part).astype)(dtype) for part in batch], positions)
    return f"{found} is too large for {dtype}" if found else ""


def _first_non_finite(batch: Iterable[Any], positions: Array) -> str:
    for name, part in zip("xy", batch, strict=True):
        array = np.asarray(part)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = (~np.isfinite(array)).reshape(len(array), -1).any(axis=1).argmax()
            return f"{name}[{positions[row]}] of the DataLoader"
    return ""


def checked_transforms(transforms: Any) -> tuple[Any, ...]:
    """Return the transforms of a loader as a tuple, or raise an error unless each can be called."""
    if callable(transforms) or not all(map(callable, transforms)):
        raise InputError(f"transforms must be a list of callables (x, y, rng) -> (x, y), got {transforms!r}")
    return tuple(transforms)
