"""Made-up photographs of circles, squares and triangles: of many sizes, noisy, and turned as cameras turn them."""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle")
SIZES = ((640, 480), (800, 600), (1024, 768), (1280, 720), (900, 900))  # width and height, as the camera is held level
LARGE = (4000, 3000)
LARGE_EVERY = 40  # so many photographs, one is large
ORIENTATION = 0x0112  # the EXIF tag
# What the camera's image was, from the upright one: the inverse of what each orientation asks for
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
    """Write ``count`` JPEGs, in turn of each class, into a folder a class; the same generator gives the same pixels.

    Returns
    -------
    list of Path
        In the order in which they were made: number i is of the class i modulo 3 and has the EXIF orientation
        1 + i modulo 8.
    """
    paths = []
    for i in range(count):
        name = CLASSES[i % len(CLASSES)]
        path = Path(folder) / name / f"IMG_{i:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = LARGE if i % LARGE_EVERY == LARGE_EVERY - 1 else SIZES[rng.integers(len(SIZES))]
        size = (height, width) if rng.random() < 0.4 else (width, height)
        save_turned(photo(name, size, rng), path, 1 + i % 8, quality=85)
        paths.append(path)
    return paths


def save_turned(image: Image.Image, path: str | Path, orientation: int, **options: Any) -> None:
    """Store the image so that EXIF's orientation turns it upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image.transpose(STORED[orientation]) if orientation in STORED else image
    stored.save(path, exif=exif, **options)


def photo(name: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return an image, (width, height), of one shape of any colour, wholly in it, on a noisy ground with a few lines."""
    width, height = size
    ground = rng.integers(40, 216) + rng.integers(-25, 26, 3)  # dull, as a table is
    corners = np.clip(ground + rng.integers(-30, 31, (2, 2, 3)), 0, 255).astype(np.uint8)
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
    # Coarse noise, so that something of it is left in a small image
    grains = rng.normal(0, 22, (height // 5 + 1, width // 5 + 1, 3)).clip(-127, 127) + 128
    noise = Image.fromarray(grains.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(image).astype(np.int16) + np.asarray(noise) - 128
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a strong colour of any hue: red, green and blue."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.75, 1), rng.uniform(0.6, 1))
    red, green, blue = (round(255 * c) for c in rgb)
    return red, green, blue
