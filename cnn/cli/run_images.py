"""images.json of a run: on which images the model was trained, validated and tested, by hashes of their content."""

import json
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn.cli.datasets import Dataset
from cnn.cli.run_folders import IMAGES, MODEL, read_config
from cnn.cli.seen_images import SeenImages
from cnn.core.files import parse_json, write_bytes
from cnn.core.text import fields_text, printable, short_text
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, shortened
from cnn.data.image_files import Hashes
from cnn.data.image_fit import SQUASHED
from cnn.data.images import check_conversion
from cnn.errors import InputError

CONVERSION, SETTINGS = "conversion", ("fit", "background")
EARLIER = "earlier"  # what the net that the run started from was trained on


@dataclass(frozen=True)
class RunImages:
    """What images.json says.

    Attributes
    ----------
    splits : dict of str to dict of str to (str, str)
        For each split, the files relative to the folder, and the hashes of their bytes and their pixels.
    conversion : dict
        How files became pixels: the arguments fit and background.
    earlier : list of (str, str)
        The hashes of the images that the net was trained on before the run started.
    earlier_are_all : bool
        Whether these are known to be all; not if it started from a file of unknown origin.
    """

    splits: dict[str, dict[str, Hashes]]
    conversion: dict[str, Any]
    earlier: list[Hashes]
    earlier_are_all: bool

    __repr__ = fields_text

    def trained_on(self) -> list[Hashes]:
        """Return the hashes of all images that the model has been trained on, as far as they are known."""
        return sorted({*self.earlier, *self.splits[TRAIN].values()})


def write(folder: Path, dataset: Dataset, seen: SeenImages | None = None) -> None:
    """Write images.json of a run on a folder of images; ``seen`` are those of the net it starts from."""
    if dataset.hashes:
        content = {CONVERSION: dataset.image_conversion, **dataset.hashes}
        if seen is not None:
            content[EARLIER] = {"are all": seen.are_all, "images": seen.hashes}
        write_bytes(folder / IMAGES, (json.dumps(content, indent=1) + "\n").encode())


def read(folder: Path) -> RunImages | None:
    """Read images.json; None if the run has none.

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
        start = read_config(folder / MODEL).get("start")
        if start is not None and isinstance(content, dict) and EARLIER not in content:
            raise ValueError(f"it lacks {EARLIER!r}, the images that {short_text(start)} had been trained on before")
        return _checked(content)
    except ValueError as error:
        raise ValueError(f"{printable(path)} is damaged: {printable(error)}") from None


def _checked(content: Any) -> RunImages:
    """Check the content of images.json."""
    if not isinstance(content, dict):
        raise ValueError("it does not contain a JSON object")
    missing = [name for name in (CONVERSION, TRAIN, VALIDATION) if name not in content]
    unknown = sorted(content.keys() - {CONVERSION, TRAIN, VALIDATION, TEST, EARLIER})
    if missing or unknown:
        raise ValueError(f"it lacks {missing[0]!r}" if missing else f"it has an unknown part, {unknown[0]!r}")
    conversion = content.pop(CONVERSION)
    if not isinstance(conversion, dict) or not all(isinstance(conversion.get(name), str) for name in SETTINGS):
        raise ValueError(f"expected the texts {' and '.join(SETTINGS)} in {CONVERSION}, got {short_text(conversion)}")
    check_conversion(conversion["background"], conversion["fit"])
    earlier = content.pop(EARLIER, {"are all": True, "images": []})
    if not isinstance(earlier, dict) or not isinstance(earlier.get("images"), list):
        raise ValueError(f"expected a list of images in {EARLIER}, got {short_text(earlier)}")
    splits = {}
    for split, files in content.items():
        if not isinstance(files, dict):
            raise ValueError(f"expected the files of {split} and their hashes, got {short_text(files)}")
        splits[split] = {name: _pair(pair, name) for name, pair in files.items()}
    return RunImages(
        splits,
        {name: conversion[name] for name in SETTINGS},
        [_pair(pair, EARLIER) for pair in earlier["images"]],
        earlier.get("are all") is True,
    )


def _pair(pair: Any, name: str) -> Hashes:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
        raise ValueError(f"expected a list of two hashes for {name}, got {short_text(pair)}")
    return pair[0], pair[1]


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


def check_same(run: Path, saved: RunImages, dataset: Dataset) -> None:
    """Raise an error unless the data set has the same images in the same splits as the run.

    Raises
    ------
    InputError
        With the files that are missing, new or changed, or that were read as other pixels.
    """
    before, now = _by_name(saved.splits), _by_name(dataset.hashes)
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


def _by_name(splits: dict[str, dict[str, Hashes]]) -> dict[str, Hashes]:
    """Return the hashes by split and name; macOS may store the same letters of a name in another way (NFD)."""
    return {
        unicodedata.normalize("NFC", f"{split} {name}"): hashes
        for split, files in splits.items()
        for name, hashes in files.items()
    }


def _first_names(names: Collection[str]) -> str:
    return shortened([printable(name) for name in sorted(names)], 3)
