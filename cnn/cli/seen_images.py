"""Images that the net a training starts from was trained on: no accuracy on them is honest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnn.cli.formatting import count_text
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import TEST, VALIDATION, find_splits, shortened
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


def leave_out(found: ImageFolder, seen: SeenImages | None) -> tuple[ImageFolder, int]:
    """Leave out the validation and test images that a net was trained on, and say so: -> (the rest, how many they are).

    Raises
    ------
    InputError
        If no validation or no test image is left.
    """
    if seen is None:
        return found, 0
    some, total = all_of(seen.hashes), 0
    parts: dict[str, Split] = {VALIDATION: found.validation, TEST: found.test}
    files, groups, hashes, notes = dict(found.files), dict(found.groups), dict(found.hashes), list(found.notes)
    for split in (VALIDATION, TEST) if found.has_test else (VALIDATION,):
        kept = np.flatnonzero(~np.array(are_in(found.hashes[split], some), dtype=bool))
        x, y = parts[split]
        images, count = count_text(len(x), f"{split} image"), len(x) - len(kept)
        advice = "" if split in find_splits(found.path)[0] else seen.advice
        if not len(kept):
            raise InputError(
                f"{seen.name} was trained on all {images} of {printable(found.path)}: {advice or 'give other images'}"
            )
        if count:
            notes.append(
                f"left out {count:,} of {images}: {seen.name} was trained on them{f'; {advice}' if advice else ''}"
            )
            missing = [found.class_names[k] for k in np.setdiff1d(y, y[kept])]
            if missing:
                notes.append(f"warning: no {split} images of {shortened([*map(printable, missing)])} are left")
        total += count
        parts[split] = x[kept], y[kept]
        files[split] = [files[split][i] for i in kept]
        groups[split] = [groups[split][i] for i in kept]
        hashes[split] = [hashes[split][i] for i in kept]
    test = parts[TEST] if found.has_test else parts[VALIDATION]
    rest = replace(
        found, validation=parts[VALIDATION], test=test, files=files, groups=groups, hashes=hashes, notes=notes
    )
    return rest, total
