"""Where the images of a folder of classes lie: which sub-folder is a class, and which a part of the data."""

import os
from collections.abc import Sequence
from pathlib import Path

from cnn.data.images import readable
from cnn.errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_NAMES = ("val", "valid", "validation")
LEFT_BY_PROGRAMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")  # and what starts with a dot


def layout(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Find the folders of the parts: -> (by part, "train" at least; what was ignored, in sentences)."""
    children = {child.name.lower(): child for child in _folders(path)}
    held = [children[name] for name in VALIDATION_NAMES if name in children]
    others = [child.name for name, child in children.items() if name not in (TRAIN, *VALIDATION_NAMES, TEST)]
    if TRAIN in children and not others and len(children) > 1 and not _folders(children[TRAIN]):
        raise InputError(
            f"{readable(children[TRAIN])} holds no folder of a class: put the images of each class into one of "
            "its own, as train/cat/1.jpg and train/dog/1.jpg"
        )
    # A net for vehicles may have a class called train: its folder holds images, and none is called val or test
    if TRAIN not in children or not _folders(children[TRAIN]) or not (held or TEST in children or len(children) == 1):
        return {TRAIN: path}, _beside(path, [])
    if len(held) > 1:
        raise InputError(f"{readable(path)} has {' and '.join(folder.name for folder in held)}: keep one of them")
    parts = {TRAIN: children[TRAIN]}
    parts |= {VALIDATION: held[0]} if held else {}
    parts |= {TEST: children[TEST]} if TEST in children else {}
    return parts, _beside(path, others)


def _beside(path: Path, folders: list[str]) -> list[str]:
    """Say what lies where nobody reads it."""
    names = [f"{readable(name)}{os.sep}" for name in folders]
    names += [readable(child.name) for child in _visible(path) if not child.is_dir()]
    return [f"beside the folders of {readable(path)}, not read: {shortened(names)}"] if names else []


def class_names(path: Path, parts: dict[str, Path]) -> list[str]:
    """Return the names of the classes, sorted, which must be the same in all parts."""
    found = {part: [child.name for child in _folders(folder)] for part, folder in parts.items()}
    names = found[TRAIN]
    if len(names) < 2:
        raise InputError(_too_few(parts[TRAIN], names))
    for part, folder in parts.items():
        for name in sorted(set(names) ^ set(found[part])):
            lacking, having = (folder, parts[TRAIN]) if name in names else (parts[TRAIN], folder)
            raise InputError(
                f"{readable(having)} has the class {readable(name)}, but {readable(lacking)} has not: "
                "all parts need the same classes"
            )
    return names


def _too_few(folder: Path, names: list[str]) -> str:
    """Say what is wrong with a folder of fewer than two classes."""
    if not names:
        return (
            f"{readable(folder)} holds no folder of a class: put the images of each class into one of its own, as "
            f"{readable(folder / 'cat' / '1.jpg')} and {readable(folder / 'dog' / '1.jpg')}"
        )
    text = f"{readable(folder)} has one class, {readable(names[0])}: there must be two at least to tell apart"
    if len(_folders(folder / names[0])) > 1:
        text += f". Or are the classes in {readable(folder / names[0])}?"
    return text


def _visible(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name, but for what hides and what programs left."""
    children = [c for c in folder.iterdir() if not c.name.startswith(".") and c.name.lower() not in LEFT_BY_PROGRAMS]
    return sorted(children, key=lambda child: child.name)


def _folders(folder: Path) -> list[Path]:
    return [child for child in _visible(folder) if child.is_dir() and not _of_trainings(child)]


def _of_trainings(folder: Path) -> bool:
    """Tell whether `cnn train .`, run among the images, left this folder: a run, or runs."""
    return (folder / "config.json").is_file() or any(folder.glob("*/config.json"))


def files_of(folder: Path, skipped: list[tuple[Path, str]]) -> list[Path]:
    """List the files of a class; a folder is none."""
    children = _visible(folder)
    skipped += [(child, "is a folder in that of a class: move its images up") for child in children if child.is_dir()]
    return [child for child in children if not child.is_dir()]


def shortened(texts: Sequence[str], most: int = 5) -> str:
    """Join texts, and say how many more there are.

    Examples
    --------
    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
