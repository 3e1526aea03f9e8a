"""images.json of a run: on which images the model was trained, validated and tested, by hashes of their content."""

import json
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cnn.cli.datasets import Dataset
from cnn.cli.run_folders import IMAGES, MODEL, read_config
from cnn.core.files import parse_json, write_bytes
from cnn.core.text import printable, short_text
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, shortened
from cnn.data.image_files import Hashes
from cnn.data.image_fit import SQUASHED
from cnn.errors import InputError

CONVERSION, SETTINGS = "conversion", ("fit", "background")
EARLIER = "earlier"  # the training images of the net that the run started from, by their path

RunImages = dict[str, dict[str, Hashes]]  # for each split: file relative to the folder, hashes of its bytes and pixels


def write(folder: Path, dataset: Dataset, earlier: dict[str, Hashes] | None = None) -> None:
    """Write images.json of a run that is trained on a folder of images; ``earlier`` as `trained_on` returns them."""
    if dataset.hashes:
        content = {CONVERSION: dataset.image_conversion, **dataset.hashes}
        if earlier:
            content[EARLIER] = earlier
        write_bytes(folder / IMAGES, (json.dumps(content, indent=1) + "\n").encode())


def read(folder: Path) -> tuple[RunImages, dict[str, Any]] | None:
    """Read images.json: -> (files and hashes by split, how files became pixels), or None if the run has none.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    path = folder / IMAGES
    if not path.is_file():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return _checked(content)
    except ValueError as error:
        raise ValueError(f"{printable(path)} is damaged: {printable(error)}") from None


def _checked(content: Any) -> tuple[RunImages, dict[str, Any]]:
    """Check the content of images.json: -> (files and hashes by split, how files became pixels)."""
    if not isinstance(content, dict):
        raise ValueError("it does not contain a JSON object")
    missing = [name for name in (CONVERSION, TRAIN, VALIDATION) if name not in content]
    unknown = sorted(content.keys() - {CONVERSION, TRAIN, VALIDATION, TEST, EARLIER})
    if missing or unknown:
        raise ValueError(f"it lacks {missing[0]!r}" if missing else f"it has an unknown part, {unknown[0]!r}")
    conversion = content.pop(CONVERSION)
    if not isinstance(conversion, dict) or not all(isinstance(conversion.get(name), str) for name in SETTINGS):
        raise ValueError(f"expected the texts {' and '.join(SETTINGS)} in {CONVERSION}, got {short_text(conversion)}")
    images: RunImages = {}
    for split, files in content.items():
        if not isinstance(files, dict):
            raise ValueError(f"expected the files of {split} and their hashes, got {short_text(files)}")
        for name, pair in files.items():
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
                raise ValueError(f"expected a list of two hashes for {name}, got {short_text(pair)}")
        images[split] = {name: (content_hash, pixel_hash) for name, (content_hash, pixel_hash) in files.items()}
    return images, {name: conversion[name] for name in SETTINGS}


def conversion_without_list(preprocessing: dict[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of `datasets.load` with which a run without images.json read its images.

    The preprocessing of its model names the background, except in runs of early versions, which knew no copies.

    Examples
    --------
    >>> conversion_without_list({"fit": "squashed"})
    {'fit': 'squashed', 'background': 'white', 'by_name': True}
    >>> conversion_without_list({"fit": "squashed", "background": "black"})
    {'fit': 'squashed', 'background': 'black', 'by_name': False}
    """
    settings = preprocessing or {}
    return {
        "fit": settings.get("fit", SQUASHED),
        "background": settings.get("background", "white"),
        "by_name": "background" not in settings,
    }


def known(images: RunImages, *splits: str) -> set[str]:
    """Return all hashes of the images of some splits."""
    return {one for split in splits for pair in images.get(split, {}).values() for one in pair}


def trained_on(run: Path) -> dict[str, Hashes] | None:
    """Return the images that the model of a run was trained on, and those of the nets that it started from.

    They are named by their path; None if the run has no list of them.
    """
    saved = read(run)
    if saved is None:
        return None
    images, folder = saved[0], Path(str(read_config(run / MODEL).get("data", "")))
    return images.get(EARLIER, {}) | {(folder / name).as_posix(): pair for name, pair in images[TRAIN].items()}


def check_same(run: Path, images: RunImages, dataset: Dataset) -> None:
    """Raise an error unless the data set has the same images in the same splits as the run.

    Raises
    ------
    InputError
        With the files that are missing, new or changed, or that were read as other pixels.
    """
    before = _by_name({split: files for split, files in images.items() if split != EARLIER})
    now = _by_name(dataset.hashes)
    in_both = before.keys() & now.keys()
    problems = {
        "missing": before.keys() - now.keys(),
        "new": now.keys() - before.keys(),
        "changed": {name for name in in_both if before[name][0] != now[name][0]},
    }
    texts = [f"{len(names):,} {kind} ({_first_names(names)})" for kind, names in problems.items() if names]
    if texts:
        raise InputError(
            f"{dataset.title} are not those that {printable(run)} was trained on: {'; '.join(texts)}. Give the "
            "unchanged folder with --data FOLDER, or train again"
        )
    others = {name for name in in_both if before[name] != now[name]}
    if others:
        raise InputError(
            f"{dataset.title} are the same files that {printable(run)} was trained on, but {len(others):,} of them "
            f"({_first_names(others)}) give other pixels with this version of Pillow. Install the version that the run "
            "was started with, or train again"
        )


def _by_name(images: RunImages) -> dict[str, Hashes]:
    """Return the hashes by split and name; macOS may store the same letters of a name in another way (NFD)."""
    return {
        unicodedata.normalize("NFC", f"{split} {name}"): hashes
        for split, files in images.items()
        for name, hashes in files.items()
    }


def _first_names(names: Collection[str]) -> str:
    return shortened([printable(name) for name in sorted(names)], 3)
