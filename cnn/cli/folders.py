"""What a folder of images is to a training: its samples, how they are changed, and what a person must know."""

from pathlib import Path
from typing import Any

from cnn.cli.words import counted
from cnn.data.class_folders import shortened
from cnn.data.folder import ImageFolder
from cnn.data.images import printable
from cnn.data.intensity import Brightness, Contrast
from cnn.data.rotation import Rotation
from cnn.data.transforms import HorizontalFlip, RandomCrop

SKIPPED_SHOWN, CLASSES_SHOWN = 5, 20
SQUASHED = "squashed"  # how images became squares, as the model file says it
SHIFT = 1 / 10  # of the shorter side
TURN = 10  # degrees


def described(found: ImageFolder) -> dict[str, Any]:
    """Return all that a `Task` holds of a folder."""
    path = found.path.resolve()
    channels, height, width = found.train[0].shape[1:]
    shift = RandomCrop(padding=max(1, round(SHIFT * min(height, width))), edge="reflect")
    return {
        "name": printable(path.name) or "images",
        "title": f"the images in {printable(found.path)}",
        "source": f"from {printable(path)}, scaled to {height} x {width} pixels",
        "things": "images",
        "class_names": found.class_names,
        "train": found.train,
        "validation": found.validation,
        "test": found.test,
        "data": str(path),
        "notes": notes(found),
        "skipped": skipped(found),
        "transforms": (HorizontalFlip(), shift, Rotation(TURN), Brightness(0.2), Contrast(0.2)),
        "has_test": found.has_test,
        "scaling": {"size": [height, width], "colour": "grey" if channels == 1 else "rgb", "fit": SQUASHED},
    }


def notes(found: ImageFolder) -> list[str]:
    """Say what was found in a folder, what was not, and what a guess is worth."""
    counts = [f"{name} {count:,}" for name, count in found.counts.items()]
    lines = [f"images of each class: {shortened(counts, CLASSES_SHOWN)}", *skipped(found)]
    part = "test" if found.has_test else "validation"
    lines.append(
        f"always guessing the largest class would be right for {found.majority_baseline:.1%} of the {part} images"
    )
    if not found.has_test:
        lines.append("there is no folder of test images, so the test at the end is on the validation images")
    return [*lines, *(f"warning: {text}" for text in found.warnings)]


def skipped(found: ImageFolder) -> list[str]:
    """Say which files could not be used, and why."""
    if not found.skipped:
        return []
    shown = [f"  {_within(found.path, file)} {why}" for file, why in found.skipped[:SKIPPED_SHOWN]]
    more = len(found.skipped) - len(shown)
    shown += [f"  and {more:,} more"] if more else []
    return [f"{counted(len(found.skipped), 'file')} could not be used:", *shown]


def _within(folder: Path, file: Path) -> str:
    return printable(file.relative_to(folder))
