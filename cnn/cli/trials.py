"""How `cnn train --augment auto` decides: short trainings, each judged on images that it has not seen.

docs/decisions/011-augmentation.md has the measurements behind the rule and the numbers.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cnn
from cnn import training
from cnn.cli import train_recipes
from cnn.cli.augmentation import Augmentation, image_size, transforms
from cnn.cli.datasets import Dataset, model_inputs, split
from cnn.cli.formatting import count_text
from cnn.cli.train_settings import Settings
from cnn.cli.trial_losses import calibrated_losses, decide
from cnn.data.folder_splits import copies, hashed
from cnn.module import Array
from cnn.training.progress import LiveLine, Progress, stream_progress

SIDE = 32  # pixels: larger images are reduced to about this size, where a training takes a quarter of the time
IMAGES = 2_000  # at most, so that also for a large folder a trial sees each image several times
SEEN = 20_000  # images of all epochs of a trial's training, at most: 50 epochs of 400 images
TRIALS = 4
FIXED = 1_024  # pixels that take as long as what an image costs at any size, as measured at 32 x 32 and 64 x 64
MOST_UNEVEN = 0.5  # for halves of 3/4 and 1/4 of each class; where groups make them more uneven, images are divided


def choose(
    dataset: Dataset, settings: Settings, tell: Callable[[str], Any], progress: Progress | None = None
) -> Augmentation:
    """Try the strengths without flips, then the best of them with flips, and return the best of all.

    On one machine, the same data, settings, seed and number of threads give the same result. Each training image is
    judged by a net that was trained on the other half of them. These are more images than the validation images, whose
    number is often too small to tell; and the validation images, which no choice sees, give an honest accuracy.

    Parameters
    ----------
    dataset : Dataset
        Its training images are used.
    settings : Settings
        Of the training that the changes are for; a trial trains the same model in the same way.
    tell : callable
        Called with each line of text for the user.
    progress : Progress, optional
        Shows the steps of each trial.
    """
    halves = halve(dataset, settings.seed)
    epochs = trial_epochs(dataset, halves, settings.epochs)
    settings = dataclasses.replace(settings, epochs=epochs, keep_best=None)
    height, width = image_size(halves[0])
    how = f"for each, two trainings of {count_text(epochs, 'epoch')} with half of the training images at {width} x "
    how += f"{height} pixels, judged on the other half"
    tell("--augment auto: trying which random changes of the images help")
    tell(f"  {how}")
    trials: list[dict[str, Any]] = []

    y, groups = trial_labels(halves)

    def run(name: str) -> Array:
        losses, accuracy = trial(halves, settings, name, progress)
        trials.append({"name": name, "loss": float(losses.mean()), "accuracy": accuracy})
        tell(f"  {name:12}  loss {losses.mean():.4f}  accuracy {accuracy:.4f}")
        return losses

    chosen = decide(run, y, groups, bool(settings.balance))
    tell(f"  chosen: {chosen}")
    return Augmentation(chosen, transforms(chosen, image_size(dataset)), trials, how)


def trial(
    halves: Sequence[Dataset], settings: Settings, name: str, progress: Progress | None = None
) -> tuple[Array, float]:
    """Train on each half with these changes: -> (the loss of each image in the other half, the accuracy there)

    With ``--balance`` all classes together count the same in both.
    """
    losses, correct = [], []
    labels = np.concatenate([half.train[1] for half in halves])
    classes = len(halves[0].class_names)
    weights = np.array(train_recipes.balanced_weights(labels, classes)) if settings.balance else np.ones(classes)
    for number, half in enumerate(halves):
        cnn.manual_seed(settings.seed)
        changed = dataclasses.replace(half, transforms=transforms(name, image_size(half)))
        plan = train_recipes.plan(changed, settings)
        with progress or Progress() as shown:
            for step in training.train(plan.model, plan.loader, epochs=settings.epochs, class_weight=plan.class_weight):
                plan.after_step(step)
                epoch, epochs = number * settings.epochs + step.epoch, len(halves) * settings.epochs
                shown.show(dataclasses.replace(step, epoch=epoch, epochs=epochs), step.samples)
        x, y = half.validation
        probabilities = plan.model.predict_proba(model_inputs(plan.model, x))
        losses.append(calibrated_losses(probabilities, y, weights[y]))
        correct.append(weights[y] * (probabilities.argmax(axis=1) == y))
    return np.concatenate(losses), float(np.mean(np.concatenate(correct)))


def trial_labels(halves: Sequence[Dataset]) -> tuple[Array, list[str]]:
    """Return the class and the group of each image, in the order of the losses that `trial` returns."""
    y = np.concatenate([half.validation[1] for half in halves])
    return y, [group for half in reversed(halves) for group in half.train_groups]


def live_line() -> Progress:
    """Return what shows the steps of a trial: a line in a terminal; elsewhere the line at the end is enough."""
    progress = stream_progress(sys.stderr)
    return progress if isinstance(progress, LiveLine) else Progress()


def trial_epochs(dataset: Dataset, halves: Sequence[Dataset], epochs: int) -> int:
    """Return the number of epochs of a trial: all trials together take about as long as the training, or less.

    A trial has at least one epoch, and at most as many steps as the training: with half of the images, these are twice
    as many epochs.
    """
    budget = epochs * epoch_cost(dataset)
    most = budget // (TRIALS * sum(epoch_cost(half) for half in halves))
    return max(1, min(2 * epochs, SEEN // len(halves[0].train[0]), most))


def epoch_cost(dataset: Dataset) -> int:
    """Return the cost of an epoch, in pixels: those of the training images, and `FIXED` for each image."""
    height, width = image_size(dataset)
    return len(dataset.train[0]) * (height * width + FIXED)


def halve(dataset: Dataset, seed: int) -> list[Dataset]:
    """Divide the training images, made smaller and at most `IMAGES` of them, in two: -> two data sets

    Each has one half as its training images and the other as its validation images.
    """
    x, y = dataset.train
    groups, alone = related(dataset)
    if len(x) > IMAGES:
        some, y = split(np.arange(len(x)), y, IMAGES, np.random.default_rng(seed))[1]
        x, groups, alone = x[some], [groups[i] for i in some], [alone[i] for i in some]
    first = first_half(groups, y, seed)
    in_first, in_second = (np.bincount(y[half], minlength=y.max() + 1) for half in (first, ~first))
    if abs(in_first - in_second).sum() > MOST_UNEVEN * len(y):  # such as a folder inside each class folder
        groups, first = alone, first_half(alone, y, seed)
    x = reduced(x)
    parts = [(x[half], y[half]) for half in (first, ~first)]
    named = [[groups[i] for i in np.flatnonzero(half)] for half in (first, ~first)]
    return [
        dataclasses.replace(dataset, train=parts[k], validation=parts[1 - k], test=parts[1 - k], train_groups=named[k])
        for k in (0, 1)
    ]


def related(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the group of each training image: -> (groups with copies joined, copies alone)

    Groups that have a copy of the same image are one.
    """
    images = len(dataset.train[0])
    hashes = list(dataset.hashes.get("train", {}).values())
    same = copies(hashes) if hashes else np.arange(images)
    names = dataset.train_files or [str(i) for i in range(images)]
    groups = dataset.train_groups or names
    joined = copies([(group, str(first)) for group, first in zip(groups, same, strict=True)])  # by either
    return [groups[i] for i in joined], [names[i] for i in same]


