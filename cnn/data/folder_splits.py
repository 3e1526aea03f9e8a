"""Which images of a folder are held out: related images on one side, no image on both."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cnn.core.text import short_text
from cnn.data.image_files import Hashes
from cnn.errors import InputError

GROUP = "{group}"


def group_pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern that says which part of a file name is the group of the image.

    Raises
    ------
    InputError
        If the pattern does not contain ``{group}`` once.

    Examples
    --------
    >>> group_pattern("{group}_*").fullmatch("anna_smiles_2")["group"]
    'anna'
    >>> group_pattern("*/{group}").fullmatch("apple/1f600")["group"]
    '1f600'
    """
    if not isinstance(text, str) or text.count(GROUP) != 1:
        raise InputError(
            f"group_by must be a pattern of file names with {GROUP} in it once, such as '{GROUP}_*' (the part before "
            f"the first _) or '{GROUP}/*' (the folder inside the class folder), got {short_text(text)}"
        )
    special = {"*": "[^/]*", "?": "[^/]", GROUP: "(?P<group>[^/]+?)"}
    parts = re.split(r"(\{group\}|[*?])", text)
    return re.compile("".join(special.get(part, re.escape(part)) for part in parts), re.DOTALL)


def group_of(name: str, pattern: re.Pattern[str]) -> str | None:
    """Return the group of a file by its name within the class folder, or None if the pattern does not match.

    The pattern is tried on the name without its suffix, then on the whole name.
    """
    name = unicodedata.normalize("NFC", name)
    match = pattern.fullmatch(str(PurePosixPath(name).with_suffix(""))) or pattern.fullmatch(name)
    return None if match is None else match["group"]


def copies(hashes: Sequence[Hashes]) -> NDArray[np.int64]:
    """Return for each image the index of the first that has the same bytes or the same pixels.

    Examples
    --------
    >>> copies([("a", "1"), ("b", "2"), ("c", "1"), ("b", "3")])
    array([0, 1, 0, 1])
    """
    return _joined([[f"file {content}", f"pixels {pixels}"] for content, pixels in hashes])


def _joined(keys: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Return for each item the index of the first item that it shares a key with, directly or through others."""
    first = list(range(len(keys)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    owner: dict[str, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            a, b = sorted((root(owner.setdefault(key, i)), root(i)))
            first[b] = a
    return np.array([root(i) for i in range(len(keys))], dtype=np.int64)


def hold_out(
    names: Sequence[str],
    labels: NDArray[np.int64],
    fraction: float,
    seed: int,
    hashes: Sequence[Hashes],
    groups: Sequence[str | None],
) -> NDArray[np.bool_]:
    """Return which images to hold out: a fraction of each class, images of one group and copies together.

    Groups are held out in the order of the hashes of their names, or of the file name if an image is alone, as long
    as that brings the number of images held out of their classes nearer to the fraction.
    """
    keys = [
        [f"file {content}", f"pixels {pixels}", *([] if group is None else [f"group {group}"])]
        for (content, pixels), group in zip(hashes, groups, strict=True)
    ]
    members: dict[int, list[int]] = {}
    for i, first in enumerate(_joined(keys).tolist()):
        members.setdefault(first, []).append(i)
    order = sorted(members.values(), key=lambda group: min(hashed(groups[i] or names[i], seed) for i in group))
    counts = np.bincount(labels).tolist()
    wanted = [min(max(1, round(fraction * count)), count - 1) for count in counts]
    held = [0] * len(counts)
    held_out = np.zeros(len(names), dtype=bool)
    sizes = [Counter(labels[group].tolist()) for group in order]  # images of each class in each group

    def leaves_some(size: Counter[int]) -> bool:
        return all(held[label] + count < counts[label] for label, count in size.items())

    def take(number: int) -> None:
        held_out[order[number]] = True
        for label, count in sizes[number].items():
            held[label] += count

    for number, size in enumerate(sizes):
        missing = [(wanted[label] - held[label], count) for label, count in size.items()]
        is_nearer = sum(abs(some - count) - abs(some) for some, count in missing) < 0
        if is_nearer and leaves_some(size):
            take(number)
    for label, count in enumerate(counts):  # without any held-out image if its groups are large
        possible = [n for n, size in enumerate(sizes) if label in size and leaves_some(size)]
        if held[label] == 0 and count > 1 and possible:
            take(min(possible, key=lambda n: sizes[n].total()))
    return held_out


def hashed(name: str, seed: int) -> bytes:
    """Return a hash by which names are in a random order, which does not change if others are added.

    It is the same for accented letters as macOS (NFD) and Linux (NFC) may store them.

    Examples
    --------
    >>> sorted(["a.png", "b.png", "c.png"], key=lambda name: hashed(name, seed=1))
    ['b.png', 'c.png', 'a.png']
    """
    text = f"{seed}/{unicodedata.normalize('NFC', name)}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
