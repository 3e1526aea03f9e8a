"""What `cnn train --pretrained` should do: half of some images train, the other half judge, and in turn.

python benchmarks/research/pretrained.py SETS fit stamps clipart            # how images become 224 x 224 pixels
python benchmarks/research/pretrained.py SETS versions photo-crops stamps   # the head on changed versions of the images
python benchmarks/research/pretrained.py SETS rate photo-crops stamps       # then 5 epochs of the upper layers

SETS is the folder of training images that benchmarks/own_image_sets.py has built, CACHE/train. Of each class 30 images,
chosen by a hash of their names, take part. Each line has the accuracy in percent and the mean loss. The head reads the
last layer alone; pretrained_heads.py measures what else it may read.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

import cnn
from cnn import training, zoo
from cnn.cli import fine_tuning, pretrained
from cnn.cli.augmentation import Augmentation, transforms
from cnn.cli.datasets import Dataset
from cnn.cli.train_settings import Settings, settings_for
from cnn.data.folder_splits import hashed
from cnn.data.image_files import read_images
from cnn.data.image_fit import FITS, PADDED

PER_CLASS = 30
RATES = (3e-5, 5e-5, 1e-4, 3e-4)


def halves(folder: Path, fit: str) -> list[Dataset]:
    """Read some images of each class, divided in two: -> two data sets, each with one half to train on."""
    files, labels, first = [], [], []
    names = sorted(path.name for path in folder.iterdir())
    for label, name in enumerate(names):
        some = sorted((folder / name).iterdir(), key=lambda file: hashed(file.name, 0))[:PER_CLASS]
        files += some
        labels += [label] * len(some)
        first += [i % 2 == 0 for i in range(len(some))]
    x, y, in_first = read_images(files, (224, 224), False, [], None, fit).pixels, np.array(labels), np.array(first)
    parts = [(x[half], y[half]) for half in (in_first, ~in_first)]
    return [Dataset("", "", "", "images", names, parts[k], parts[1 - k], parts[1 - k], has_test=False) for k in (0, 1)]


def measure(folder: Path, settings: Settings, fit: str = PADDED, changes: str = "none") -> str:
    """Train on each half: -> the mean accuracy and loss on the other."""
    found = []
    for half in halves(folder, fit):
        cnn.manual_seed(0)
        start = pretrained.Start("", zoo.efficientnet_lite0(pretrained=True), PADDED)
        made = Augmentation(changes, transforms(changes, (224, 224)))
        plan = fine_tuning.plan(start, half, settings, made, quiet=True)
        assert plan.features is not None
        for step in training.train(plan.model, plan.loader, epochs=settings.epochs_recorded):
            plan.after_step(step)
        found.append(plan.model.evaluate(*plan.features.validation))
    loss, accuracy = np.mean(found, axis=0)
    return f"{100 * accuracy:.1f} ({loss:.2f})"


def main(sets: Path, question: str, names: list[str]) -> None:
    head = settings_for("folder", pretrained=True)
    tuned = dataclasses.replace(head, fine_tune=5)
    for name in names:
        if question == "fit":
            for fit in FITS:
                print(name, fit, measure(sets / name, head, fit), flush=True)
        elif question == "versions":
            for changes in ("none", "flip", "light", "light+flip", "strong"):
                print(name, changes, measure(sets / name, head, changes=changes), flush=True)
        else:
            for rate in RATES:
                fine_tuning.FINE_TUNE_LR = rate
                print(name, f"{rate:g}", measure(sets / name, tuned), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
