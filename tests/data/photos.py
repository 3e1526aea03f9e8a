"""Synthetic photographs of circles, squares and triangles: of many sizes, noisy, and with every EXIF orientation."""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle")
SIZES = ((640, 480), (800, 600), (1024, 768), (1280, 720), (900, 900))  # width and height in landscape orientation
LARGE = (4000, 3000)
LARGE_EVERY = 40  # one of this many photographs is large
ORIENTATION = 0x0112  # the EXIF tag
# The transposition from the upright image to the stored one: the inverse of the one that each orientation stands for
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def make_photos(folder: str | Path, count: int, rng: np.random.Generator) -> list[Path]:
    """Write ``count`` JPEGs, alternating between the classes, into one folder per class.

    The same generator gives the same pixels.

    Returns
    -------
    list of Path
        In the order in which they were written: number i is of class i modulo 3 and has the EXIF orientation
        1 + i modulo 8.
    """
    paths = []
    for i in range(count):
        name = CLASSES[i % len(CLASSES)]
        path = Path(folder) / name / f"IMG_{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = LARGE if i % LARGE_EVERY == LARGE_EVERY - 1 else SIZES[rng.integers(len(SIZES))]
        size = (height, width) if rng.random() < 0.4 else (width, height)
        save_with_orientation(photo(name, size, rng), path, 1 + i % 8, quality=85)
        paths.append(path)
    return paths


def save_with_orientation(image: Image.Image, path: str | Path, orientation: int, **options: Any) -> None:
    """Store an upright image with an EXIF orientation, so that applying the orientation makes it upright again."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image.transpose(STORED[orientation]) if orientation in STORED else image
    stored.save(path, exif=exif, **options)


def photo(name: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return an image, (width, height), of one shape, completely inside it, on a noisy background with a few lines."""
    width, height = size
    background = rng.integers(40, 216) + rng.integers(-25, 26, 3)  # a dull colour, as of a table
    corners = np.clip(background + rng.integers(-30, 31, (2, 2, 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    short = min(size)
    for _ in range(rng.integers(0, 5)):
        ends = rng.random((2, 2)) * size
        draw.line([tuple(end) for end in ends], _colour(rng), width=max(1, short // 150))
    radius = rng.uniform(0.22, 0.42) * short
    centre = np.array([rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)])
    colour = _colour(rng)
    if name == "circle":
        radius *= 0.9
        draw.ellipse([*(centre - radius), *(centre + radius)], fill=colour)
    else:
        count = 3 if name == "triangle" else 4
        angles = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2 * np.pi / count
        points = centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])
        draw.polygon([tuple(point) for point in points], fill=colour)
    # Coarse noise, so that some of it is left in a small image
    grains = rng.normal(0, 22, (height // 5 + 1, width // 5 + 1, 3)).clip(-127, 127) + 128
    noise = Image.fromarray(grains.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(image).astype(np.int16) + np.asarray(noise) - 128
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a saturated colour of any hue: (red, green, blue)."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.75, 1), rng.uniform(0.6, 1))
    red, green, blue = (round(255 * c) for c in rgb)
    return red, green, blue
