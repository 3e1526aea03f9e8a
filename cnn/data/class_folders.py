"""The layout of an image folder: which sub-folders are classes, and which are training, validation and test splits."""

import os
from collections.abc import Sequence
from pathlib import Path

from cnn.core.text import printable
from cnn.errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_NAMES = ("val", "valid", "validation")
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")  # and names that start with a dot


def find_splits(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Find the folder of each split: -> (folder by split, at least "train"; warnings about what was ignored)."""
    children = {child.name.lower(): child for child in _folders(path)}
    validation = [children[name] for name in VALIDATION_NAMES if name in children]
    others = [child.name for name, child in children.items() if name not in (TRAIN, *VALIDATION_NAMES, TEST)]
    if TRAIN in children and not others and len(children) > 1 and not _folders(children[TRAIN]):
        raise InputError(
            f"{printable(children[TRAIN])} contains no class folders: put the images of each class into a folder of "
            "its own, such as train/cat/1.jpg and train/dog/1.jpg"
        )
    # A class may be called "train", as in a data set of vehicles: then its folder contains images, or there is no
    # folder called val or test
    has_other_splits = validation or TEST in children
    if TRAIN not in children or not _folders(children[TRAIN]) or not (has_other_splits or len(children) == 1):
        return {TRAIN: path}, _ignored(path, [])
    if len(validation) > 1:
        raise InputError(f"{printable(path)} has {' and '.join(child.name for child in validation)}: keep one of them")
    splits = {TRAIN: children[TRAIN]}
    splits |= {VALIDATION: validation[0]} if validation else {}
    splits |= {TEST: children[TEST]} if TEST in children else {}
    return splits, _ignored(path, others)


def _ignored(path: Path, folders: list[str]) -> list[str]:
    """Return a warning about files and folders that are not read because of where they are, if there are any."""
    names = [f"{printable(name)}{os.sep}" for name in folders]
    names += [printable(child.name) for child in _visible(path) if not child.is_dir()]
    return [f"ignored in {printable(path)}: {shortened(names)}"] if names else []


def class_names(splits: dict[str, Path]) -> list[str]:
    """Return the names of the classes, sorted, which must be the same in all splits."""
    found = {split: [child.name for child in _folders(folder)] for split, folder in splits.items()}
    names = found[TRAIN]
    if len(names) < 2:
        raise InputError(_too_few(splits[TRAIN], names))
    for split, folder in splits.items():
        for name in sorted(set(names) ^ set(found[split])):
            without, having = (folder, splits[TRAIN]) if name in names else (splits[TRAIN], folder)
            raise InputError(
                f"{printable(having)} has the class {printable(name)}, but {printable(without)} does not: "
                "all splits need the same classes"
            )
    return names


def _too_few(folder: Path, names: list[str]) -> str:
    """Return an error message for a folder with fewer than two classes."""
    if not names:
        return (
            f"{printable(folder)} contains no class folders: put the images of each class into a folder of its own, "
            f"such as {printable(folder / 'cat' / '1.jpg')} and {printable(folder / 'dog' / '1.jpg')}"
        )
    text = f"{printable(folder)} has only one class, {printable(names[0])}: at least two are needed"
    if len(_folders(folder / names[0])) > 1:
        text += f". Are the classes in {printable(folder / names[0])}?"
    return text


def _visible(folder: Path) -> list[Path]:
    """Return the contents of a folder, sorted by name, without hidden files and files of the operating system."""
    children = [c for c in folder.iterdir() if not c.name.startswith(".") and c.name.lower() not in SYSTEM_FILES]
    return sorted(children, key=lambda child: child.name)


def _folders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir() and not _contains_runs(child)]


def _contains_runs(folder: Path) -> bool:
    """Return whether the folder was written by `cnn train .`, started in the image folder: a run, or several runs."""
    return (folder / "config.json").is_file() or any(folder.glob("*/config.json"))


def files_of(folder: Path, skipped: list[tuple[Path, str]]) -> list[Path]:
    """List the files of a class; folders inside it are added to ``skipped``."""
    children = _visible(folder)
    reason = "is a folder inside a class folder: move its images up"
    skipped += [(child, reason) for child in children if child.is_dir()]
    return [child for child in children if not child.is_dir()]


def shortened(texts: Sequence[str], most: int = 5) -> str:
    """Join the first ``most`` texts, and say how many more there are.

    Examples
    --------
    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
