"""Images for `cnn predict`: from a file to the size, channels and polarity that the model expects."""

import glob
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli.formatting import sample_shape_text
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import SYSTEM_FILES, SYSTEM_FOLDERS, contains_runs
from cnn.data.image_fit import FITS, centred, flatten_alpha, size_within
from cnn.data.images import HEIF_SUFFIXES, open_image, read_with_size
from cnn.module import Array

BORDER_WIDTH = 0.025  # of the shorter side
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", *HEIF_SUFFIXES)
TILE_SIZE, TILE_COLUMNS, TILE_GAP = 280, 8, 8  # pixels of a tile's longer side, tiles in a row, pixels between tiles

Image = Any  # Pillow's; it is imported only when an image is read


@dataclass(frozen=True, eq=False)
class ModelImage:
    """An image as the model receives it.

    Attributes
    ----------
    pixels : ndarray of uint8, (C, H, W)
    size : tuple of int
        Width and height of the image in the file, upright.
    border : float
        Mean brightness of its border, 0 to 255.
    inverted : bool
        Whether light and dark were swapped.
    reason : str
        Why it was inverted or not, as text to print; "" for a colour image, which nobody expects to be inverted.
    """

    pixels: Array
    size: tuple[int, int]
    border: float
    inverted: bool
    reason: str

    __repr__ = fields_text


def expand_patterns(names: Sequence[str]) -> list[str]:
    """Replace names with * or ? by the names of the matching files, as shells do, except on Windows.

    The name of an existing file stays, and so does a pattern that no file matches.
    """
    result: list[str] = []
    for name in names:
        matches = [] if not _is_pattern(name) else sorted(glob.glob(name.replace("[", "[[]")))  # noqa: PTH207
        result += matches or [name]
    return result


def files_in(folder: str | Path) -> list[str]:
    """List all files in a folder and the folders in it, sorted, without hidden files and those of the system.

    Folders in it that `cnn train` wrote are left out, as in training: their images are plots.

    Raises
    ------
    OSError
        If the folder, or one in it, cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    seen: set[str] = set()  # a link may lead back to a folder above
    for parent, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        shown = [name for name in sorted(folders) if _is_shown(name)]
        folders[:] = [name for name in shown if not contains_runs(Path(parent, name))]
        found += [Path(parent, name) for name in files if _is_shown(name)]
    return [str(path) for path in sorted(found)]


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in (*SYSTEM_FILES, *SYSTEM_FOLDERS)


def looks_like_an_image(name: str) -> bool:
    """Return whether a file name ends as those of images do."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def _is_pattern(name: str | Path) -> bool:
    return any(wildcard in str(name) for wildcard in "*?") and not Path(name).exists()


def read_for_model(
    path: str | Path,
    input_shape: tuple[int, ...],
    invert: str = "auto",
    preprocessing: dict[str, Any] | None = None,
    data: bytes | None = None,
) -> ModelImage:
    """Read an image of any size and colour for a model with this input shape.

    For a model that was trained on a folder of images, it is read exactly as in training. For any other model, it is
    resized with its proportions kept, and padded with the mean colour of its border.

    Parameters
    ----------
    path : str or Path
        The image.
    input_shape : tuple of int
        (channels, height, width), with 1 or 3 channels.
    invert : {"auto", "yes", "no"}
        Whether to swap light and dark. MNIST and Fashion-MNIST show light objects on black, photos mostly dark objects
        on white. "auto" inverts if the model takes grey images, the border of this one is light, and the model was not
        trained on a folder of images.
    preprocessing : dict, optional
        The preprocessing of the model.
    data : bytes, optional
        The contents of the file, if they have been read. The path is then only a name.

    Raises
    ------
    ValueError
        If the model does not take images, or the file is not an image.
    OSError
        If the file cannot be read.
    """
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
        shape = sample_shape_text(input_shape)
        raise ValueError(f"the model takes inputs of {shape}, not images of 1 or 3 channels x height x width")
    if data is None and _is_pattern(path):
        raise FileNotFoundError(f"no file matches {printable(path)}")
    if data is None and Path(path).is_dir():
        raise IsADirectoryError(f"{printable(path)} is a folder without images")
    channels, height, width = input_shape
    settings = preprocessing or {}
    if settings.get("fit") in FITS:
        background = settings.get("background", "white")  # older models have none
        pixels, size = read_with_size(path, (height, width), channels == 1, background, settings["fit"], data)
        border = float(pixels[:, _border_mask(height, width)].mean())
        inverted = invert == "yes"
        reason = "" if channels == 3 else "not inverted: the model was trained on such images"
        reason = reason if invert == "auto" else _requested(invert)
        return ModelImage(255 - pixels if inverted else pixels, size, border, inverted, reason)
    image, size = open_image(path, data)
    image = flatten_alpha(image, _background(image)) if image.mode == "RGBA" else image
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    border = float(grey[_border_mask(*grey.shape)].mean())
    inverted, reason = _polarity(invert, border, channels)
    pixels = _resize_and_pad(image.convert("L" if channels == 1 else "RGB"), input_shape)
    return ModelImage(255 - pixels if inverted else pixels, size, border, inverted, reason)


