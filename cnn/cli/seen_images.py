"""Images that the net a training starts from was trained on: no accuracy on them is honest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cnn.cli.formatting import count_text
from cnn.core.text import fields_text, printable
from cnn.data.class_folders import TEST, VALIDATION
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
    images : dict of str to (str, str)
        Their paths, and the hashes of their bytes and their pixels.
    advice : str
        What messages advise if images must be left out.
    """

    name: str
    images: dict[str, Hashes]
    advice: str

    __repr__ = fields_text


def are_in(hashes: Sequence[Hashes], some: set[str]) -> list[bool]:
    """Return which images have the bytes or the pixels of one of some others.

    Examples
    --------
    >>> are_in([("a", "1"), ("b", "2"), ("c", "3")], {"a", "2"})
    [True, True, False]
    """
    return [content in some or pixels in some for content, pixels in hashes]


def leave_out(found: ImageFolder, seen: SeenImages) -> ImageFolder:
    """Leave out the validation and test images that a net was trained on, and say so in the notes.

    Raises
    ------
    InputError
        If no validation or no test image is left.
    """
    some = {one for pair in seen.images.values() for one in pair}
    parts: dict[str, Split] = {VALIDATION: found.validation, TEST: found.test}
    files, groups, hashes, notes = dict(found.files), dict(found.groups), dict(found.hashes), list(found.notes)
    for split in (VALIDATION, TEST) if found.has_test else (VALIDATION,):
        kept = np.flatnonzero(~np.array(are_in(found.hashes[split], some), dtype=bool))
        x, y = parts[split]
        images, count = count_text(len(x), f"{split} image"), len(x) - len(kept)
        if not len(kept):
            raise InputError(f"{seen.name} was trained on all {images} of {printable(found.path)}: {seen.advice}")
        if count:
            notes.append(f"left out {count:,} of {images}: {seen.name} was trained on them; {seen.advice}")
        parts[split] = x[kept], y[kept]
        files[split] = [files[split][i] for i in kept]
        groups[split] = [groups[split][i] for i in kept]
        hashes[split] = [hashes[split][i] for i in kept]
    test = parts[TEST] if found.has_test else parts[VALIDATION]
    return replace(
        found, validation=parts[VALIDATION], test=test, files=files, groups=groups, hashes=hashes, notes=notes
    )
