"""Safe reading of one image file: upright, opaque, 8 bits per channel, scaled to the input size of a network."""

import contextlib
import io
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn.core.checks import pair
from cnn.core.text import printable, short_text
from cnn.data.image_fit import BACKGROUNDS, FITS, SQUASHED, flatten_alpha, resize
from cnn.errors import InputError

Image = Any  # Pillow's Image; Pillow is imported only when an image is read
Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")  # no others: decoders are a target of malicious files
FORMAT_NAMES = "JPEG, PNG, GIF, BMP, TIFF or WebP"
MAX_PIXELS = 120_000_000  # phone cameras have up to 108 million; decoded, this many take half a gigabyte
MAX_BYTES_IN_MEMORY = 2**28  # of a file that is read at once, before it is clear that it is an image
TOO_LARGE = f"is too large: at most {MAX_PIXELS:,} pixels can be read; make it smaller first"
EMPTY = "is empty (0 bytes)"
MIN_ASPECT_RATIO = 1 / 20  # shorter side / longer side; scaling a narrower image would leave nothing of its content
# ISO media files of these brands: https://nokiatech.github.io/heif/technical.html and AV1 Image File Format, section 4
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
HEIF_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
ORIENTATION = 0x0112  # the EXIF tag
DRAFT_FACTOR = 2  # JPEGs are decoded at no less than this times the final size; a better filter does the rest


