"""Image folders: the user's own images as a data set, in a folder with one sub-folder per class."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cnn.core.checks import integer, pair
from cnn.core.explain import explain_arguments, explain_init
from cnn.core.text import count_text, fields_text, printable
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, ListedImage, class_names, find_splits, list_images
from cnn.data.folder_checks import (
    LEFT_OUT,
    RECOMMENDED,
    check_images,
    check_some_left,
    class_warnings,
    classes_without_validation,
    copy_notes,
    count_and_names,
    group_notes,
    group_warnings,
    groups_on_both_sides,
    leave_out_contradictions,
    leave_out_copies,
)
from cnn.data.folder_splits import copies, group_of, group_pattern, hold_out
from cnn.data.image_files import Hashes, read_images
from cnn.data.image_fit import SQUASHED
from cnn.data.images import Pixels, check_conversion
from cnn.errors import InputError

Labels = NDArray[np.int64]
Split = tuple[Pixels, Labels]
T = TypeVar("T")


@explain_init
@dataclass(frozen=True, eq=False)
class ImageFolder:
    """A data set that `image_folder` has read.

    Attributes
    ----------
    path : Path
        The folder.
    class_names : list of str
        Names of the sub-folders, sorted; ``class_names[i]`` has the label i. They may hold control characters.
    train, validation, test : pair of ndarray
        Pixels, uint8 (N, C, H, W), and labels, int64 (N,). No image is in both the training and the validation set.
    files : dict of str to list of Path
        The file of each image, by the name of the split ("train", "validation", "test"; no "test" without `has_test`).
    groups : dict of str to list of str or None
        For each of these files, the group that ``group_by`` found in its name.
    hashes : dict of str to list of (str, str)
        For each of these files, the hash of its bytes and that of its pixels.
    has_test : bool
        Whether there is a folder of test images. If not, ``test`` is ``validation``: its accuracy is a little too
        optimistic if the validation images were used to choose something, such as when to stop.
    skipped : list of (Path, str)
        Files that were skipped, and why.
    warnings : list of str
        Problems that may harm training, one sentence each.
    notes : list of str
        What was decided about groups of images, copies and the background, one sentence each.
    background, fit : str
        How images with transparency and of other proportions were read, see `cnn.data.images.read_image`.
    typical_side : int
        The median of the longer sides of the images in their files.
    """

    path: Path
    class_names: list[str]
    train: Split
    validation: Split
    test: Split
    files: dict[str, list[Path]]
    groups: dict[str, list[str | None]]
    hashes: dict[str, list[Hashes]]
    has_test: bool
    skipped: list[tuple[Path, str]]
    warnings: list[str]
    notes: list[str]
    background: str
    fit: str
    typical_side: int

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


class _Images:
    """The images of a folder while they are divided: each attribute has an entry for each image.

    Attributes
    ----------
    splits : ndarray of str
        Those of their folders; `leave_out` and `hold_out` change them.
    identities : list of (str, str)
        The hashes, by which copies are known; with ``by_name``, the names, so that none is a copy.
    first_copies : ndarray of int
        The index of the first copy of each image.
    groups : list of str or None
        The group that ``pattern`` finds in each name.
    """

    def __init__(
        self, listed: list[ListedImage], hashes: list[Hashes], pattern: re.Pattern[str] | None, by_name: bool
    ) -> None:
        self.names = [one.name for one in listed]
        self.labels = np.array([one.label for one in listed], dtype=np.int64)
        self.splits = np.array([one.split for one in listed], dtype="U10")
        self.identities = [(str(one.file), str(one.file)) for one in listed] if by_name else hashes
        self.first_copies = copies(self.identities)
        self.groups = [None if pattern is None else group_of(name, pattern) for name in self.names]

    def leave_out(self, shown: list[str], classes: list[str], splits: list[str]) -> list[str]:
        """Leave out contradictory images and copies of held-out ones; return warnings with the names ``shown``."""
        warnings = leave_out_contradictions(shown, self.labels, self.splits, self.first_copies)
        warnings += leave_out_copies(shown, self.splits, self.first_copies)
        for split in splits:
            check_some_left(classes, self.labels[self.splits == split], split, warnings)
        return warnings

    def hold_out(self, fraction: float, seed: int) -> None:
        """Move a fraction of the training images to the validation images."""
        pool = np.flatnonzero(self.splits == TRAIN)
        held_out = hold_out(
            self.of(TRAIN, self.names),
            self.labels[pool],
            fraction,
            seed,
            self.of(TRAIN, self.identities),
            self.of(TRAIN, self.groups),
        )
        self.splits[pool[held_out]] = VALIDATION

    def of(self, split: str, values: Sequence[T]) -> list[T]:
        """Return those of some values, one for each image, that belong to the images of a split."""
        return [values[i] for i in np.flatnonzero(self.splits == split).tolist()]


@explain_arguments
def image_folder(
    path: str | Path,
    image_size: int | tuple[int, int] = 64,
    validation: float = 0.2,
    seed: int = 0,
    grey: bool | None = None,
    group_by: str | None = None,
    background: str | None = None,
    fit: str = SQUASHED,
    by_name: bool = False,
    recommended: int = RECOMMENDED,
) -> ImageFolder:
    """Read the images in a folder that has a sub-folder for each class, or train/ and val/ with such sub-folders.

    Without val/ (or valid/, validation/, dev/, eval/) a fraction of each class is held out for validation. Without
    test/ (or testing/, holdout/) the validation images are also the test images. Images in folders inside a class
    folder belong to the class. Hidden files and those of the operating system are ignored. Files that cannot be read
    are listed in ``skipped``. Images are read by `cnn.data.images.read_image`, in a few threads.

    Two files with the same bytes, or the same pixels after reading, are copies. Copies are held out together; training
    images that are copies of validation or test images are left out; and images that have copies in another class are
    left out. ``notes`` and ``warnings`` say how many, and name some.

    Parameters
    ----------
    path : str or Path
        The folder. Images directly in it are not read.
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
    group_by : str, optional
        Keeps related images, such as those of one person, on the same side of the split. A pattern of file names
        within the class folder in which ``{group}`` marks the name of the group and ``*`` stands for any text:
        ``"{group}_*"`` is the part before the first _, ``"{group}/*"`` the folder inside the class folder. It need not
        match the suffix. A group may have images of several classes.
    background : {"white", "black", "grey"}, optional
        What is seen through transparent pixels; by default the first on which nearly all images are visible.
    fit : {"squashed", "cropped", "padded", "zoomed"}, default "squashed"
        How images of other proportions are brought to the size.
    by_name : bool, default False
        True: read and split as for runs of early versions, which knew no copies. Only the file names decide which
        images are held out, none is left out, and folders inside the class folders are not read.
    recommended : int, default 50
        ``warnings`` names classes with fewer images. For a net that was trained before, 30 are enough.

    Returns
    -------
    ImageFolder

    Raises
    ------
    InputError
        (a ValueError) If there are fewer than two classes, if a class has no image, if the splits have different
        classes, if no image can be held out, or if ``group_by`` matches no file.
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
    >>> found.warnings[-1]
    'dark has only 5 images, light only 5: at least 50 of each class are recommended'
    """
    size = pair(image_size, "image_size", 4)
    seed, recommended = integer(seed, "seed", 0), integer(recommended, "recommended", 0)
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 < validation < 1:
        raise InputError(f"validation must be a fraction above 0 and below 1, such as 0.2, got {validation!r}")
    check_conversion(background, fit)
    pattern = None if group_by is None else group_pattern(group_by)
    if not os.fspath(path):
        raise InputError("the path of the folder is empty: write . for the current folder")
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {printable(path)}")
    folders, notes, problems = find_splits(path)
    names, skipped = class_names(folders), list[tuple[Path, str]]()
    listed, told = list_images(folders, names, skipped)
    problems += told if group_by is None else []
    if by_name:
        listed = [one for one in listed if "/" not in one.name]
    read = read_images([one.file for one in listed], size, grey, skipped, background, fit)
    listed = [one for one, was_read in zip(listed, read.could_read, strict=True) if was_read]
    images = _Images(listed, read.hashes, pattern, by_name)
    splits, labels = images.splits, images.labels
    for split, folder in folders.items():
        check_images(folder, names, labels[splits == split], skipped)
    shown = [printable(one.file.relative_to(path)) for one in listed]
    problems += images.leave_out(shown, names, list(folders))
    notes += group_notes(group_by, images.groups, splits)
    problems += group_warnings(group_by, images.groups, shown, splits) + groups_on_both_sides(images.groups, splits)
    if VALIDATION not in folders:
        notes += copy_notes(shown, np.flatnonzero(splits == TRAIN), images.first_copies)
        images.hold_out(validation, seed)
        problems += classes_without_validation(names, labels[splits == TRAIN], labels[splits == VALIDATION])
    train, held, test = ((read.pixels[splits == name], labels[splits == name]) for name in (TRAIN, VALIDATION, TEST))
    has_test = TEST in folders
    found = [TRAIN, VALIDATION, TEST] if has_test else [TRAIN, VALIDATION]
    if uniform := [shown[i] for i in read.nearly_uniform()]:
        problems.append(f"nearly of one colour: {count_and_names(uniform)}")
    if background is None and read.background != "white":
        lost = count_text(read.lost_on_white, "image")
        notes.append(f"transparent pixels become {read.background}: on white, {lost} would hardly be visible")
    problems += class_warnings([printable(name) for name in names], labels[splits != LEFT_OUT], recommended)
    return ImageFolder(
        path=path,
        class_names=names,
        train=train,
        validation=held,
        test=test if has_test else held,
        files={name: images.of(name, [one.file for one in listed]) for name in found},
        hashes={name: images.of(name, read.hashes) for name in found},
        groups={name: images.of(name, images.groups) for name in found},
        has_test=has_test,
        skipped=skipped,
        warnings=problems,
        notes=notes,
        background=read.background,
        fit=fit,
        typical_side=int(np.median(read.sides)),
    )
