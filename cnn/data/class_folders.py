"""The layout of an image folder: which sub-folders are classes, and which are training, validation and test splits."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn.core.files import parse_json
from cnn.core.text import printable
from cnn.errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation", "dev", "eval"),
    TEST: ("test", "testing", "holdout", "hold-out", "held-out"),
}
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")  # and all names that start with a dot
SYSTEM_FOLDERS = (
    "__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"
)  # fmt: skip
RUN_SETTINGS = {"data", "model", "epochs", "batch_size", "lr", "seed", "lr_schedule"}  # in the config.json of a run
MAX_CONFIG_BYTES = 1_000_000
MAX_DEPTH = 8  # of folders inside a class folder

ClassFolders = dict[str, list[Path]]  # the folders of each class; more than one if their names differ in encoding alone


@dataclass(frozen=True)
class ListedImage:
    """A file of a class: its split, the label, the path, and the name within the folder of the class."""

    split: str
    label: int
    file: Path
    name: str


def find_splits(path: Path, needs_train: bool = True) -> tuple[dict[str, Path], list[str], list[str]]:
    """Find the folder of each split: -> (folder by split; notes about unusual names; warnings about what was ignored).

    If the folder is not divided, it is "train" itself. Without ``needs_train`` a folder of test images may be alone.
    """
    children, runs = _folders(path)
    found = {split: [c for c in children if c.name.lower() in names] for split, names in SPLIT_NAMES.items()}
    others = [child for child in children if not any(child in folders for folders in found.values())]
    train = next((child for child in found[TRAIN] if _folders(child)[0]), None)
    if not needs_train and found[TEST] and not others and _folders(found[TEST][0])[0]:
        return {TEST: found[TEST][0]}, [], _ignored(path, runs)
    if train is None or not (found[VALIDATION] or found[TEST] or len(children) == 1):
        _check_no_splits(path, found, others)
        return {TRAIN: path}, [], _ignored(path, runs)
    for folders in found.values():
        if len(folders) > 1:
            raise InputError(f"{printable(path)} has {_names(folders, ' and ')}: keep one of them")
    splits = {split: folders[0] for split, folders in found.items() if folders}
    unusual = [f"{printable(folder.name)}{os.sep}" for split, folder in splits.items() if not _is_usual(folder, split)]
    notes = [f"{_names(list(splits.values()))} are the {', '.join(splits)} images"] if unusual else []
    return splits, notes, _ignored(path, [*others, *runs])


def _is_usual(folder: Path, split: str) -> bool:
    return folder.name.lower() in (split, "val", "valid")


def _check_no_splits(path: Path, found: dict[str, list[Path]], others: list[Path]) -> None:
    """Raise an error if the classes of this folder are more likely to be splits."""
    train = found[TRAIN]
    held_out = found[VALIDATION] + found[TEST]
    if train and not others and held_out:
        raise InputError(
            f"{printable(train[0])} contains no class folders: put the images of each class into a folder of "
            f"its own, such as {train[0].name}/cat/1.jpg and {train[0].name}/dog/1.jpg"
        )
    if held_out and not train and not others and all(_folders(folder)[0] for folder in held_out):
        raise InputError(
            f"{printable(path)} has {_names(held_out, ' and ')} but no folder of training images: call it train"
        )
    if train and others:
        classes = {child.name for child in _folders(train[0])[0]}
        alike = [folder for folder in others if len(classes & {child.name for child in _folders(folder)[0]}) > 1]
        if alike:
            raise InputError(
                f"{printable(train[0])} and {printable(alike[0])} have the same class folders: if "
                f"{printable(alike[0].name)} holds the validation images, call it val; if the test images, call it test"
            )


def _ignored(path: Path, folders: list[Path]) -> list[str]:
    """Return a warning about files and folders that are not read because of where they are, if there are any."""
    names = [f"{printable(folder.name)}{os.sep}{' (a run)' * contains_runs(folder)}" for folder in folders]
    names += [printable(child.name) for child in _visible(path) if not child.is_dir()]
    return [f"ignored in {printable(path)}: {shortened(names)}"] if names else []


def class_folders(folder: Path) -> ClassFolders:
    """Return the folders of each class, sorted by name; two names that differ in Unicode encoding alone are one."""
    found: ClassFolders = {}
    for child in _folders(folder)[0]:
        found.setdefault(unicodedata.normalize("NFC", child.name), []).append(child)
    return dict(sorted(found.items()))


def class_names(splits: dict[str, Path]) -> list[str]:
    """Return the names of the classes, sorted, which must be the same in all splits."""
    found = {split: list(class_folders(folder)) for split, folder in splits.items()}
    names = found[TRAIN]
    if len(names) < 2:
        raise InputError(_too_few(splits[TRAIN], names))
    for split, folder in splits.items():
        if not found[split]:
            raise InputError(_without_classes(folder, split, splits[TRAIN]))
        for name in sorted(set(names) ^ set(found[split])):
            without, having = (folder, splits[TRAIN]) if name in names else (splits[TRAIN], folder)
            raise InputError(
                f"{printable(having)} has the class {printable(name)}, but {printable(without)} does not: "
                "all splits need the same classes"
            )
    return names


def _without_classes(folder: Path, split: str, train: Path) -> str:
    """Return an error message for a folder of validation or test images that are not sorted into classes."""
    count = sum(not child.is_dir() for child in _visible(folder))
    what = f"{printable(folder)} has {count:,} file{'s' * (count != 1)} but no class folders"
    sort = f"sort its images into folders of the classes, as in {printable(train)}"
    if split != TEST:
        return f"{what}: {sort}, or move it out of {printable(folder.parent)}, and images are held out at random"
    return f"{what}: move it out of {printable(folder.parent)}, train, then classify it with cnn predict; or {sort}"


def _too_few(folder: Path, names: list[str]) -> str:
    """Return an error message for a folder with fewer than two classes."""
    if not names:
        return (
            f"{printable(folder)} contains no class folders: put the images of each class into a folder of its own, "
            f"such as {printable(folder / 'cat' / '1.jpg')} and {printable(folder / 'dog' / '1.jpg')}"
        )
    text = f"{printable(folder)} has only one class, {printable(names[0])}: at least two are needed"
    if len(class_folders(class_folders(folder)[names[0]][0])) > 1:
        text += f". Are the classes in {printable(folder / names[0])}?"
    return text


def list_images(
    splits: dict[str, Path], names: Sequence[str], skipped: list[tuple[Path, str]]
) -> tuple[list[ListedImage], list[str]]:
    """List the files of these classes: -> (files, sorted by split and class; what is to be told about their folders).

    Files in folders inside the folder of a class belong to the class. What is not followed is added to ``skipped``.
    """
    listed: list[ListedImage] = []
    told = []
    for split, folder in splits.items():
        found = class_folders(folder)
        for label, name in enumerate(names):
            for one in found.get(name, []):
                files = _files(one, skipped, ())
                listed += [ListedImage(split, label, file, file.relative_to(one).as_posix()) for file in files]
        told += _shared_folders(folder, [one for name in names for one in found.get(name, [])])
    return listed, told


def _shared_folders(path: Path, classes: list[Path]) -> list[str]:
    """Return a remark if the folders inside the class folders might be the classes: each has them, and no image."""
    inside = [{child.name for child in _folders(folder)[0]} for folder in classes]
    shared = sorted(set.intersection(*inside)) if inside else []
    has_files = any(not child.is_dir() for folder in classes for child in _visible(folder))
    if len(shared) < 2 or has_files:
        return []
    names = shortened([printable(name) for name in shared])
    return [
        f"all classes in {printable(path)} have the same folders, {names}, whose images are read as images of the "
        f"class; if {printable(shared[0])} and {printable(shared[1])} are the classes, move them up"
    ]


def _files(folder: Path, skipped: list[tuple[Path, str]], parents: tuple[Path, ...]) -> list[Path]:
    """List the files in a folder and in the folders inside it, by name."""
    parents = (*parents, folder.resolve())
    files: list[Path] = []
    for child in _visible(folder):
        if not child.is_dir():
            files.append(child)
        elif child.resolve() in parents:
            skipped.append((child, "is a link to a folder that contains it"))
        elif len(parents) > MAX_DEPTH:
            skipped.append((child, f"is more than {MAX_DEPTH} folders below the class folder: move its images up"))
        elif contains_runs(child):
            skipped.append((child, "is a run of cnn train"))
        else:
            files += _files(child, skipped, parents)
    return files


def _visible(folder: Path) -> list[Path]:
    """Return the contents of a folder, sorted by name, without hidden files and those of the operating system.

    The order is the same on macOS, which may store the accented letters of names in another way (NFD).
    """
    hidden = (*SYSTEM_FILES, *SYSTEM_FOLDERS)
    children = [c for c in folder.iterdir() if not c.name.startswith(".") and c.name.lower() not in hidden]
    return sorted(children, key=lambda child: (unicodedata.normalize("NFC", child.name), child.name))


def _folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders in a folder: -> (those of images, those written by `cnn train`)."""
    folders = [child for child in _visible(folder) if child.is_dir()]
    runs = [child for child in folders if contains_runs(child)]
    return [child for child in folders if child not in runs], runs


def contains_runs(folder: Path) -> bool:
    """Return whether the folder was written by `cnn train .`, started in the image folder: a run, or only runs."""
    children = _visible(folder)
    return _is_run(folder) or (bool(children) and all(child.is_dir() and _is_run(child) for child in children))


def _is_run(folder: Path) -> bool:
    """Return whether the folder has the config.json of a run."""
    path = folder / "config.json"
    try:
        if not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
            return False
        config = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.keys() >= RUN_SETTINGS


def _names(folders: Sequence[Path], separator: str = ", ") -> str:
    return separator.join(printable(folder.name) for folder in folders)


def shortened(texts: Sequence[str], most: int = 5) -> str:
    """Join the first ``most`` texts, and say how many more there are.

    Examples
    --------
    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