def read_image(
    path: str | Path,
    size: int | tuple[int, int] | None = None,
    grey: bool | None = False,
    background: str = "white",
    fit: str = SQUASHED,
) -> Pixels:
    """Read an image file as the input of a network.

    The image is rotated upright according to its EXIF orientation, transparent areas are put on ``background``, and
    pixels are converted to 8 bits per channel: 16-bit grey values are scaled, palettes and CMYK are converted to RGB.
    Of an animation, the first frame is read.

    Parameters
    ----------
    path : str or Path
        A JPEG, PNG, GIF, BMP, TIFF or WebP file of at most 120 million pixels.
    size : int or pair of int, optional
        (height, width), or one number for both; by default the size of the image in the file.
    grey : bool or None, default False
        True: one channel. False: three channels (RGB). None: one channel if the image has no colours.
    background : {"white", "black", "grey"}, default "white"
        What is seen through transparent pixels.
    fit : {"squashed", "cropped", "padded", "zoomed"}, default "squashed"
        How an image of other proportions than ``size`` is brought to that size: the whole image with its proportions
        not kept; its middle part; or the whole image with a margin of the mean colour of its border (if it has
        transparency, of ``background``); or seven eighths of the middle part, as in the evaluation on ImageNet.

    Returns
    -------
    ndarray of uint8, (1 or 3, H, W)

    Raises
    ------
    InputError
        (a ValueError) If the file is empty, cut short, damaged, too large or not an image; the message says which.
    FileNotFoundError, PermissionError
        If there is no such file, or no permission to read it.

    Notes
    -----
    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is still at least twice ``size``: libjpeg then leaves out
    the high-frequency cosines, which takes a fraction of the time.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (640, 480), (250, 0, 9)).save(folder + "/red.png")
    ...     pixels = read_image(folder + "/red.png", size=64)
    >>> pixels.shape, pixels.dtype, pixels[:, 0, 0]
    ((3, 64, 64), dtype('uint8'), array([250,   0,   9], dtype=uint8))
    """
    sides = None if size is None else pair(size, "size", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about invalid metadata
        return read_with_size(path, sides, grey, background, fit)[0]


def check_conversion(background: str | None, fit: str) -> None:
    """Raise an error unless ``background`` and ``fit`` are known; None stands for the default."""
    if fit not in FITS:
        raise InputError(f"fit must be one of {', '.join(FITS)}, got {short_text(fit)}")
    if background is not None and background not in BACKGROUNDS:
        raise InputError(f"background must be one of {', '.join(BACKGROUNDS)}, got {short_text(background)}")


def read_with_size(
    path: str | Path,
    size: tuple[int, int] | None,
    grey: bool | None,
    background: str = "white",
    fit: str = SQUASHED,
    data: bytes | None = None,
) -> tuple[Pixels, tuple[int, int]]:
    """Read an image as `read_image` does: -> (pixels, (width, height) of the upright image in the file).

    Pillow's warnings are up to the caller, and ``data`` are as in `load`.
    """
    check_conversion(background, fit)
    with _errors_with_name(path):
        image, original_size = load_resized(path, size, fit, data)
        return to_pixels(flatten_alpha(image, background), grey), original_size


def open_image(path: str | Path, data: bytes | None = None) -> tuple[Image, tuple[int, int]]:
    """Open an image in its original size, for other ways to resize it: -> the output of `load`.

    Pillow's warnings are up to the caller, and ``data`` are as in `load`.
    """
    with _errors_with_name(path):
        return load(path, data=data)


@contextlib.contextmanager
def _errors_with_name(path: str | Path) -> Iterator[None]:
    """Put the file name in front of error messages."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{printable(path)} {error}") from None


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a file, for `load` and a hash; None if it is so large that it might be a film.

    Raises
    ------
    InputError
        If it is not a regular file, or empty; the message is the part after the file name.
    """
    _check_file(path)
    return path.read_bytes() if path.stat().st_size <= MAX_BYTES_IN_MEMORY else None


def load_resized(
    path: str | Path, size: tuple[int, int] | None, fit: str, data: bytes | None = None
) -> tuple[Image, tuple[int, int]]:
    """Open an image as `load` does, and resize it: -> (Pillow image, (width, height) of the upright original)."""
    image, original_size = load(path, size, data)
    return image if size is None else resize(image, size, fit), original_size


def to_pixels(image: Image, grey: bool | None) -> Pixels:
    """Convert a Pillow image of mode L or RGB to an array, (1 or 3, H, W); ``grey`` as in `read_image`."""
    pixels = np.asarray(image.convert("L") if grey else image)
    if pixels.ndim == 3 and grey is None and (pixels == pixels[:, :, :1]).all():
        pixels = pixels[:, :, 0]  # a grey image stored as RGB
    if pixels.ndim == 2:
        return np.repeat(pixels[None], 3 if grey is False else 1, axis=0)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def load(
    path: str | Path, size: tuple[int, int] | None = None, data: bytes | None = None
) -> tuple[Image, tuple[int, int]]:
    """Open an image: -> (Pillow image, upright, of mode L, RGB or RGBA; (width, height) of the upright original).

    A caller that uses several threads must silence Pillow's warnings itself: ``warnings.catch_warnings`` is not
    thread-safe.

    Parameters
    ----------
    path : str or Path
        The file.
    size : pair of int, optional
        (height, width) to which it will be resized. A large JPEG may then be decoded at a smaller size than in the
        file, but not at a smaller size than this.
    data : bytes, optional
        The contents of the file, if they have been read. The path is then only a name.

    Raises
    ------
    InputError
        If the image cannot be opened. The message is the part after the file name, such as "is empty".
    FileNotFoundError, PermissionError
        With the file name in the message.
    """
    from PIL import Image as pillow  # noqa: N813
    from PIL import UnidentifiedImageError

    path = Path(path)
    try:
        if data is None:
            _check_file(path)
        elif not data:
            raise InputError(EMPTY)
        with pillow.open(path if data is None else io.BytesIO(data), formats=FORMATS) as file:
            original_size = file.size
            _check_size(*original_size)
            if size is not None and file.format in ("JPEG", "MPO"):
                file.draft(None, (DRAFT_FACTOR * max(size),) * 2)
            file.load()
            orientation = _orientation(file)
            image = _convert_mode(file)
    except InputError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {printable(path)}") from None
    except PermissionError:
        raise PermissionError(f"{printable(path)} cannot be read: permission denied") from None
    except UnidentifiedImageError:
        raise InputError(_unknown_format(path, data)) from None
    except pillow.DecompressionBombError:
        raise InputError(TOO_LARGE) from None
    except MemoryError:
        raise InputError("is too large for the memory of this machine: make it smaller first") from None
    except Exception as error:  # decoders raise nearly every kind of error for damaged files
        raise InputError(f"is damaged or cut short ({printable(error)})") from None
    transpose = _transpose_methods().get(orientation)
    if transpose is None:
        return image, original_size
    return image.transpose(transpose), original_size[::-1] if orientation >= 5 else original_size


def _check_file(path: Path) -> None:
    """Raise an error unless this is a regular file (a pipe is not) that is not empty."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, expected an image")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is not a regular file")
    if status.st_size == 0:
        raise InputError(EMPTY)


def _check_size(width: int, height: int) -> None:
    """Raise an error if the image has too many pixels or is too narrow, before it is decoded."""
    if width * height > MAX_PIXELS:
        raise InputError(TOO_LARGE)
    if min(width, height) < MIN_ASPECT_RATIO * max(width, height):
        raise InputError(f"is {width} x {height} pixels, too narrow to be an image: crop it first")


def _unknown_format(path: Path, data: bytes | None) -> str:
    """Return an error message for a file whose format Pillow does not know."""
    if data is None:
        with path.open("rb") as file:
            data = file.read(12)
    start = data[:12]
    if (start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS) or path.suffix.lower() in HEIF_SUFFIXES:
        return "is a HEIC, HEIF or AVIF image, which is not supported: convert to JPEG first"
    return f"is not an image that can be read: expected {FORMAT_NAMES}"


def _orientation(file: Image) -> int:
    """Return the EXIF orientation, 1 to 8; to be called after loading, as Pillow rotates TIFFs while it loads them."""
    try:
        return int(file.getexif().get(ORIENTATION, 1))
    except Exception:  # invalid metadata is no reason to reject the image
        return 1


def _transpose_methods() -> dict[int, Any]:
    """Return, for each EXIF orientation, the transposition that makes the image upright. EXIF 2.32, tag 274."""
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _convert_mode(image: Image) -> Image:
    """Convert a loaded image to mode L, RGB or RGBA."""
    from PIL import Image as pillow  # noqa: N813

    if image.mode == "F":
        raise InputError("has floating-point pixels of unknown range: save it as PNG first")
    if image.mode.startswith("I"):  # Pillow's own conversion keeps the wrong bits
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("has 32-bit pixels of unknown range: save it as PNG first")
        return pillow.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        is_opaque = image.getchannel("A").getextrema()[0] == 255
        return image.convert("RGB") if is_opaque else image
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
