"""How an image becomes one of the size of a network: squashed, cropped or padded; and what lies under transparency."""

from typing import Any

import numpy as np

Image = Any  # Pillow's Image; Pillow is imported only when an image is read

SQUASHED, CROPPED, PADDED, ZOOMED = "squashed", "cropped", "padded", "zoomed"
FITS = (SQUASHED, CROPPED, PADDED, ZOOMED)
FIT_WORDS = {
    SQUASHED: "resized to",
    CROPPED: "cropped and resized to",
    PADDED: "resized and padded to",
    ZOOMED: "cropped and resized to",
}
ZOOM = 0.875  # side of what "zoomed" keeps of "cropped"; 224 of 256 pixels in the evaluation on ImageNet
BACKGROUNDS = ("white", "black", "grey")


def resize(image: Image, size: tuple[int, int], fit: str = SQUASHED) -> Image:
    """Resize a Pillow image to (height, width), with antialiasing.

    Parameters
    ----------
    image : Image
        Of mode L, RGB or RGBA.
    size : pair of int
        (height, width).
    fit : {"squashed", "cropped", "padded", "zoomed"}
        "squashed": the whole image, its proportions not kept. "cropped": the largest part in the middle that has the
        proportions of ``size``. "padded": the whole image with its proportions; what is missing at two sides is
        transparent if the image has transparency, and otherwise of the mean colour of the image's border. "zoomed": the
        middle of "cropped", with 7/8 of its height and width.

    Notes
    -----
    docs/decisions/010 compares the three.
    """
    from PIL import Image as pillow  # noqa: N813

    height, width = size
    if image.size == (width, height) and fit != ZOOMED:
        return image
    scale = max(width / image.width, height / image.height)
    box = None
    if fit == ZOOMED:
        scale /= ZOOM
    if fit in (CROPPED, ZOOMED):
        left, top = (image.width - width / scale) / 2, (image.height - height / scale) / 2
        box = (
            max(0.0, left),
            max(0.0, top),
            min(left + width / scale, image.width),
            min(top + height / scale, image.height),
        )
    if fit == PADDED:
        width, height = size_within(image, width, height)
    resized = image.resize((width, height), pillow.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return _pad(resized, size) if fit == PADDED else resized


def _pad(image: Image, size: tuple[int, int]) -> Image:
    """Put an image into the middle of one of (height, width), of the mean colour of its border or transparent."""
    height, width = size
    pixels = np.asarray(image, dtype=np.float64).reshape(image.height, image.width, -1)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean(axis=0).round().astype(int)
    colour = (0, 0, 0, 0) if image.mode == "RGBA" else tuple(border.tolist())
    return centred(image, width, height, colour)


def size_within(image: Image, width: int, height: int) -> tuple[int, int]:
    """Return the largest (width, height) within the one given that has the proportions of a Pillow image."""
    scale = min(width / image.width, height / image.height)
    return max(1, round(scale * image.width)), max(1, round(scale * image.height))


def centred(image: Image, width: int, height: int, colour: tuple[int, ...]) -> Image:
    """Put a Pillow image into the middle of a larger one of this colour, which has a number for each channel."""
    from PIL import Image as pillow  # noqa: N813

    larger = pillow.new(image.mode, (width, height), colour if len(colour) > 1 else colour[0])
    larger.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return larger


def flatten_alpha(image: Image, background: str = "white") -> Image:
    """Put a Pillow image with transparency on a background of one colour."""
    from PIL import Image as pillow  # noqa: N813

    if image.mode != "RGBA":
        return image
    return pillow.alpha_composite(pillow.new("RGBA", image.size, background), image).convert("RGB")
