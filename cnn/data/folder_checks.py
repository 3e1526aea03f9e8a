"""What is wrong, or may be wrong, with the images in a folder: copies, contradictions, missing and few images."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.core.text import count_text, printable
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, shortened
from cnn.errors import InputError

Labels = NDArray[np.int64]
Splits = NDArray[np.str_]

RECOMMENDED = 50  # images per class; with fewer, what a network learns about the class is mostly chance
CLASSES_NAMED = 5  # of equal size; of more, only the number is told
LEFT_OUT = "left out"  # instead of the name of a split
IMAGES_OF = {TRAIN: "training image", VALIDATION: "validation image", TEST: "test image"}
COPIES = "(the same file, or the same pixels at this size)"


def check_images(folder: Path, names: Sequence[str], labels: Labels, skipped: list[tuple[Path, str]]) -> None:
    """Raise an error if a class has no image."""
    for name, count in zip(names, np.bincount(labels, minlength=len(names)), strict=True):
        if count == 0:
            where = folder / name
            reasons = [f" ({printable(file.name)} {why})" for file, why in skipped if where in file.parents]
            raise InputError(
                f"{printable(where)} has no image that can be read{(reasons or [''])[0]}: add images or remove the "
                "folder"
            )


def check_some_left(names: Sequence[str], labels: Labels, split: str, why: Sequence[str]) -> None:
    """Raise an error if all images of a class were left out; ``why`` has the reasons."""
    for name, count in zip(names, np.bincount(labels, minlength=len(names)), strict=True):
        if count == 0:
            raise InputError(f"no {IMAGES_OF[split]} of the class {printable(name)} is left: {'; '.join(why)}")


def leave_out_contradictions(
    shown: Sequence[str], labels: Labels, splits: Splits, same: NDArray[np.int64]
) -> list[str]:
    """Mark images in ``splits`` as left out if there are copies of them in another class; return a warning.

    ``shown`` has the names of the files, ``same`` the index of the first copy of each image.
    """
    contradictory = np.flatnonzero(labels != labels[same]).tolist()
    if not contradictory:
        return []
    left_out = np.isin(same, same[contradictory])
    splits[left_out] = LEFT_OUT
    pairs = [f"{shown[int(same[i])]} = {shown[i]}" for i in contradictory]
    return [
        f"left out {count_text(int(left_out.sum()), 'image')} with copies {COPIES} in another class: "
        f"{shortened(pairs)}; keep each in its right class alone"
    ]


def leave_out_copies(shown: Sequence[str], splits: Splits, same: NDArray[np.int64]) -> list[str]:
    """Mark training images as left out if validation or test images are copies of them; return warnings.

    Validation images of which copies are among the test images are left out as well.
    """
    problems = []
    for held_out, others in ((TEST, (TRAIN, VALIDATION)), (VALIDATION, (TRAIN,))):
        kept = {int(same[i]): i for i in np.flatnonzero(splits == held_out)[::-1].tolist()}
        for other in others:
            found = [i for i in np.flatnonzero(splits == other).tolist() if int(same[i]) in kept]
            if not found:
                continue
            splits[found] = LEFT_OUT
            pairs = [f"{shown[i]} = {shown[kept[int(same[i])]]}" for i in found]
            problems.append(
                f"left out {count_text(len(found), IMAGES_OF[other])} with copies {COPIES} among the "
                f"{IMAGES_OF[held_out]}s: {shortened(pairs)}"
            )
    return problems


def copy_notes(shown: Sequence[str], pool: NDArray[np.intp], same: NDArray[np.int64]) -> list[str]:
    """Return how many images of the pool are copies of others in it, and the first pairs of them."""
    kept: dict[int, int] = {}
    pairs = [f"{shown[first]} = {shown[i]}" for i in pool.tolist() if (first := kept.setdefault(int(same[i]), i)) != i]
    if not pairs:
        return []
    return [f"copies of other images, kept on the same side as these: {len(pairs):,} ({shortened(pairs)})"]


def group_notes(group_by: str | None, groups: Sequence[str | None], splits: Splits) -> list[str]:
    """Return how many groups there are; raise an error if no file has one."""
    if group_by is None:
        return []
    found = [group for group, split in zip(groups, splits, strict=True) if split != LEFT_OUT]
    without = found.count(None)
    if without == len(found):
        raise InputError(
            f"group_by={printable(group_by)!r} matches no file: {{group}} marks a part of the name within the class "
            "folder, and * stands for any text without /, as in '{group}_*' or '{group}/*'"
        )
    return [f"groups of images by {printable(group_by)}: {len(set(found) - {None}):,}"]


def group_warnings(
    group_by: str | None, groups: Sequence[str | None], shown: Sequence[str], splits: Splits
) -> list[str]:
    """Return warnings if the pattern misses images, or if all groups are of one image, so that it changes nothing."""
    if group_by is None:
        return []
    used = [(group, name) for group, name, split in zip(groups, shown, splits, strict=True) if split != LEFT_OUT]
    named = [group for group, _ in used if group is not None]
    missed = [name for group, name in used if group is None]
    problems = []
    if len(set(named)) == len(named):
        group, name = next(one for one in used if one[0] is not None)
        problems.append(
            f"{printable(group_by)} groups nothing, no group has two images: the group of {name} is {printable(group)}"
        )
    if missed:
        problems.append(
            f"{printable(group_by)} does not match {count_text(len(missed), 'image')} of {len(used):,}, such as "
            f"{missed[0]}: each is a group of its own"
        )
    return problems


def groups_on_both_sides(groups: Sequence[str | None], splits: Splits) -> list[str]:
    """Return a warning if the folders of the splits share groups."""
    problems = []
    members = {
        name: {group for group, split in zip(groups, splits, strict=True) if split == name} - {None}
        for name in (TRAIN, VALIDATION, TEST)
    }
    for held_out in (VALIDATION, TEST):
        shared = sorted(printable(group) for group in members[TRAIN] & members[held_out])
        if shared:
            problems.append(
                f"{count_text(len(shared), 'group')} with both training and {held_out} images, so the {held_out} "
                f"accuracy will be too optimistic: {shortened(shared)}"
            )
    return problems


def classes_without_validation(names: Sequence[str], train: Labels, validation: Labels) -> list[str]:
    """Return a warning about classes of which no image could be held out; raise an error if there is none at all."""
    if len(validation) == 0:
        raise InputError(
            "no image can be held out for validation, because each class has only one image, or one group of images: "
            f"{shortened([printable(name) for name in names])}; add images, or folders train and val of your own"
        )
    missing = sorted(set(train.tolist()) - set(validation.tolist()))
    shown = shortened([printable(names[label]) for label in missing])
    reason = "it has only one image, or one group" if len(missing) == 1 else "each has only one image, or one group"
    return [f"no validation images of {shown}: {reason}"] if missing else []


def class_warnings(names: Sequence[str], labels: Labels, recommended: int) -> list[str]:
    """Return warnings about classes that may harm training, such as those with fewer images than recommended."""
    problems = []
    counts = np.bincount(labels, minlength=len(names)).tolist()
    few = [(name, count) for name, count in zip(names, counts, strict=True) if count < recommended]
    if len(few) == len(names) > CLASSES_NAMED and len(set(counts)) == 1:
        problems.append(f"each class has only {count_text(counts[0], 'image')}: at least {recommended} are recommended")
    elif few:
        texts = [f"{name} has only {count_text(count, 'image')}" for name, count in few[:1]]
        texts += [f"{name} only {count}" for name, count in few[1:]]
        problems.append(f"{shortened(texts)}: at least {recommended} of each class are recommended")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(unicodedata.normalize("NFC", name).lower(), []).append(name)
    problems += [
        f"the classes {' and '.join(group)} differ only in capital letters: if they are the same class, merge their "
        "folders"
        for group in alike.values()
        if len(group) > 1
    ]
    return problems


def count_and_names(files: Sequence[str]) -> str:
    """Return how many images there are, and the names of some.

    Examples
    --------
    >>> count_and_names(["a/1.png", "a/2.png"])
    '2 images (a/1.png, a/2.png)'
    """
    return f"{count_text(len(files), 'image')} ({shortened(files)})"
