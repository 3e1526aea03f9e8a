"""Reading many image files: pixels of one shape, hashes that tell copies, and the background under transparency."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.core.text import fields_text
from cnn.data.image_fit import BACKGROUNDS, SQUASHED, Image, flatten_alpha
from cnn.data.images import Pixels, load_resized, read_bytes, to_pixels
from cnn.errors import InputError

MAX_THREADS = 4  # each may hold an image of half a gigabyte
HASH_BYTES = 12  # two of a billion different images have the same hash with a probability of 1e-11
MIN_CONTRAST = 16  # of 255: an image with a smaller range of values shows nothing
MIN_DIFFERENCE = 40  # of 255: what differs less from its background, on average, is hardly visible
MAX_LOST = 0.02  # the fraction of images that may be hardly visible before another background is looked for
LEVELS = {"white": 255, "black": 0, "grey": 128}

Hashes = tuple[str, str]  # of the bytes of a file, and of the pixels that were read from it


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that were read from files.

    Attributes
    ----------
    pixels : ndarray of uint8, (N, C, H, W)
    could_read : ndarray of bool
        Which of the listed files they are from.
    hashes : list of (str, str)
        For each image, the hash of the file and of its pixels.
    sides : ndarray of int, (N,)
        The longer side of each image in its file.
    background : str
        What lies under transparent pixels.
    lost_on_white : int
        Number of images with transparent pixels that would hardly be visible on white.
    """

    pixels: Pixels
    could_read: NDArray[np.bool_]
    hashes: list[Hashes]
    sides: NDArray[np.int64]
    background: str
    lost_on_white: int

    __repr__ = fields_text

    def nearly_uniform(self) -> NDArray[np.intp]:
        """Return the indices of the images that are nearly of one colour."""
        return np.flatnonzero([is_nearly_uniform(pixels) for pixels in self.pixels])


def read_images(
    files: Sequence[Path],
    size: tuple[int, int],
    grey: bool | None,
    skipped: list[tuple[Path, str]],
    background: str | None = None,
    fit: str = SQUASHED,
) -> ImageFiles:
    """Read all files, in a few threads. Files that cannot be read are added to ``skipped``.

    The arguments are those of `cnn.data.images.read_image`; without a background, `choose_background` chooses one.
    """
    pixels = np.zeros((len(files), 1 if grey else 3, *size), dtype=np.uint8)
    could_read = np.zeros(len(files), dtype=bool)
    opened: list[_Opened] = []
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's warnings about invalid metadata
        for i, found in enumerate(pool.map(partial(_open, size=size, grey=grey, fit=fit), files)):
            if isinstance(found, str):
                skipped.append((files[i], found))
                continue
            if found.pixels is not None:
                pixels[len(opened)] = found.pixels
                found.pixels = None  # the copy is enough
            could_read[i] = True
            opened.append(found)
    chosen, lost_on_white = choose_background([one.transparent for one in opened if one.transparent is not None])
    background = background or chosen
    for row, one in zip(pixels, opened, strict=False):
        if one.transparent is not None:
            flat = to_pixels(flatten_alpha(one.transparent, background), grey)
            row[:] = flat
            one.coloured = len(flat) == 3
    coloured = grey is False or any(one.coloured for one in opened)
    pixels = pixels[: len(opened), : 3 if coloured else 1]
    hashes = [(one.content, _hash(own.tobytes())) for one, own in zip(opened, pixels, strict=True)]
    sides = np.array([one.side for one in opened], dtype=np.int64)
    return ImageFiles(pixels, could_read, hashes, sides, background, lost_on_white)


@dataclass
class _Opened:
    """An image file: its pixels; or the image, if it has transparency and must wait for the background."""

    pixels: Pixels | None
    transparent: Image | None
    coloured: bool
    side: int
    content: str

    __repr__ = fields_text


def _open(file: Path, size: tuple[int, int], grey: bool | None, fit: str) -> _Opened | str:
    """Open and resize an image; return the reason if it cannot be read."""
    try:
        data = read_bytes(file)
        image, original_size = load_resized(file, size, fit, data)
        content = content_hash(file) if data is None else _hash(data)
    except InputError as error:
        return str(error)
    except PermissionError:
        return "cannot be read: permission denied"
    except OSError:
        return "no longer exists or cannot be read"
    if image.mode == "RGBA":
        return _Opened(None, image, False, max(original_size), content)
    pixels = to_pixels(image, grey)
    return _Opened(pixels, None, len(pixels) == 3, max(original_size), content)


def choose_background(images: Sequence[Image]) -> tuple[str, int]:
    """Choose the background under images with transparency: -> (its name, number of images that are lost on white).

    It is the first of white, black and grey on which nearly all are visible.

    An image is hardly visible if its opaque pixels differ from the background by less than 40 of 255 on average, each
    in the channel in which it differs most. At most 2 % of the images may be so; if each background has more of them,
    the one with the fewest is chosen. Images without opaque pixels do not count.

    Examples
    --------
    >>> from PIL import Image
    >>> clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    >>> white, dark = clear.copy(), clear.copy()
    >>> white.paste("white", (2, 2, 6, 6))
    >>> dark.paste("navy", (2, 2, 6, 6))
    >>> choose_background([dark]), choose_background([white]), choose_background([white, dark])
    (('white', 0), ('black', 1), ('black', 1))
    """
    lost = dict.fromkeys(BACKGROUNDS, 0)
    for image in images:
        red, green, blue, alpha = np.asarray(image)[::2, ::2].transpose(2, 0, 1).astype(np.int16)  # a quarter is enough
        opaque = alpha > 127
        if opaque.any():
            lightest = np.maximum(np.maximum(red, green), blue)[opaque]
            darkest = np.minimum(np.minimum(red, green), blue)[opaque]
            for name, level in LEVELS.items():
                lost[name] += int(np.maximum(lightest - level, level - darkest).mean() < MIN_DIFFERENCE)
    good = [name for name in BACKGROUNDS if lost[name] <= MAX_LOST * len(images)]
    return good[0] if good else min(BACKGROUNDS, key=lost.__getitem__), lost["white"]


def is_nearly_uniform(pixels: Pixels) -> bool:
    """Return whether an image, (C, H, W), is nearly of one colour, so that there is almost nothing to see.

    Examples
    --------
    >>> is_nearly_uniform(np.full((3, 8, 8), 200, np.uint8)), is_nearly_uniform(np.uint8([[[0, 255]]]))
    (True, False)
    """
    channels = pixels.reshape(len(pixels), -1)  # whose largest value is found faster than that of two axes
    return bool((channels.max(axis=1) - channels.min(axis=1)).max() < MIN_CONTRAST)


def content_hash(path: Path) -> str:
    """Return a hash of the bytes of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()
