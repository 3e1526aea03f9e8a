"""The data of `cnn train`, `evaluate` and `data`: a data set by name, or a folder of images, split in three."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

import cnn.data
from cnn.cli.formatting import class_sizes, skipped_files
from cnn.cli.seen_images import SeenImages, set_apart
from cnn.cli.terminal import print_stderr
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import find_splits
from cnn.data.folder import ImageFolder, image_folder
from cnn.data.folder_checks import RECOMMENDED
from cnn.data.image_files import Hashes
from cnn.data.image_fit import FIT_WORDS, SQUASHED
from cnn.errors import InputError
from cnn.module import Array
from cnn.sequential import Sequential

NAMES = ("fashion-mnist", "mnist", "spiral")
VALIDATION_IMAGES = 5_000  # of 60,000
SPIRAL_POINTS, SPIRAL_TEST_POINTS = 300, 100  # per class
SPIRAL_CLASSES = ["arm 0", "arm 1", "arm 2"]
IMAGE_SHAPE = (1, 28, 28)  # of MNIST and Fashion-MNIST

# For a folder of images
DEFAULT_IMAGE_SIZE, DEFAULT_VALIDATION = 64, 0.2
MIN_IMAGE_SIZE = 16  # of photo-cnn
MUCH_SMALLER = 0.8  # images below this times the size that they are enlarged to should rather not be enlarged

Transform = Callable[..., tuple[Array, Array]]  # (x, y, draws), see cnn.data.transforms


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, split for training, validation and the final test.

    Attributes
    ----------
    name : str
        Short name, also used for the run folder.
    title, source : str
        Its name within a sentence, and where it comes from.
    kind : str
        "images" or "points".
    class_names : list of str
    train, validation, test : pair of ndarray
        Samples and labels. Images are pixels from 0 to 255, points are floats.
    data : str
        The argument of `load` that gives this data set again: the name, or the absolute path of the folder.
    notes : list of str
        What the user must know before training, one line each.
    skipped : list of str
        Those of the notes that are about files that could not be read.
    transforms : tuple
        Random transforms of the training pixels, before normalization; see cnn.data.transforms. `load` sets none.
    has_test : bool
        Whether the test samples differ from the validation samples.
    train_files, test_files : list of str
        The files of the images, relative to the folder; empty for other data. They may hold control characters.
    train_groups : list of str
        The group of each training image: trials keep images of a group together. Without ``--group-by`` the name of
        its file, as images of the same name are often related, such as the emoji of several vendors; or of a file in a
        folder inside the class folder, that folder, such as the frames of a video.
    hashes : dict of str to dict of str to (str, str)
        For each split of a folder, the files relative to the folder and the hashes of their bytes and their pixels.
    image_conversion : dict
        How image files become pixels, for the model file: size, colour, fit and background.
    left_out, moved : int
        Number of the validation and test images that are not used, or are training images instead, because the net to
        start from was trained on them.
    """

    name: str
    title: str
    source: str
    kind: str
    class_names: list[str]
    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]
    data: str = ""
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    transforms: tuple[Transform, ...] = ()
    has_test: bool = True
    train_files: list[str] = field(default_factory=list)
    test_files: list[str] = field(default_factory=list)
    train_groups: list[str] = field(default_factory=list)
    hashes: dict[str, dict[str, Hashes]] = field(default_factory=dict)
    image_conversion: dict[str, Any] = field(default_factory=dict)
    left_out: int = 0
    moved: int = 0

    __repr__ = fields_text

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.test[0].shape[1:]

    def baseline(self, labels: Array) -> float:
        """Return the accuracy on these labels of always guessing the largest class of the training samples."""
        return float(np.mean(labels == np.bincount(self.train[1]).argmax()))

    @property
    def has_images(self) -> bool:
        """Whether the samples are images."""
        return self.kind == "images"


