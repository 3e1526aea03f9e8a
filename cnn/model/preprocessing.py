"""Preprocessing: pixels become the inputs of a model, in the same way as in training."""

from pathlib import Path
from typing import Any

import numpy as np

from cnn.data import images
from cnn.data.image_fit import FITS
from cnn.errors import InputError
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
    x = np.asarray(pixels).astype(np.float32)
    x *= np.float32(settings.get("scale", 1 / 255))
    mean, std = (np.float32(settings.get(key, default)).reshape(-1, 1, 1) for key, default in (("mean", 0), ("std", 1)))
    if x.ndim < 3 or max(mean.size, std.size) > x.shape[-3]:  # the result has another shape
        return (x - mean) / std
    x -= mean  # in place: memory from the system for each result would take longer than the arithmetic
    x /= std
    return x


def read_image(path: str | Path, shape: tuple[int, ...] | None, settings: dict[str, Any] | None) -> Array:
    """Read an image file as a run of ``cnn train FOLDER`` did: its size, colours, fit and background.

    Parameters
    ----------
    path : str or Path
        A file that `cnn.data.read_image` can read.
    shape : tuple of int
        (1 or 3, H, W), the shape of an input of the model.
    settings : dict
        The preprocessing of the model: "fit" and "background" as in `cnn.data.read_image`.

    Returns
    -------
    ndarray of uint8, (1 or 3, H, W)

    Raises
    ------
    InputError
        If ``settings`` have no fit, because the model was not trained on a folder of images, or the file is not an
        image.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGBA", (640, 480), (0, 0, 0, 0)).save(folder + "/clear.png")
    ...     pixels = read_image(folder + "/clear.png", (1, 32, 32), {"fit": "squashed", "background": "black"})
    >>> pixels.shape, pixels.max()
    ((1, 32, 32), np.uint8(0))
    """
    settings = settings or {}
    if settings.get("fit") not in FITS or shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(
            "the model does not say how image files become its inputs, as it was not trained on a folder of images: "
            "use cnn.data.read_image(path, size=(height, width), grey=...)"
        )
    background = settings.get("background", "white")  # older models have none
    channels, height, width = shape
    return images.read_image(path, (height, width), channels == 1, background, settings["fit"])
