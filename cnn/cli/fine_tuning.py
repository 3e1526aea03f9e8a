"""The trainings of `cnn train --pretrained` and `--from`: first a new head alone, then, if asked for, the upper layers.

docs/decisions/014-pretrained.md has the measurements behind the numbers.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import training
from cnn.cli import features
from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset
from cnn.cli.formatting import count_text
from cnn.cli.keep_best import KeepBest
from cnn.cli.plan_text import plan_text
from cnn.cli.pretrained import Start
from cnn.cli.terminal import LiveCount, print_stderr
from cnn.cli.train_recipes import Plan, balanced_weights
from cnn.cli.train_settings import Settings
from cnn.core.rng import generator
from cnn.core.text import printable
from cnn.data import DataLoader
from cnn.layers import Identity
from cnn.layers.batchnorm import BatchNorm
from cnn.loss import CrossEntropyLoss
from cnn.module import Array, Module
from cnn.optim import Adam
from cnn.sequential import Sequential
from cnn.training import History, Step

VERSIONS = 4  # of each training image, with --augment
FINE_TUNE_LR = 3e-5  # of the upper layers and the head


def plan(start: Start, dataset: Dataset, settings: Settings, changes: Augmentation, quiet: bool = False) -> Plan:
    """Print the plan, compute the features, and prepare to train on them; with ``--fine-tune``, train the head first.

    Parameters
    ----------
    start : Start
        The net to start from. Its layers are those of the plan.
    dataset : Dataset
        The images.
    settings : Settings
        The options.
    changes : Augmentation
        The random changes of the versions.
    quiet : bool
        Whether to print nothing.
    """
    tell: Callable[[str], None] = (lambda line: None) if quiet else print_stderr
    head = start.new_head(len(dataset.class_names))
    whole = start.whole(head, dataset.class_names, dataset.image_conversion)
    lower, upper, how = start.layers, list[Module](), head_text(settings.lr)
    if settings.fine_tune is not None:
        lower, upper = start.layers[: start.first_upper], start.layers[start.first_upper :]
        how = upper_text(settings.epochs)
    frozen = Sequential(lower or [Identity()]).freeze()
    tell(plan_text(dataset, settings, Sequential([*upper, *head]), how, changes, whole))
    if not start.preprocessing:
        tell(
            f"warning: {printable(start.name)} does not say how its pixels are scaled: they are divided by 255. If "
            "that is wrong, load it in Python, set model.preprocessing, and start from what model.save writes"
        )
    began = time.monotonic()
    data = of_dataset(frozen, whole, dataset, settings, changes, quiet)
    tell(f"  done in {time.monotonic() - began:.0f} s")
    if settings.fine_tune is None:
        return head_plan(head, data, settings, whole)
    tell("computing what the upper layers give for them, to train the head first ...")
    on_top = after_layers(Sequential(upper), data, quiet)
    first = head_plan(head, on_top, dataclasses.replace(settings, keep_best=None), whole)
    train_head(first, on_top, settings.epochs)
    loss, accuracy = first.model.evaluate(*on_top.validation)
    epochs = count_text(settings.epochs, "epoch")
    tell(f"  the head, after {epochs}: validation loss {loss:.4f}, accuracy {accuracy:.4f}")
    record = {"head": {"epochs": settings.epochs, "validation_loss": loss, "validation_accuracy": accuracy}}
    return upper_plan(upper, head, data, settings, whole, record, how)


def plan_on_features(
    start: Start, data: Dataset, settings: Settings, record: dict[str, Any], weights: dict[str, Array]
) -> Plan:
    """Prepare to train as `plan` does, on features that another process has computed.

    Parameters
    ----------
    start : Start
        The net to start from.
    data : Dataset
        The features instead of images; those of a training image have versions.
    settings : Settings
        The options.
    record : dict
        That of the other process's plan.
    weights : dict of str to ndarray
        Those of its model.
    """
    head = start.new_head(len(data.class_names))
    whole = start.whole(head, data.class_names, data.image_conversion)
    upper = [] if settings.fine_tune is None else start.layers[start.first_upper :]
    Sequential([*upper, *head]).load_state_dict(weights)
    if settings.fine_tune is None:
        return head_plan(head, data, settings, whole)
    return upper_plan(upper, head, data, settings, whole, record, upper_text(settings.epochs))


def head_text(lr: float) -> str:
    """Return how the head is trained alone."""
    return f"Adam, lr {lr:g} decreasing to 0, of a new head; the other layers stay as they are"


def upper_text(epochs: int) -> str:
    """Return how the upper layers are trained, after so many epochs of the head.

    Examples
    --------
    >>> upper_text(40)
    'Adam, lr 3e-05 decreasing to 0, of the upper layers and the head, after 40 epochs of the head alone'
    """
    first = count_text(epochs, "epoch")
    return (
        f"Adam, lr {FINE_TUNE_LR:g} decreasing to 0, of the upper layers and the head, after {first} of the head alone"
    )


def of_dataset(
    frozen: Sequential,
    whole: Sequential,
    dataset: Dataset,
    settings: Settings,
    changes: Augmentation,
    quiet: bool,
) -> Dataset:
    """Return the data set with features instead of images; the training images have several versions.

    The features of a training image are (versions, ...), those of the others (...).
    """
    shape = frozen(np.zeros((0, *dataset.input_shape), np.float32)).shape[1:]
    images = len(dataset.train[0])
    wanted = VERSIONS if changes.transforms else 1
    versions = features.number_of_versions(images, math.prod(shape), wanted)
    parts = [dataset.validation[0], *([dataset.test[0]] if dataset.has_test else [])]
    total = versions * images + sum(len(x) for x in parts)
    in_versions = f", the training images in {versions} versions" if versions > 1 else ""
    live = LiveCount(total, "images", beside_results=False)
    before = 0

    def show(done: int) -> None:
        if not quiet:
            live.show(before + done)

    def compute(x: Array, versions: int = 1) -> Array:
        nonlocal before
        found = features.of_pixels(frozen, x, whole.preprocess, changes.transforms, versions, settings.seed, show)
        before += versions * len(x)
        return found

    if not quiet:
        count = images + total - versions * images
        print_stderr(f"computing what the frozen layers give for {count:,} images{in_versions} ...")
        if (size := 4 * total * math.prod(shape)) > features.MAX_BYTES:
            print_stderr(f"warning: this takes {size / 2**30:.1f} GiB of memory")
        if versions < wanted:
            print_stderr(
                f"warning: only {versions} of {wanted} versions of each training image fit in memory: the changes of "
                f"--augment {'are not made' if versions == 1 else 'are made less often'}"
            )
    try:
        train = compute(dataset.train[0], versions)
        held_out = [compute(x)[:, 0] for x in parts]
    finally:
        live.hide()
    return dataclasses.replace(
        dataset,
        train=(train, dataset.train[1]),
        validation=(held_out[0], dataset.validation[1]),
        test=(held_out[-1], dataset.test[1]),
    )


def after_layers(upper: Sequential, data: Dataset, quiet: bool) -> Dataset:
    """Return a data set of features after further layers: those of training images have versions, the others not."""
    (x, y), (x_val, y_val) = data.train, data.validation
    live = LiveCount(x.shape[0] * x.shape[1] + len(x_val), "images", beside_results=False)
    count = 0

    def show(more: int) -> None:
        nonlocal count
        count += more
        if not quiet:
            live.show(count)

    try:
        x, x_val = (features.of_features(upper, part, show) for part in (x, x_val[:, None]))
    finally:
        live.hide()
    return dataclasses.replace(data, train=(x, y), validation=(x_val[:, 0], y_val))


def head_plan(head: list[Module], data: Dataset, settings: Settings, whole: Sequential) -> Plan:
    """Adam on the new head alone, with a learning rate that decreases linearly to 0."""
    model = Sequential(head)
    model.optimizer = Adam(lr=settings.lr)
    return _plan(model, data, settings, whole, settings.lr, head_text(settings.lr), {})


def upper_plan(
    upper: list[Module],
    head: list[Module],
    data: Dataset,
    settings: Settings,
    whole: Sequential,
    record: dict[str, Any],
    text: str,
) -> Plan:
    """Adam at a small rate on the upper layers and the head; batch normalization keeps its statistics.

    The head as it was before may stay the best (``--keep-best``).
    """
    model = Sequential([*upper, *head])
    for module in Sequential(upper).modules():
        if isinstance(module, BatchNorm):
            module.freeze().requires_grad_(True)
    model.optimizer = Adam(lr=FINE_TUNE_LR)
    made = _plan(model, data, settings, whole, FINE_TUNE_LR, text, {"fine_tune_lr": FINE_TUNE_LR, **record})
    for kept in made.callbacks:
        kept.start_with(model)
    before = record["head"]["validation_accuracy"], record["head"]["validation_loss"]
    return dataclasses.replace(made, remark=lambda history: remark(*before, history))


def remark(accuracy: float, loss: float, history: History) -> str:
    """Return that the training of the upper layers did not help, if it did not; before it was the accuracy given.

    Examples
    --------
    >>> history = History(train_loss=[0.3], val_loss=[0.5], train_accuracy=[0.9], val_accuracy=[0.8], seconds=[1.0])
    >>> remark(0.9, 0.4, history)
    'training the upper layers did not help: validation accuracy 0.9000 before it, 0.8000 after; omit --fine-tune, or
    give --keep-best accuracy'
    >>> remark(0.7, 0.6, history)
    ''
    """
    if not len(history) or (-history.val_accuracy[-1], history.val_loss[-1]) <= (-accuracy, loss):
        return ""
    after = f"validation accuracy {accuracy:.4f} before it, {history.val_accuracy[-1]:.4f} after"
    return f"training the upper layers did not help: {after}; omit --fine-tune, or give --keep-best accuracy"


def _plan(
    model: Sequential,
    data: Dataset,
    settings: Settings,
    whole: Sequential,
    lr: float,
    text: str,
    record: dict[str, Any],
) -> Plan:
    weights = balanced_weights(data.train[1], len(data.class_names)) if settings.balance else []
    model.loss_func = CrossEntropyLoss()
    model.class_names = whole.class_names
    callbacks = []
    if settings.keep_best is not None:
        callbacks = [KeepBest(settings.keep_best, *data.validation)]
    x, y = data.train
    loader = DataLoader(x, y, settings.batch_size, rng=generator(), transforms=[features.OneVersion()])
    first = dataclasses.replace(data, train=(x[:, 0], y))
    record = {"versions_per_image": x.shape[1], **record}

    def decrease(step: Step) -> None:
        step.model.optimizer.lr = lr * (1 - step.progress)

    class_weight = dict(enumerate(weights)) or None
    return Plan(model, loader, callbacks, decrease, "linear to 0", text, class_weight, first, whole, record)


def train_head(plan: Plan, data: Dataset, epochs: int) -> None:
    """Train the head to the end, without a record of its epochs: it takes seconds."""
    for step in training.train(plan.model, plan.loader, epochs=epochs, class_weight=plan.class_weight):
        plan.after_step(step)