def first_half(groups: Sequence[str], labels: Array, seed: int) -> Array:
    """Return which images are in the first half: whole groups, and of each class about as many as in the second.

    The groups, in the order of the hashes of their names, each go to the half that has fewer images of their classes,
    or fewer in all.

    Examples
    --------
    >>> first_half(["a", "b", "c", "a", "b", "d"], np.array([0, 0, 0, 1, 1, 1]), seed=0)
    array([False,  True,  True, False,  True, False])
    """
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    first, lead = np.zeros(len(labels), dtype=bool), np.zeros(labels.max() + 1, dtype=int)  # more images in the first
    for group in sorted(members, key=lambda name: hashed(name, seed)):
        counts = np.bincount(labels[members[group]], minlength=len(lead))
        if_first, if_second = lead + counts, lead - counts
        to_first = (abs(if_first).sum(), abs(if_first.sum())) < (abs(if_second).sum(), abs(if_second.sum()))
        first[members[group]] = to_first
        lead = if_first if to_first else if_second
    return first


def reduced(pixels: Array, side: int = SIDE) -> Array:
    """Average blocks of pixels, so that the shorter side gets about this long; smaller images stay as they are.

    Examples
    --------
    >>> reduced(np.array([[10, 20], [20, 30]], dtype=np.uint8).reshape(1, 1, 2, 2), side=1)
    array([[[[20]]]], dtype=uint8)
    """
    n, c, h, w = pixels.shape
    block = max(1, min(h, w) // side)
    rows, columns = h // block, w // block
    blocks = pixels[:, :, : rows * block, : columns * block].reshape(n, c, rows, block, columns, block)
    return np.rint(blocks.mean(axis=(3, 5))).astype(np.uint8)
