"""Preprocessing: pixels become the inputs of a model, in the same way as in training."""

from typing import Any

import numpy as np

from cnn.module import Array


def preprocess(pixels: Any, settings: dict[str, Any] | None) -> Array:
    """Turn pixels of 0 to 255, (N, C, H, W), into inputs: (scale pixel - mean) / std.

    Parameters
    ----------
    pixels : array_like
        (N, C, H, W).
    settings : dict or None
        {"scale": s, "mean": m, "std": d}; by default 1 / 255, 0 and 1.
    """
    settings = settings or {}
    x = np.asarray(pixels).astype(np.float32) * np.float32(settings.get("scale", 1 / 255))
    mean, std = (np.float32(settings.get(key, default)).reshape(-1, 1, 1) for key, default in (("mean", 0), ("std", 1)))
    return (x - mean) / std