def _background(image: Image) -> str:
    """Return the background for an image with transparency: the colour that contrasts with its opaque pixels."""
    opaque = np.asarray(image.getchannel("A")) > 127
    return "black" if opaque.any() and np.asarray(image.convert("L"))[opaque].mean() > 127 else "white"


def _border_mask(height: int, width: int) -> Array:
    """Return a mask of the outermost pixels."""
    border = max(1, round(BORDER_WIDTH * min(height, width)))
    mask = np.ones((height, width), dtype=bool)
    mask[border:-border, border:-border] = False
    return mask


def _requested(invert: str) -> str:
    return "inverted, as requested" if invert == "yes" else "not inverted, as requested"


def _polarity(invert: str, border: float, channels: int) -> tuple[bool, str]:
    """Return whether to invert, and why."""
    if invert != "auto":
        return invert == "yes", _requested(invert)
    if channels != 1:
        return False, ""
    if border > 127.5:
        return True, f"inverted: its border is light, {border:.0f} of 255"
    return False, f"not inverted: its border is dark, {border:.0f} of 255"


def _resize_and_pad(image: Image, input_shape: tuple[int, ...]) -> Array:
    """Resize to the model's size, proportions kept, and pad with the mean colour of the border: -> (C, H, W)."""
    from PIL import Image as pillow  # noqa: N813

    channels, height, width = input_shape
    if image.size != (width, height):
        pixels = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, channels)
        border_pixels = pixels[_border_mask(image.height, image.width)]
        colour = tuple(round(float(c)) for c in border_pixels.mean(axis=0))
        resized = image.resize(size_within(image, width, height), pillow.Resampling.LANCZOS)  # like Fashion-MNIST
        image = centred(resized, width, height, colour)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def contact_sheet(images: Sequence[Array]) -> bytes:
    """Return a PNG of images in a grid, row by row, with each pixel enlarged to a square.

    Parameters
    ----------
    images : sequence of ndarray of uint8, (C, H, W)
        At least one, all of the same shape.
    """
    from PIL import Image as pillow  # noqa: N813

    _, height, width = images[0].shape
    factor = max(1, math.ceil(TILE_SIZE / max(height, width)))
    columns = min(TILE_COLUMNS, len(images))
    step_x, step_y = factor * width + TILE_GAP, factor * height + TILE_GAP
    size = (columns * step_x + TILE_GAP, math.ceil(len(images) / columns) * step_y + TILE_GAP)
    sheet = pillow.new("RGB", size, (128, 128, 128))
    for i, pixels in enumerate(images):
        enlarged = pixels.transpose(1, 2, 0).repeat(factor, axis=0).repeat(factor, axis=1)
        tile = pillow.fromarray(enlarged[:, :, 0] if enlarged.shape[2] == 1 else enlarged)
        sheet.paste(tile, (TILE_GAP + i % columns * step_x, TILE_GAP + i // columns * step_y))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()
