"""Image folders: the user's own images as a data set, in a folder with one sub-folder per class."""

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
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, class_names, files_of, find_splits, shortened
from cnn.data.images import Pixels, decode
from cnn.errors import InputError

Labels = NDArray[np.int64]
Split = tuple[Pixels, Labels]

FEW_IMAGES = 50  # per class; with fewer, what a network learns about the class is mostly chance
MAX_THREADS = 4  # each may hold an image of half a gigabyte


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """A data set that `image_folder` has read.

    Attributes
    ----------
    path : Path
        The folder.
    class_names : list of str
        Names of the sub-folders, sorted; ``class_names[i]`` has the label i.
    train, validation, test : pair of ndarray
        Pixels, uint8 (N, C, H, W), and labels, int64 (N,). No image is in both the training and the validation set.
    files : dict of str to list of Path
        The file of each image, by the name of the split ("train", "validation", "test"; no "test" without `has_test`).
    has_test : bool
        Whether there is a folder of test images. If not, ``test`` is ``validation``: its accuracy is a little too
        optimistic if the validation images were used to choose something, such as when to stop.
    skipped : list of (Path, str)
        Files that were skipped, and why.
    warnings : list of str
        Problems that may harm training, one sentence each.
    """

    path: Path
    class_names: list[str]
    train: Split
    validation: Split
    test: Split
    files: dict[str, list[Path]]
    has_test: bool
    skipped: list[tuple[Path, str]]
    warnings: list[str]

    __repr__ = fields_text

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each class, over all splits."""
        splits = [self.train, self.validation, self.test][: 3 if self.has_test else 2]
        totals = sum(np.bincount(labels, minlength=len(self.class_names)) for _, labels in splits)
        return dict(zip(self.class_names, np.asarray(totals).tolist(), strict=True))

    @property
    def majority_baseline(self) -> float:
        """Test accuracy of always predicting the largest class of the training set, as a fraction."""
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

    Without val/ (or valid/, validation/) a fraction of each class is held out for validation. Without test/ the
    validation images are also the test images. Hidden files and system files of Windows and macOS are ignored. Files
    that cannot be read are listed in ``skipped``. Images are read by `cnn.data.images.read_image`, in a few threads.

    Parameters
    ----------
    path : str or Path
        The folder. Images directly in it are not read, nor are those in folders inside a class folder.
    image_size : int or pair of int, default 64
        Side length of the square images in pixels, or (height, width); at least 4.
    validation : float, default 0.2
        Fraction of each class to hold out, above 0 and below 1; at least one image, unless the class has only one.
        Unused if there is a folder of validation images.
    seed : int, default 0
        Decides, together with the file names, which images are held out. If images are added later, most of the others
        stay in the same split.
    grey : bool or None, default None
        True: one channel. False: three channels. None: one channel if no image has colours.

    Returns
    -------
    ImageFolder

    Raises
    ------
    InputError
        (a ValueError) If there are fewer than two classes, if a class has no image, or if the splits have different
        classes.
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
    >>> [file.name for file in found.files["validation"]]
    ['4.jpg', '4.jpg']
    >>> found.counts, found.majority_baseline
    ({'dark': 5, 'light': 5}, 0.5)
    >>> found.warnings[0]
    'dark has only 5 images, light only 5: at least 50 of each class are recommended'
    """
    size = pair(image_size, "image_size", 4)
    seed = integer(seed, "seed", 0)
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 < validation < 1:
        raise InputError(f"validation must be a fraction above 0 and below 1, such as 0.2, got {validation!r}")
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {printable(path)}")
    folders, problems = find_splits(path)
    names = class_names(folders)
    skipped: list[tuple[Path, str]] = []
    listed = [
        (split, label, file)
        for split, folder in folders.items()
        for label, name in enumerate(names)
        for file in files_of(folder / name, skipped)
    ]
    pixels, could_read = _read([file for _, _, file in listed], size, grey, skipped)
    files = [file for (_, _, file), was_read in zip(listed, could_read, strict=True) if was_read]
    splits = np.array([split for split, _, _ in listed], dtype="U10")[could_read]
    labels = np.array([label for _, label, _ in listed], dtype=np.int64)[could_read]
    for split, folder in folders.items():
        _check_images(folder, names, labels[splits == split], skipped)
    if VALIDATION not in folders:
        splits[_held_out(files, labels, splits == TRAIN, validation, seed)] = VALIDATION
    train, held_out, test = ((pixels[splits == name], labels[splits == name]) for name in (TRAIN, VALIDATION, TEST))
    has_test, names = TEST in folders, [printable(name) for name in names]
    found = [TRAIN, VALIDATION, TEST] if has_test else [TRAIN, VALIDATION]
    split_files = {name: [files[i] for i in np.flatnonzero(splits == name)] for name in found}
    problems += _class_warnings(names, labels)
    if not has_test:
        test = held_out
    return ImageFolder(path, names, train, held_out, test, split_files, has_test, skipped, problems)


