"""A person's own images as a data set: a folder with one sub-folder a class."""

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.core.checks import integer, pair
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, class_names, files_of, layout, shortened
from cnn.data.images import Pixels, decode, readable
from cnn.errors import InputError

Labels = NDArray[np.int64]
Part = tuple[Pixels, Labels]

FEW = 50  # images of a class; with fewer, what a net finds out about it is mostly chance
THREADS = 4  # at most: each may hold an image of half a gigabyte


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """What `image_folder` found.

    Attributes
    ----------
    path : Path
        The folder.
    class_names : list of str
        Names of the sub-folders, sorted; number i is label i.
    train, validation, test : pair of ndarray
        Pixels, uint8 (N, C, H, W), and labels, int64 (N,). Validation and training images have none in common.
    has_test : bool
        Whether there is a folder of test images. If not, ``test`` is ``validation``: an accuracy on it is a little too
        good where the validation images chose something, such as when to stop.
    skipped : list of (Path, str)
        Files that were passed over, and why.
    warnings : list of str
        What may spoil the training, a sentence each.
    """

    path: Path
    class_names: list[str]
    train: Part
    validation: Part
    test: Part
    has_test: bool
    skipped: list[tuple[Path, str]]
    warnings: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many images each class has, in all parts together."""
        parts = [self.train, self.validation, self.test][: 3 if self.has_test else 2]
        totals = sum(np.bincount(labels, minlength=len(self.class_names)) for _, labels in parts)
        return dict(zip(self.class_names, np.asarray(totals).tolist(), strict=True))

    @property
    def guessing(self) -> float:
        """Share of test images that are right if one always says the class that is the largest in training."""
        largest = np.bincount(self.train[1], minlength=len(self.class_names)).argmax()
        return float(np.mean(self.test[1] == largest))


def image_folder(
    path: str | Path,
    image_size: int | tuple[int, int] = 64,
    validation: float = 0.2,
    seed: int = 0,
    grey: bool | None = None,
) -> ImageFolder:
    """Read the images in a folder that has a sub-folder for each class, or train/ and val/ with such sub-folders.

    Without val/ (or valid/, validation/) a part of each class is held out for validation. Without test/ the validation
    images serve as test images, too. Hidden files, and what Windows and macOS leave behind, are ignored; what cannot be
    read is told in ``skipped``. Each image is read as `cnn.data.images.read_image` reads it, on a few threads.

    Parameters
    ----------
    path : str or Path
        The folder. Its own images are not read, nor those in folders within a class's.
    image_size : int or pair of int, default 64
        Pixels of each side, or (height, width), at least 4.
    validation : float, default 0.2
        Share of each class to hold out, above 0 and below 1; at least one image, unless there is only one. Unused if
        there is a folder of validation images.
    seed : int, default 0
        Decides which, with the names of the files: when others come, an image mostly stays in the part where it was.
    grey : bool or None, default None
        True: one channel. False: three. None: one if no image has colours.

    Returns
    -------
    ImageFolder

    Raises
    ------
    InputError
        (a ValueError) If there are not two classes at least, if a class has no image, or if the classes of the parts
        differ.
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, colour in (("dark", 20), ("light", 220)):
    ...         Path(folder, name).mkdir()
    ...         for i in range(5):
    ...             Image.new("L", (320, 240), colour + i).save(f"{folder}/{name}/{i}.jpg")
    ...     found = image_folder(folder, image_size=16)
    >>> found.class_names, found.train[0].shape, found.validation[1]
    (['dark', 'light'], (8, 1, 16, 16), array([0, 1]))
    >>> found.counts, found.guessing
    ({'dark': 5, 'light': 5}, 0.5)
    >>> found.warnings[0]
    'dark has only 5 images, light only 5: 50 of each class or more would be better'
    """
    size = pair(image_size, "image_size", 4)
    seed = integer(seed, "seed", 0)
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 < validation < 1:
        raise InputError(f"validation must be a share above 0 and below 1, such as 0.2, got {validation!r}")
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {readable(path)}")
    folders, doubts = layout(path)
    names = class_names(path, folders)
    skipped: list[tuple[Path, str]] = []
    listed = [
        (part, label, file)
        for part, folder in folders.items()
        for label, name in enumerate(names)
        for file in files_of(folder / name, skipped)
    ]
    pixels, good = _read([file for _, _, file in listed], size, grey, skipped)
    files = [file for (_, _, file), is_good in zip(listed, good, strict=True) if is_good]
    parts = np.array([part for part, _, _ in listed], dtype="U10")[good]
    labels = np.array([label for _, label, _ in listed], dtype=np.int64)[good]
    for part, folder in folders.items():
        _check_images(folder, names, labels[parts == part], skipped)
    if VALIDATION not in folders:
        parts[_held(files, labels, parts == TRAIN, validation, seed)] = VALIDATION
    train, held, test = ((pixels[parts == part], labels[parts == part]) for part in (TRAIN, VALIDATION, TEST))
    has_test, shown = TEST in folders, [readable(name) for name in names]
    doubts += _doubts(shown, labels)
    return ImageFolder(path, shown, train, held, test if has_test else held, has_test, skipped, doubts)


def _read(
    files: Sequence[Path], size: tuple[int, int], grey: bool | None, skipped: list[tuple[Path, str]]
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Read all files: -> (pixels (N, C, H, W) of those that can be read, which of all these are).

    What cannot be read goes to ``skipped``.
    """
    pixels = np.zeros((len(files), 1 if grey else 3, *size), dtype=np.uint8)
    good, count = np.zeros(len(files), dtype=bool), 0
    coloured = grey is False

    def read(file: Path) -> Pixels | str:
        try:
            return decode(file, size, grey)[0]
        except InputError as error:
            return str(error)
        except PermissionError:
            return "cannot be read: permission denied"
        except OSError:
            return "has gone, or cannot be read"

    threads = min(THREADS, os.cpu_count() or 1)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's about doubtful metadata
        for i, found in enumerate(pool.map(read, files)):
            if isinstance(found, str):
                skipped.append((files[i], found))
                continue
            pixels[count], good[i] = found, True
            count += 1
            coloured |= len(found) == 3
    return pixels[:count, : 3 if coloured else 1], good