def expected(name: str) -> tuple[str, tuple[int, ...], list[str]]:
    """Return what a named data set contains, without loading it: -> (kind, shape of a sample, class names)."""
    if name == "spiral":
        return "points", (2,), SPIRAL_CLASSES
    return "images", IMAGE_SHAPE, list(cnn.data.dataset_info(name).class_names)


def check_name(name: str) -> str:
    """Return the name if it is that of a data set or a folder; otherwise raise an error that lists the data sets.

    Examples
    --------
    >>> check_name("mnist")
    'mnist'
    >>> check_name("sprial")
    Traceback (most recent call last):
    ...
    cnn.errors.InputError: unknown data set 'sprial': did you mean 'spiral'? Known: fashion-mnist, mnist, spiral; and
    there is no folder sprial
    """
    if not name:
        raise InputError(f"the name of the data is empty: give {', '.join(NAMES)}, a folder, or . for the current one")
    if name in NAMES or Path(name).is_dir():
        return name
    if os.path.lexists(name):
        raise InputError(f"{printable(name)} is a file: give a folder with one folder of images per class")
    unknown = cnn.data.unknown_name_message("data set", name, NAMES)
    raise InputError(f"{unknown}; and there is no folder {printable(name)}")


def load(
    name: str,
    seed: int,
    quiet: bool = False,
    image_size: int | tuple[int, int] | None = None,
    validation: float | None = None,
    grey: bool | None = None,
    group_by: str | None = None,
    background: str | None = None,
    fit: str = SQUASHED,
    by_name: bool = False,
    recommended: int = RECOMMENDED,
    seen: SeenImages | None = None,
) -> Dataset:
    """Fetch, generate or read a data set and split off a validation set.

    Parameters
    ----------
    name : str
        One of `NAMES`, or else a folder, as `cnn.data.folder.image_folder` reads it. ``./spiral`` is a folder.
    seed : int
        Decides which samples are held out; the same seed gives the same samples.
    quiet : bool
        Whether to print nothing about a download or about reading files.
    image_size, validation, grey, group_by, background, fit, by_name, recommended
        For a folder, see `cnn.data.folder.image_folder`. A pair is the size of a net that was trained before, so that
        no other is suggested. By default `DEFAULT_IMAGE_SIZE`, `DEFAULT_VALIDATION`, grey if all images are, no groups,
        the background on which images are visible, squashed, and with copies recognised.
    seen : SeenImages, optional
        Images of a folder that are no validation or test images.

    Raises
    ------
    InputError
        (a ValueError) If there is no such data set, or the folder cannot be trained on.
    cnn.data.DataError
        If the data set is not on this machine and cannot be downloaded.
    """
    if check_name(name) not in NAMES:
        if not quiet:
            print_stderr(f"reading the images in {printable(name)} ...")
        fraction = DEFAULT_VALIDATION if validation is None else validation
        size = image_size or DEFAULT_IMAGE_SIZE
        found = image_folder(name, size, fraction, seed, grey, group_by, background, fit, by_name, recommended)
        found, left_out, moved = set_apart(found, seen)
        dataset = _from_folder(found, may_choose_size=not isinstance(image_size, tuple))
        return replace(dataset, left_out=left_out, moved=moved)
    rng = np.random.default_rng(seed)
    x: Array
    if name == "spiral":
        x, y = cnn.data.spiral(SPIRAL_POINTS, len(SPIRAL_CLASSES), rng=rng)
        test = cnn.data.spiral(SPIRAL_TEST_POINTS, len(SPIRAL_CLASSES), rng=rng)
        train, held_out = split(x, y, len(x) // 5, rng)
        source = f"generated with seed {seed}"
        return Dataset(name, "the spiral", source, "points", SPIRAL_CLASSES, train, held_out, test, name)
    info = cnn.data.dataset_info(name)
    located = cnn.data.load_dataset(info, quiet=quiet)
    x, y, x_test, y_test = located.arrays
    train, held_out = split(x, y, min(VALIDATION_IMAGES, len(x) // 5), rng)
    source = f"{located.source}, {located.folder}"
    class_names = list(info.class_names)
    return Dataset(name, info.title, source, "images", class_names, train, held_out, (x_test, y_test), name)


def split(x: Array, y: Array, count: int, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Hold out ``count`` samples, stratified by class: -> (the rest, the held-out samples).

    Examples
    --------
    >>> y = np.array([0, 1] * 10)
    >>> (_, y_train), (_, y_held_out) = split(np.arange(20), y, 4, np.random.default_rng(0))
    >>> len(y_train), np.bincount(y_held_out)
    (16, array([2, 2]))
    """
    order = rng.permutation(len(x))
    order = order[np.argsort(y[order], kind="stable")]  # by class, and random within a class
    held_out = np.zeros(len(x), dtype=bool)
    held_out[order[np.arange(count) * len(x) // count]] = True  # at equal distances along that order
    return (x[~held_out], y[~held_out]), (x[held_out], y[held_out])


def model_inputs(model: Sequential, samples: Array) -> Array:
    """Return the input of the model: preprocessed pixels, or points unchanged."""
    return samples if samples.dtype.kind == "f" else model.preprocess(samples)


def _from_folder(found: ImageFolder, may_choose_size: bool) -> Dataset:
    path, train_folder = found.path.resolve(), find_splits(found.path)[0]["train"]
    channels, height, width = found.train[0].shape[1:]
    return Dataset(
        name=printable(path.name) or "images",
        title=f"the images in {printable(found.path)}",
        source=f"from {printable(path)}, {FIT_WORDS[found.fit]} {height} x {width} pixels",
        kind="images",
        class_names=found.class_names,
        train=found.train,
        validation=found.validation,
        test=found.test,
        data=str(path),
        notes=_folder_notes(found, may_choose_size),
        skipped=skipped_files(found.path, found.skipped),
        has_test=found.has_test,
        train_files=[printable(file.relative_to(found.path)) for file in found.files["train"]],
        train_groups=[
            group or _related(file.relative_to(train_folder))
            for file, group in zip(found.files["train"], found.groups["train"], strict=True)
        ],
        test_files=[
            str(file.relative_to(found.path)) for file in found.files["test" if found.has_test else "validation"]
        ],
        hashes={
            split: {
                file.relative_to(found.path).as_posix(): hashes
                for file, hashes in zip(files, found.hashes[split], strict=True)
            }
            for split, files in found.files.items()
        },
        image_conversion={
            "size": [height, width],
            "colour": "grey" if channels == 1 else "rgb",
            "fit": found.fit,
            "background": found.background,
        },
    )


def _related(file: PurePath) -> str:
    """Return what related images have in common: the folder inside the class folder, or the name of the file."""
    folder = file.parent.relative_to(file.parts[0]).as_posix()
    return file.name if folder == "." else f"{folder}/"


def _folder_notes(found: ImageFolder, may_choose_size: bool) -> list[str]:
    """Return what was found in a folder, what is missing, and the accuracy of a trivial baseline."""
    lines = [f"images per class: {class_sizes(found.counts)}", *skipped_files(found.path, found.skipped)]
    sizes = np.bincount(found.train[1])
    largest = sizes.argmax()
    name, share = printable(found.class_names[largest]), np.mean(found.validation[1] == largest)
    which = "the largest class" if np.sum(sizes == sizes[largest]) == 1 else "one of the largest classes"
    guess = f"always guessing {name}, {which},"
    lines.append(f"baseline: {guess} is correct for {share:.1%} of the validation images")
    if not found.has_test:
        lines.append("there is no folder of test images: all figures are of the validation images")
    size = max(found.train[0].shape[2:])
    suggested = max(MIN_IMAGE_SIZE, found.typical_side)
    if may_choose_size and suggested <= MUCH_SMALLER * size:
        lines.append(
            f"half of the images have at most {found.typical_side} pixels a side: --image-size {suggested} is faster "
            f"than {size} and may be more accurate"
        )
    return [*lines, *found.notes, *(f"warning: {text}" for text in found.warnings)]
