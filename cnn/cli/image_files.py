"""From a person's image to what a net sees: of the right size, channels and polarity."""

import glob
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn.cli.folders import SQUASHED
from cnn.cli.words import sample_text
from cnn.data.images import flatten_alpha, open_image, printable, read_with_size
from cnn.module import Array

BORDER_SHARE = 0.025  # of the shorter side: how wide the border is that tells the background
SHOWN_SIZE, SHOWN_COLUMNS, SHOWN_GAP = 280, 8, 8  # pixels of a tile's longer side, tiles in a row, pixels between
NEARLY_ONE_COLOUR = 16  # of 255: an image whose values differ by less shows nothing

Image = Any  # Pillow's; it is imported only when an image is read


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as a net sees it.

    Attributes
    ----------
    pixels : ndarray of uint8, (C, H, W)
    size : tuple of int
        Width and height of the image as a person sees it.
    border : float
        Mean brightness of its border, 0 to 255.
    inverted : bool
        Whether light and dark were swapped.
    why : str
        The reason, for people.
    """

    pixels: Array
    size: tuple[int, int]
    border: float
    inverted: bool
    why: str

    @property
    def nearly_one_colour(self) -> bool:
        """Whether there is next to nothing to see."""
        return bool(np.ptp(self.pixels, axis=(1, 2)).max() < NEARLY_ONE_COLOUR)


def expanded(names: Sequence[str]) -> list[str]:
    """Replace names with * or ? by those of the files that match, as shells do, except on Windows.

    A name that a file has, or that none matches, stays.
    """
    result: list[str] = []
    for name in names:
        matches = [] if not _is_pattern(name) else sorted(glob.glob(name.replace("[", "[[]")))  # noqa: PTH207
        result += matches or [name]
    return result


def _is_pattern(name: str | Path) -> bool:
    return any(sign in str(name) for sign in "*?") and not Path(name).exists()


def look(
    path: str | Path, input_shape: tuple[int, ...], invert: str = "auto", preprocessing: dict[str, Any] | None = None
) -> Seen:
    """Read an image of any size and colour as a net with this input shape sees it.

    A net that learned from a folder of images sees this one as it saw those. For any other, the image keeps its
    proportions: what is missing to the net's is filled with the mean colour of its border.

    Parameters
    ----------
    path : str or Path
        The image.
    input_shape : tuple of int
        (channels, height, width), with 1 or 3 channels.
    invert : {"auto", "yes", "no"}
        Whether to swap light and dark. MNIST and Fashion-MNIST show light things on black, photographs mostly
        dark things on white; "auto" inverts if the net sees grey images, this one's border is light, and the net did
        not learn from photographs.
    preprocessing : dict, optional
        The model's.

    Raises
    ------
    ValueError
        If the net reads no images, or this is none.
    OSError
        If the file cannot be read.
    """
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
        shape = sample_text(input_shape)
        raise ValueError(f"the model reads inputs of {shape}, not images of 1 or 3 channels x height x width")
    if _is_pattern(path):
        raise FileNotFoundError(f"no file matches {printable(path)}")
    channels, height, width = input_shape
    if (preprocessing or {}).get("fit") == SQUASHED:
        pixels, size = read_with_size(path, (height, width), channels == 1)
        border = float(pixels[:, _border(height, width)].mean())
        inverted = invert == "yes"
        why = f"{'' if inverted else 'not '}inverted, as asked" if invert != "auto" else "as it is"
        return Seen(255 - pixels if inverted else pixels, size, border, inverted, why)
    image, size = open_image(path)
    image = flatten_alpha(image, _ground(image)) if image.mode == "RGBA" else image
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    border = float(grey[_border(*grey.shape)].mean())
    inverted, why = _polarity(invert, border, channels)
    pixels = _fit(image.convert("L" if channels == 1 else "RGB"), input_shape)
    return Seen(255 - pixels if inverted else pixels, size, border, inverted, why)


def _ground(image: Image) -> str:
    """Return the colour to lay under an image with transparency: one in front of which its thing can be seen."""
    opaque = np.asarray(image.getchannel("A")) > 127
    return "black" if opaque.any() and np.asarray(image.convert("L"))[opaque].mean() > 127 else "white"


def _border(height: int, width: int) -> Array:
    """Return a mask of the outermost pixels."""
    wide = max(1, round(BORDER_SHARE * min(height, width)))
    mask = np.ones((height, width), dtype=bool)
    mask[wide:-wide, wide:-wide] = False
    return mask


def _polarity(invert: str, border: float, channels: int) -> tuple[bool, str]:
    """Decide whether to invert, and say why."""
    if invert != "auto":
        return invert == "yes", "inverted, as asked" if invert == "yes" else "not inverted, as asked"
    if channels != 1:
        return False, "not inverted: the model sees colours"
    if border > 127.5:
        return True, f"inverted: its border is light, {border:.0f} of 255"
    return False, f"not inverted: its border is dark, {border:.0f} of 255"


def _fit(image: Image, input_shape: tuple[int, ...]) -> Array:
    """Scale to the net's size, proportions kept, in the middle of a ground of the border's colour: -> (C, H, W)."""
    from PIL import Image as pillow  # noqa: N813

    channels, height, width = input_shape
    if image.size != (width, height):
        pixels = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, channels)
        ground = tuple(round(float(c)) for c in pixels[_border(image.height, image.width)].mean(axis=0))
        scale = min(width / image.width, height / image.height)
        size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
        small = image.resize(size, pillow.Resampling.LANCZOS)  # sharp, as Fashion-MNIST is
        image = pillow.new(image.mode, (width, height), ground if channels > 1 else ground[0])
        image.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def enlarged(images: Sequence[Array]) -> bytes:
    """Return a PNG of what a net saw, each pixel a square, several images row by row.

    Parameters
    ----------
    images : sequence of ndarray of uint8, (C, H, W)
        At least one, all of one shape.
    """
    from PIL import Image as pillow  # noqa: N813

    _, height, width = images[0].shape
    factor = max(1, math.ceil(SHOWN_SIZE / max(height, width)))
    columns = min(SHOWN_COLUMNS, len(images))
    across, down = factor * width + SHOWN_GAP, factor * height + SHOWN_GAP
    size = (columns * across + SHOWN_GAP, math.ceil(len(images) / columns) * down + SHOWN_GAP)
    sheet = pillow.new("RGB", size, (128, 128, 128))
    for i, pixels in enumerate(images):
        squares = pixels.transpose(1, 2, 0).repeat(factor, axis=0).repeat(factor, axis=1)
        tile = pillow.fromarray(squares[:, :, 0] if squares.shape[2] == 1 else squares)
        sheet.paste(tile, (SHOWN_GAP + i % columns * across, SHOWN_GAP + i // columns * down))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()
