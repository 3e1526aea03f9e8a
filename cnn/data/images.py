"""One image of a person's, read safely: upright, opaque, 8 bits a channel, and of the size that a net sees."""

import contextlib
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn.core.checks import pair
from cnn.errors import InputError

Image = Any  # Pillow's; it is imported only when an image is read
Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")  # a decoder is a place where files attack: no others
FORMAT_NAMES = "JPEG, PNG, GIF, BMP, TIFF or WebP"
MAX_PIXELS = 120_000_000  # phones take 108 million; decoded, this many take half a gigabyte
TOO_LARGE = f"is too large: at most {MAX_PIXELS:,} pixels can be read; make it smaller first"
THINNEST = 1 / 20  # an image thinner than this share of its length is refused: nothing of it would be left
# ISO media files of these brands: https://nokiatech.github.io/heif/technical.html and AV1 Image File Format, section 4
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
HEIF_ENDINGS = (".heic", ".heif", ".hif", ".avif")
ORIENTATION = 0x0112  # the EXIF tag
DRAFT = 2  # JPEGs are decoded at no less than twice the size wanted: the rest is left to a better filter


def read_image(path: str | Path, size: int | tuple[int, int] | None = None, grey: bool | None = False) -> Pixels:
    """Read an image as a net sees it.

    It is turned upright as the camera's note (EXIF orientation) says, laid on white where it is transparent, and
    brought to 8 bits a channel: 16-bit greys are scaled, palettes and CMYK become colours. Of an animation it is the
    first frame. The whole image is scaled to ``size``, whatever its proportions; see `scaled`.

    Parameters
    ----------
    path : str or Path
        A JPEG, PNG, GIF, BMP, TIFF or WebP file of at most 120 million pixels.
    size : int or pair of int, optional
        (height, width), or one number for both; by default that of the file.
    grey : bool or None, default False
        True: one channel. False: red, green and blue. None: one channel if the image has no colours.

    Returns
    -------
    ndarray of uint8, (1 or 3, H, W)

    Raises
    ------
    InputError
        (a ValueError) If the file is empty, cut short, damaged, too large or no image; the message says which.
    FileNotFoundError, PermissionError
        If there is no such file, or it may not be read.

    Notes
    -----
    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is still twice ``size``: libjpeg then leaves the fine
    cosines out, which takes a fraction of the time.

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
    return read_with_size(path, None if size is None else pair(size, "size", 1), grey)[0]


def read_with_size(path: str | Path, size: tuple[int, int] | None, grey: bool | None) -> tuple[Pixels, tuple[int, int]]:
    """Do what `read_image` does: -> (pixels, width and height of the file's image, upright)."""
    with _told_of(path):
        return decode(path, size, grey)


def open_image(path: str | Path) -> tuple[Image, tuple[int, int]]:
    """Open an image in its own size, for other ways to scale it: -> what `load` returns."""
    with _told_of(path):
        return load(path)


@contextlib.contextmanager
def _told_of(path: str | Path) -> Iterator[None]:
    """Put the file's name in front of an error, and silence Pillow's warnings, which are of doubtful metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError as error:
            raise InputError(f"{readable(path)} {error}") from None


def decode(path: str | Path, size: tuple[int, int] | None, grey: bool | None) -> tuple[Pixels, tuple[int, int]]:
    """Do what `read_with_size` does, with messages that leave the file's name out, and with Pillow's warnings.

    They are to be silenced by who calls this on several threads: ``warnings.catch_warnings`` is for one.
    """
    image, whole = load(path, size)
    image = opaque(image if size is None else scaled(image, size))
    pixels = np.asarray(image.convert("L") if grey else image)
    if pixels.ndim == 3 and grey is None and (pixels == pixels[:, :, :1]).all():
        pixels = pixels[:, :, 0]  # a grey image in a file for colours
    if pixels.ndim == 2:
        return np.repeat(pixels[None], 3 if grey is False else 1, axis=0), whole
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), whole


def scaled(image: Image, size: tuple[int, int]) -> Image:
    """Scale the whole of a Pillow image to (height, width), with antialiasing; the proportions are not kept.

    The other usual way, to cut the square in the middle out, keeps them, but loses a quarter of a camera's image
    and half of a screenshot, perhaps with what it is about, and nobody is told. That a thing is a third too wide can be
    learned, as training and prediction see it in the same way. Of 100 other photographs with a shape anywhere
    (tests/data/photos.py), 99 were right with this and 93 with the square in the middle, in one run each.
    """
    from PIL import Image as pillow  # noqa: N813

    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), pillow.Resampling.BICUBIC, reducing_gap=3.0)


def opaque(image: Image, ground: str = "white") -> Image:
    """Lay a Pillow image with transparency on a ground of one colour."""
    from PIL import Image as pillow  # noqa: N813

    if image.mode != "RGBA":
        return image
    return pillow.alpha_composite(pillow.new("RGBA", image.size, ground), image).convert("RGB")


def load(path: str | Path, size: tuple[int, int] | None = None) -> tuple[Image, tuple[int, int]]:
    """Open an image: -> (Pillow's image, upright, of mode L, RGB or RGBA; width and height of the file's, upright).

    Parameters
    ----------
    path : str or Path
        The file.
    size : pair of int, optional
        (height, width) that will be made of it. A large JPEG may then come smaller than it is, but not than this.

    Raises
    ------
    InputError
        If that cannot be done. The message is what comes after the name of the file: "is empty".
    FileNotFoundError, PermissionError
        With the name.
    """
    from PIL import Image as pillow  # noqa: N813
    from PIL import UnidentifiedImageError

    path = Path(path)
    try:
        _check_file(path)
        with pillow.open(path, formats=FORMATS) as file:
            whole = file.size
            _check_size(*whole)
            if size is not None and file.format in ("JPEG", "MPO"):
                file.draft(None, (DRAFT * max(size),) * 2)
            file.load()
            orientation = _orientation(file)
            image = _plain(file)
    except InputError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {readable(path)}") from None
    except PermissionError:
        raise PermissionError(f"{readable(path)} cannot be read: permission denied") from None
    except UnidentifiedImageError:
        raise InputError(_unknown(path)) from None
    except pillow.DecompressionBombError:
        raise InputError(TOO_LARGE) from None
    except MemoryError:
        raise InputError("is too large for the memory of this machine: make it smaller first") from None
    except Exception as error:  # decoders meet a damaged file with errors of nearly every kind
        raise InputError(f"is damaged or cut short ({readable(error)})") from None
    turn = _turns().get(orientation)
    if turn is None:
        return image, whole
    return image.transpose(turn), whole[::-1] if orientation >= 5 else whole


def readable(name: object) -> str:
    r"""Return a text in which nothing moves the cursor: line ends, control signs and broken letters are escaped.

    Examples
    --------
    >>> print(readable("Äpfel und\nBirnen.jpg"))
    Äpfel und\nBirnen.jpg
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))


