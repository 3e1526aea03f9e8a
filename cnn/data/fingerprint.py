"""Fingerprints of data sets, to check whether a resumed training run has the same data."""

import hashlib
from typing import Any

import numpy as np

from cnn.core.parameter import Array
from cnn.data.reading import take

MAX_BYTES = 256 * 2**20  # of an array that are read for a fingerprint, at most
MAX_SAMPLES = 200  # of data that are read one by one, where each sample may be a file to decode
CHUNK_BYTES = 4 * 2**20  # of an array, read in one call

PROPERTIES = {
    "samples": "{} samples",
    "sample_shape": "samples of shape {}",
    "dtype": "samples of {}",
    "target_shape": "targets of shape {}",
    "target_dtype": "targets of {}",
}
COMPARED = {"samples_read": "{} samples compared", "targets_read": "{} targets compared"}


def data_fingerprint(x: Any, y: Any, first: Array, first_target: Array) -> dict[str, Any]:
    """Return the values of `DataLoader.fingerprint` for samples, targets and the first of each."""
    x_digest, x_read = digest(x, "x")
    y_digest, y_read = digest(y, "y")
    return {
        "samples": len(x),
        "sample_shape": list(first.shape),
        "dtype": str(first.dtype),
        "target_shape": list(first_target.shape),
        "target_dtype": str(first_target.dtype),
        "samples_read": x_read,
        "targets_read": y_read,
        "samples_digest": x_digest,
        "targets_digest": y_digest,
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Describe how the data of two fingerprints differ; an empty string if they are the same.

    Examples
    --------
    >>> from cnn.data.loader import DataLoader
    >>> x, y = np.zeros((4, 2)), np.arange(4)
    >>> differences(DataLoader(x, y).fingerprint(), DataLoader(x[:3], y[:3]).fingerprint())
    '4 samples before, 3 now'
    >>> differences(DataLoader(x, y).fingerprint(), DataLoader(x, y + 1).fingerprint())
    'other values in the targets'
    """
    for properties in (PROPERTIES, COMPARED):
        differing = [
            (text, _formatted(old[k]), _formatted(new[k])) for k, text in properties.items() if old[k] != new[k]
        ]
        if differing:  # then a comparison of digests is meaningless
            return "; ".join(f"{text.format(before)} before, {now} now" for text, before, now in differing)
    changed = [part for part in ("samples", "targets") if old[f"{part}_digest"] != new[f"{part}_digest"]]
    return f"other values in the {' and the '.join(changed)}" if changed else ""


def _formatted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(tuple(value) if isinstance(value, list) else value)


def digest(data: Any, name: str) -> tuple[str, int]:
    """Return the BLAKE2b digest of evenly spaced samples and their number; of all samples, if they are not too many."""
    count, chunk = min(len(data), MAX_SAMPLES), 1
    if isinstance(data, np.ndarray):
        size = max(1, data.nbytes // len(data))
        count, chunk = min(len(data), max(1, MAX_BYTES // size)), max(1, CHUNK_BYTES // size)
    positions = np.arange(count) * (len(data) - 1) // max(1, count - 1)
    hashed = hashlib.blake2b(digest_size=16)
    for start in range(0, count, chunk):
        part = take(data, positions[start : start + chunk], name)
        hashed.update(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
    return hashed.hexdigest(), count
