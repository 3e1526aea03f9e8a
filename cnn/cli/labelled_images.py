"""The images of a folder on which `cnn evaluate` measures a model: those that it was not trained on."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn.cli.formatting import count_text, skipped_files
from cnn.cli.run_images import RunImages
from cnn.cli.seen_images import all_of, are_in
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import (
    TEST,
    TRAIN,
    VALIDATION,
    class_folders,
    class_names,
    find_splits,
    list_images,
    shortened,
)
from cnn.data.image_files import read_images
from cnn.data.image_fit import FITS, SQUASHED
from cnn.data.images import check_conversion
from cnn.errors import InputError
from cnn.module import Array
from cnn.sequential import Sequential

VALIDATION_IMAGES = "validation images, because there is no folder of test images"


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of a folder, with the class ids of a model.

    Attributes
    ----------
    x, y : ndarray
        Pixels and labels.
    class_names : list of str
        Those of the model, if it has some.
    what : str
        What the images are, such as "test images".
    left_out : int
        Number of images that were left out, because the model was trained on them.
    told : list of str
        What the user must know, one line each.
    """

    x: Array
    y: Array
    class_names: list[str]
    what: str
    left_out: int
    told: list[str]

    __repr__ = fields_text

    @property
    def part(self) -> str:
        """The word for what the images are: "test", "validation", or "images" if they are neither alone."""
        first = self.what.partition(" ")[0].rstrip(",")
        return first if first in ("test", "validation") else "images"


def load(path: Path, model: Sequential, images: RunImages | None) -> LabelledImages:
    """Read the images in a folder for a model; ``images`` are those of the run of the model, if they are known.

    Of a folder with a folder of test images, only these are read. A class of the model may be missing.

    Raises
    ------
    InputError
        If the folder has classes that the model does not know, no image, or only images that the model was trained on.
    """
    channels, height, width = model.input_shape or ()
    splits, notes, ignored = find_splits(path, needs_train=False)
    splits = {TEST: splits[TEST]} if TEST in splits else splits
    names, classes = _classes(path, splits, model)
    skipped: list[tuple[Path, str]] = []
    listed, _ = list_images(splits, names, skipped)
    settings = model.preprocessing or {}
    fit = settings["fit"] if settings.get("fit") in FITS else SQUASHED
    background = settings.get("background", "white")  # older models have none
    check_conversion(background, fit)
    files = [one.file for one in listed]
    read = read_images(files, (height, width), channels == 1, skipped, background, fit)
    told = notes + ignored + skipped_files(path, skipped)
    labels = np.array([one.label for one in listed], dtype=np.int64)[read.could_read]
    if not len(labels):
        raise InputError(f"{printable(path)} has no image that can be read")
    if images is None or not images.earlier_are_all:
        net = "the model" if images is None else "the net that the run started from"
        told.append(f"it is not known which images {net} was trained on: some may be among these")
    known = [] if images is None else images.trained_on()
    held_out = {} if images is None else images.splits[VALIDATION]
    trained = np.array(are_in(read.hashes, all_of(known)))
    validated = np.array(are_in(read.hashes, all_of(held_out.values())))[~trained]
    left_out = int(trained.sum())
    if left_out:
        told.append(f"left out {left_out:,} of {count_text(len(labels), 'image')}: the model was trained on them")
    if left_out == len(labels):
        raise InputError(
            f"the model was trained on all {count_text(left_out, 'image')} in {printable(path)}: give others, --data "
            "FOLDER"
        )
    what = _what(TEST in splits, int(validated.sum()), len(validated))
    y = labels[~trained]
    missing = [name for label, name in enumerate(classes) if label not in y]
    if missing:
        told.append(f"no images of {shortened(missing)}: the result is about the other classes")
    return LabelledImages(read.pixels[~trained], y, classes, what, left_out, told)


def _classes(path: Path, splits: dict[str, Path], model: Sequential) -> tuple[list[str], list[str]]:
    """Return the names of the classes: -> (of their folders, in the order of the labels; as shown)."""
    found = sorted({name for folder in splits.values() for name in class_folders(folder)})
    if not found:
        class_names({TRAIN: next(iter(splits.values()))})  # has the error message
    shown = [printable(name) for name in found]
    if model.class_names is None:
        return found, shown
    known = [printable(unicodedata.normalize("NFC", name)) for name in model.class_names]
    if not set(shown) <= set(known):
        raise InputError(
            f"the model has the classes {first_names(known)}, but {printable(path)} has {first_names(shown)}: "
            "give another --data"
        )
    folders = dict(zip(shown, found, strict=True))
    return [folders.get(name, name) for name in known], [printable(name) for name in model.class_names]


def _what(are_tests: bool, validated: int, count: int) -> str:
    if are_tests:
        return "test images"
    if validated == count:
        return VALIDATION_IMAGES
    return f"images, of which {validated:,} were its validation images" if validated else "images"


def first_names(names: list[str]) -> str:
    """Join some names: all, if there are at most four, and otherwise the first three."""
    shown = [printable(name) for name in (names[:3] if len(names) > 4 else names)]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 4 else "")