def _read(
    files: Sequence[Path], size: tuple[int, int], grey: bool | None, skipped: list[tuple[Path, str]]
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Read all files: -> (pixels (N, C, H, W) of the files that can be read, mask of these files among all files).

    Files that cannot be read are added to ``skipped``.
    """
    pixels = np.zeros((len(files), 1 if grey else 3, *size), dtype=np.uint8)
    could_read, count = np.zeros(len(files), dtype=bool), 0
    coloured = grey is False

    def read(file: Path) -> Pixels | str:
        try:
            return decode(file, size, grey)[0]
        except InputError as error:
            return str(error)
        except PermissionError:
            return "cannot be read: permission denied"
        except OSError:
            return "no longer exists or cannot be read"

    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's warnings about invalid metadata
        for i, found in enumerate(pool.map(read, files)):
            if isinstance(found, str):
                skipped.append((files[i], found))
                continue
            pixels[count], could_read[i] = found, True
            count += 1
            coloured |= len(found) == 3
    return pixels[:count, : 3 if coloured else 1], could_read


def _check_images(folder: Path, names: list[str], labels: Labels, skipped: list[tuple[Path, str]]) -> None:
    """Raise an error if a class has no image."""
    for name, count in zip(names, np.bincount(labels, minlength=len(names)), strict=True):
        if count == 0:
            reasons = [f" ({printable(file.name)} {why})" for file, why in skipped if file.parent == folder / name]
            raise InputError(
                f"{printable(folder / name)} has no image that can be read{(reasons or [''])[0]}: add images or remove "
                "the folder"
            )


def _held_out(
    files: Sequence[Path], labels: Labels, candidates: NDArray[np.bool_], fraction: float, seed: int
) -> NDArray[np.int64]:
    """Return the indices of the images to hold out: in each class, those whose file names have the smallest hashes."""
    held_out: list[int] = []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(candidates & (labels == label)).tolist()
        members.sort(key=lambda i: _hash(files[i].name, seed))
        held_out += members[: min(max(1, round(fraction * len(members))), len(members) - 1)]
    return np.array(held_out, dtype=np.int64)


def _hash(name: str, seed: int) -> bytes:
    """Return a hash of the file name; normalised, as macOS and Linux encode accented letters differently."""
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _class_warnings(names: list[str], labels: Labels) -> list[str]:
    """Return warnings about classes that may harm training."""
    problems = []
    counts = np.bincount(labels).tolist()
    few = [(name, count) for name, count in zip(names, counts, strict=True) if count < FEW_IMAGES]
    if few:
        texts = [f"{name} has only {count} image{'s' * (count != 1)}" for name, count in few[:1]]
        texts += [f"{name} only {count}" for name, count in few[1:]]
        problems.append(f"{shortened(texts)}: at least {FEW_IMAGES} of each class are recommended")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    problems += [
        f"the classes {' and '.join(group)} differ only in case: if they are the same class, merge their folders"
        for group in alike.values()
        if len(group) > 1
    ]
    return problems