def _check_file(path: Path) -> None:
    """Raise an error unless there is a file with something in it, which a pipe, say, is not."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, expected an image")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is no ordinary file")
    if status.st_size == 0:
        raise InputError("is empty (0 bytes)")


def _check_size(width: int, height: int) -> None:
    """Raise an error if that many pixels are too many; nothing has been decoded then."""
    if width * height > MAX_PIXELS:
        raise InputError(TOO_LARGE)
    if min(width, height) < THINNEST * max(width, height):
        raise InputError(f"is {width} x {height} pixels, too narrow to be an image: cut out a part of it")


def _unknown(path: Path) -> str:
    """Say what a file is that Pillow does not know."""
    with path.open("rb") as file:
        start = file.read(12)
    if (start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS) or path.suffix.lower() in HEIF_ENDINGS:
        return "is a HEIC, HEIF or AVIF image, which is not read: convert to JPEG first"
    return f"is no image that can be read: expected {FORMAT_NAMES}"


def _orientation(file: Image) -> int:
    """Return EXIF's orientation, 1 to 8; once the file is loaded, as Pillow turns TIFFs while it loads them."""
    try:
        return int(file.getexif().get(ORIENTATION, 1))
    except Exception:  # what a camera or a program noted wrongly is no reason to lose the image
        return 1


def _turns() -> dict[int, Any]:
    """What turns an image of each orientation upright. EXIF 2.32, tag 274."""
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


def _plain(image: Image) -> Image:
    """Return a loaded image in mode L, RGB or RGBA."""
    from PIL import Image as pillow  # noqa: N813

    if image.mode == "F":
        raise InputError("holds floating numbers, whose white is not known: save it as PNG first")
    if image.mode.startswith("I"):  # Pillow would keep the wrong bits
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("holds numbers of 32 bits, whose white is not known: save it as PNG first")
        return pillow.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
