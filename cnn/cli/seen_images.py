"""Images that the net a training starts from was trained on: no accuracy on them is honest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnn.cli.formatting import count_text
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import TEST, TRAIN, VALIDATION, find_splits, shortened
from cnn.data.folder import ImageFolder, Split
from cnn.data.image_files import Hashes
from cnn.errors import InputError


@dataclass(frozen=True)
class SeenImages:
    """The images that a net was trained on.

    Attributes
    ----------
    name : str
        What messages call the net.
    hashes : list of (str, str)
        Of the bytes and the pixels of each image.
    are_all : bool
        Whether they are known to be all.
    advice : str
        What to do if images that were held out by chance must be left out; "" if there is nothing to do.
    """

    name: str
    hashes: list[Hashes]
    are_all: bool
    advice: str = ""

    __repr__ = fields_text


def all_of(hashes: Iterable[Hashes]) -> set[str]:
    """Return all hashes of some images in one set."""
    return {one for pair in hashes for one in pair}


def are_in(hashes: Sequence[Hashes], some: set[str]) -> list[bool]:
    """Return which images have the bytes or the pixels of one of some others.

    Examples
    --------
    >>> are_in([("a", "1"), ("b", "2"), ("c", "3")], {"a", "2"})
    [True, True, False]
    """
    return [content in some or pixels in some for content, pixels in hashes]


def set_apart(found: ImageFolder, seen: SeenImages | None) -> tuple[ImageFolder, int, int]:
    """Take the validation and test images that a net was trained on out of them, and say so.

    Images that were held out by chance become training images, unless others of their group stay held out. Those of a
    folder of validation or test images are left out, because nobody put them there to train on them.

    Returns
    -------
    ImageFolder, int, int
        The images without them, how many are left out, and how many became training images.

    Raises
    ------
    InputError
        If no validation or no test image is left.
    """
    if seen is None:
        return found, 0, 0
    some, left_out, moved = all_of(seen.hashes), 0, 0
    parts: dict[str, Split] = {TRAIN: found.train, VALIDATION: found.validation, TEST: found.test}
    files, groups, hashes, notes = dict(found.files), dict(found.groups), dict(found.hashes), list(found.notes)
    for split in (VALIDATION, TEST) if found.has_test else (VALIDATION,):
        is_seen = np.array(are_in(hashes[split], some), dtype=bool)
        x, y = parts[split]
        images, kept = count_text(len(x), f"{split} image"), np.flatnonzero(~is_seen)
        is_by_chance = split not in find_splits(found.path)[0]
        advice = seen.advice if is_by_chance else ""
        if not len(kept):
            raise InputError(
                f"{seen.name} was trained on all {images} of {printable(found.path)}: {advice or 'give other images'}"
            )
        stay = {groups[split][i] for i in kept} - {None}
        moves = [i for i in np.flatnonzero(is_seen) if is_by_chance and groups[split][i] not in stay]
        rest = int(is_seen.sum()) - len(moves)
        reason = f"{seen.name} was trained on them{f'; {advice}' if advice else ''}"
        if moves:
            notes.append(f"moved {len(moves):,} of {images} to the training images: {reason}")
        if rest:
            notes.append(f"left out {rest:,} of {images}: {reason}")
        missing = [found.class_names[k] for k in np.setdiff1d(y, y[kept])]
        if missing:
            notes.append(f"warning: no {split} images of {shortened([*map(printable, missing)])} are left")
        left_out, moved = left_out + rest, moved + len(moves)
        if moves:
            x_train, y_train = parts[TRAIN]
            parts[TRAIN] = np.concatenate([x_train, x[moves]]), np.concatenate([y_train, y[moves]])
        parts[split] = x[kept], y[kept]
        files |= {TRAIN: files[TRAIN] + [files[split][i] for i in moves], split: [files[split][i] for i in kept]}
        groups |= {TRAIN: groups[TRAIN] + [groups[split][i] for i in moves], split: [groups[split][i] for i in kept]}
        hashes |= {TRAIN: hashes[TRAIN] + [hashes[split][i] for i in moves], split: [hashes[split][i] for i in kept]}
    test = parts[TEST] if found.has_test else parts[VALIDATION]
    changed = replace(
        found,
        train=parts[TRAIN],
        validation=parts[VALIDATION],
        test=test,
        files=files,
        groups=groups,
        hashes=hashes,
        notes=notes,
    )
    return changed, left_out, moved
