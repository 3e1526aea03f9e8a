"""The random changes of the training images of a folder: what each word of `cnn train --augment` means.

`trials.py` decides which changes `--augment auto` makes.
"""

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from cnn.cli.datasets import Dataset, Transform
from cnn.core.text import fields_text, printable, short_text
from cnn.data.intensity import Brightness, Contrast
from cnn.data.rotation import Rotation
from cnn.data.sample_rng import SampleRNG
from cnn.data.transforms import HorizontalFlip, RandomCrop
from cnn.errors import InputError
from cnn.module import Array

AUTO = "auto"
NAMES = ("none", "flip", "light", "light+flip", "strong", "strong+flip")
SAMPLES, VERSIONS = 6, 5  # rows and changed versions in samples.png
EARLIER = "earlier"  # what was done before there was a choice: for runs of that time that are resumed


def transforms(name: str, size: tuple[int, int]) -> tuple[Transform, ...]:
    """Return the random changes with this name, for images of this (height, width).

    Only a flip can change what an image shows: the mirror image of an arrow to the left is an arrow to the right. So
    "light" and "strong" are without it, and "+flip" adds it.

    Examples
    --------
    >>> transforms("light", (64, 64))
    (RandomCrop(padding=4, edge='reflect'), Brightness(amount=0.1), Contrast(amount=0.1))
    """
    side = min(size)
    flip = HorizontalFlip()
    slight_shift = RandomCrop(padding=max(1, round(side / 16)), edge="reflect")
    shift = RandomCrop(padding=max(1, round(side / 10)), edge="reflect")
    light = (slight_shift, Brightness(0.1), Contrast(0.1))
    strong = (shift, Rotation(10, edge="nearest"), Brightness(0.2), Contrast(0.2))
    return {
        "none": (),
        "flip": (flip,),
        "light": light,
        "light+flip": (flip, *light),
        "strong": strong,
        "strong+flip": (flip, *strong),
        EARLIER: (flip, shift, Rotation(10), Brightness(0.2), Contrast(0.2)),
    }[name]


@dataclass(frozen=True)
class Augmentation:
    """Which random changes the training images get, and why.

    Attributes
    ----------
    name : str
        One of `NAMES`.
    transforms : tuple of Transform
        The changes, in their order.
    trials : list of dict
        The trials that decided: "name", "loss" and "accuracy" of each. Empty if there were none,
        because the name was given.
    how : str
        How the trials were made, for people; empty if there were none.
    """

    name: str
    transforms: tuple[Transform, ...]
    trials: list[dict[str, Any]] = field(default_factory=list)
    how: str = ""

    __repr__ = fields_text

    def text(self) -> str:
        """Return the line of the plan that `cnn train` prints."""
        made = ", ".join(map(repr, self.transforms)) or "the images stay as they are"
        return f"  changes   {self.name}{' (chosen by trials)' if self.trials else ''}: {made}"

    def record(self) -> dict[str, Any]:
        """Return the entry in config.json."""
        return {
            "chosen": self.name,
            "transforms": [repr(transform) for transform in self.transforms],
            **({"how": self.how, "trials": self.trials} if self.trials else {}),
        }

    def draw(self, dataset: Dataset, seed: int, path: Path) -> None:
        """Draw some training images and changed versions of them, if there are changes."""
        from cnn.report import plots  # here, because matplotlib is slow to import

        if not self.transforms:
            return
        x, y = dataset.train
        some = sample_rows(y, len(dataset.class_names))
        versions = []
        for epoch in range(1, VERSIONS + 1):
            changed, targets = x[some], y[some]
            for index, transform in enumerate(self.transforms):
                changed, targets = transform(changed, targets, SampleRNG(seed, epoch, some, index))
            versions.append(changed)
        labels = [f"{printable(dataset.class_names[y[i]])}\n{PurePath(dataset.train_files[i]).name}" for i in some]
        plots.save(plots.changes(x[some], versions, labels, f"Random changes of the images: {self.name}"), path)


def sample_rows(labels: Array, classes: int) -> Array:
    """Return the indices of at most `SAMPLES` images: as many of each class, or of more classes, evenly spaced ones.

    Examples
    --------
    >>> sample_rows(np.array([0] * 90 + [1] * 2 + [2] * 8), 3)
    array([ 0, 89, 90, 91, 92, 99])
    """
    if classes > SAMPLES:
        return np.unique(np.linspace(0, len(labels) - 1, SAMPLES).astype(int))
    members = [np.flatnonzero(labels == k) for k in range(classes)]
    rows = [own[np.unique(np.linspace(0, len(own) - 1, SAMPLES // classes).astype(int))] for own in members]
    return np.concatenate(rows)


def fixed(name: str, dataset: Dataset) -> Augmentation:
    """Return the changes with a given name."""
    return Augmentation(name, transforms(name, image_size(dataset)))


def recorded(config: dict[str, Any], dataset: Dataset) -> Augmentation:
    """Return the changes that the config.json of a run records, so that a resumed run makes no new trials.

    Raises
    ------
    InputError
        (a ValueError) If the record is not as `Augmentation.record` writes it.
    """
    if "augmentation" not in config:
        return fixed(EARLIER, dataset)
    record = config["augmentation"]
    if not isinstance(record, dict):
        raise InputError(f"config.json is damaged: augmentation must be an object, got {short_text(record)}")
    name = record.get("chosen")
    if name not in (*NAMES, EARLIER):
        known = ", ".join(NAMES)
        raise InputError(f"config.json is damaged: augmentation must name one of {known}, got {short_text(name)}")
    return Augmentation(name, transforms(name, image_size(dataset)), record.get("trials", []), record.get("how", ""))


def image_size(dataset: Dataset) -> tuple[int, int]:
    """Return (height, width) of the images."""
    _, height, width = dataset.input_shape
    return height, width
