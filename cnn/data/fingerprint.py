"""Fingerprints of data sets, which tell whether a resumed training has the same data."""

import hashlib
from typing import Any

import numpy as np

from cnn.data.reading import take

MAX_BYTES = 256 * 2**20  # of an array that are read for a fingerprint
MAX_SAMPLES = 200  # of data that are read sample by sample, where each may be a file to decode
AT_ONCE = 4 * 2**20  # bytes

FACTS = {
    "samples": "{} samples",
    "sample_shape": "samples of shape {}",
    "dtype": "samples of {}",
    "target_shape": "targets of shape {}",
    "target_dtype": "targets of {}",
}
COMPARED = {"samples_read": "{} samples compared", "targets_read": "{} targets compared"}


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Say in what the data of two fingerprints differ; nothing if they are the same.

    Examples
    --------
    >>> x, y = np.zeros((4, 2)), np.arange(4)
    >>> differences(DataLoader(x, y).fingerprint(), DataLoader(x[:3], y[:3]).fingerprint())
    '4 samples before, 3 now'
    >>> differences(DataLoader(x, y).fingerprint(), DataLoader(x, y + 1).fingerprint())
    'other values in the targets'
    """
    for facts in (FACTS, COMPARED):
        differing = [(text, _shown(old[k]), _shown(new[k])) for k, text in facts.items() if old[k] != new[k]]
        if differing:  # then digests say nothing
            return "; ".join(f"{text.format(before)} before, {now} now" for text, before, now in differing)
    changed = [part for part in ("samples", "targets") if old[f"{part}_digest"] != new[f"{part}_digest"]]
    return f"other values in the {' and the '.join(changed)}" if changed else ""


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(tuple(value) if isinstance(value, list) else value)


def digest(data: Any, name: str) -> tuple[str, int]:
    """Return the BLAKE2b digest of evenly spaced samples, and of how many: of all, if they are not too much."""
    count, at_once = min(len(data), MAX_SAMPLES), 1
    if isinstance(data, np.ndarray):
        size = max(1, data.nbytes // len(data))
        count, at_once = min(len(data), max(1, MAX_BYTES // size)), max(1, AT_ONCE // size)
    positions = np.arange(count) * (len(data) - 1) // max(1, count - 1)
    hashed = hashlib.blake2b(digest_size=16)
    for start in range(0, count, at_once):
        part = take(data, positions[start : start + at_once], name)
        hashed.update(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
    return hashed.hexdigest(), count
