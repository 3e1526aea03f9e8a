"""images.json of a run: on which images the model was trained, validated and tested, by hashes of their content."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn.cli.datasets import Dataset
from cnn.cli.run_folders import IMAGES
from cnn.core.files import parse_json, write_bytes
from cnn.core.text import printable
from cnn.data.class_folders import shortened
from cnn.data.image_files import Hashes
from cnn.errors import InputError

SPLITS = ("train", "validation", "test")

RunImages = dict[str, dict[str, Hashes]]  # for each split: file relative to the folder, hashes of its bytes and pixels


def write(folder: Path, dataset: Dataset) -> None:
    """Write images.json of a run that is trained on a folder of images."""
    if dataset.hashes:
        content = {"conversion": dataset.image_conversion, **dataset.hashes}
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
        found = {split: content[split] for split in SPLITS if split in content}
        pairs = [pair for files in found.values() for pair in files.values()]
        if not all(len(pair) == 2 and all(isinstance(one, str) for one in pair) for pair in pairs):
            raise ValueError("expected two hashes for each file")
        conversion = {name: str(content["conversion"][name]) for name in ("fit", "background")}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{printable(path)} is damaged: {printable(error)}") from None
    return {
        split: {name: (pair[0], pair[1]) for name, pair in files.items()} for split, files in found.items()
    }, conversion


def known(images: RunImages, split: str) -> set[str]:
    """Return all hashes of the images of a split."""
    return {one for pair in images.get(split, {}).values() for one in pair}


def are_in(hashes: Sequence[Hashes], some: set[str]) -> list[bool]:
    """Return which images have the bytes or the pixels of one of some others."""
    return [content in some or pixels in some for content, pixels in hashes]


def check_same(run: Path, images: RunImages, dataset: Dataset) -> None:
    """Raise an error unless the data set has the same images in the same splits as the run.

    Raises
    ------
    InputError
        With the files that are missing, new or changed.
    """
    before, now = (
        {f"{split} {name}": tuple(hashes) for split, files in found.items() for name, hashes in files.items()}
        for found in (images, dataset.hashes)
    )
    problems = {
        "missing": before.keys() - now.keys(),
        "new": now.keys() - before.keys(),
        "changed": {name for name in before.keys() & now.keys() if before[name] != now[name]},
    }
    texts = [
        f"{len(names):,} {kind} ({shortened([printable(name) for name in sorted(names)], 3)})"
        for kind, names in problems.items()
        if names
    ]
    if texts:
        raise InputError(
            f"{dataset.title} are not those that {printable(run)} was trained on: {'; '.join(texts)}. Give the "
            "unchanged folder with --data FOLDER, or train again"
        )