def _check_images(folder: Path, names: list[str], labels: Labels, skipped: list[tuple[Path, str]]) -> None:
    """Raise an error if a class has no image."""
    for name, count in zip(names, np.bincount(labels, minlength=len(names)), strict=True):
        if count == 0:
            reasons = [f" ({readable(file.name)} {why})" for file, why in skipped if file.parent == folder / name]
            raise InputError(
                f"{readable(folder / name)} has no image that can be read{(reasons or [''])[0]}: add some, or remove "
                "the folder"
            )


def _held(
    files: Sequence[Path], labels: Labels, candidates: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.int64]:
    """Choose what is held out of each class: those whose names have the smallest hashes."""
    held: list[int] = []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(candidates & (labels == label)).tolist()
        members.sort(key=lambda i: _hash(files[i].name, seed))
        held += members[: min(max(1, round(share * len(members))), len(members) - 1)]
    return np.array(held, dtype=np.int64)


def _hash(name: str, seed: int) -> bytes:
    """A number that is random but always the same; macOS writes the letters of a name in another way than Linux."""
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _doubts(names: list[str], labels: Labels) -> list[str]:
    """Say what may spoil the training."""
    doubts = []
    counts = np.bincount(labels).tolist()
    few = [(name, count) for name, count in zip(names, counts, strict=True) if count < FEW]
    if few:
        texts = [f"{name} has only {count} image{'s' * (count != 1)}" for name, count in few[:1]]
        texts += [f"{name} only {count}" for name, count in few[1:]]
        doubts.append(f"{shortened(texts)}: {FEW} of each class or more would be better")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    doubts += [
        f"the classes {' and '.join(group)} differ in capitals alone: if they are one, put them into one folder"
        for group in alike.values()
        if len(group) > 1
    ]
    return doubts
