"""How `cnn train` trains: for each recipe, the model, the training samples and the callbacks.

The recipes `fast` and `best` are for Fashion-MNIST; their settings were chosen on its validation images, as
docs/decisions/007 describes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn import zoo
from cnn.cli.datasets import Dataset, model_inputs
from cnn.cli.keep_best import KeepBest
from cnn.cli.train_settings import Settings
from cnn.core.rng import generator
from cnn.core.text import fields_text
from cnn.data import AlternatingFlip, DataLoader, RandomCrop, RandomErasing
from cnn.data.intensity import Normalize
from cnn.errors import InputError
from cnn.loss import CrossEntropyLoss
from cnn.module import Array
from cnn.optim import Adam, AdamW, OneCycleLR, decay_groups
from cnn.sequential import Sequential
from cnn.training import History, Scheduled, Step

MLP_UNITS = (256, 128)  # for images; for points, the defaults of zoo.mlp are fine
MANY_IMAGES = 5_000
MIN_ONE_CYCLE_STEPS = 10


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a training needs.

    Attributes
    ----------
    model : Sequential
        With loss and optimizer.
    loader : DataLoader
        The training samples.
    callbacks : list of callable
        Called after each step; their state is saved in checkpoints.
    after_step : callable
        Called after each step as well, but it has no state to save.
    schedule : str
        The learning rate schedule, for config.json.
    text : str
        A short description to print.
    class_weight : dict of int to float, optional
        How much each class counts in the training loss, but not in the losses on other samples.
    features : Dataset or None
        The data set as `model` takes it, if that is not its preprocessed images.
    whole : Sequential or None
        The model to save, if that is not `model` but contains its layers.
    record : dict
        More for config.json.
    remark : callable
        Returns what to say about the history of the finished training; "" for nothing.
    """

    model: Sequential
    loader: DataLoader
    callbacks: list[Any]
    after_step: Callable[[Step], None]
    schedule: str
    text: str
    class_weight: dict[int, float] | None = None
    features: Dataset | None = None
    whole: Sequential | None = None
    record: dict[str, Any] = field(default_factory=dict)
    remark: Callable[[History], str] = lambda history: ""

    __repr__ = fields_text


def plan(dataset: Dataset, settings: Settings) -> Plan:
    """Prepare the training; the default generator draws the weights and the order of the samples."""
    return {None: default, "fast": fast, "best": best}[settings.recipe](dataset, settings)


def default(dataset: Dataset, settings: Settings) -> Plan:
    """Adam with a learning rate that decreases linearly to 0: small last steps find a better minimum at no cost."""
    model = build(dataset, settings)
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=settings.lr)
    weights = balanced_weights(dataset.train[1], len(dataset.class_names)) if settings.balance else []
    callbacks = []
    if settings.keep_best is not None:
        callbacks = [KeepBest(settings.keep_best, *dataset.validation)]
    if dataset.transforms:
        transforms: list[Any] = [*dataset.transforms, normalize(model)]
        loader = DataLoader(*dataset.train, settings.batch_size, rng=generator(), transforms=transforms)
    else:
        x, y = dataset.train
        loader = DataLoader(model_inputs(model, x), y, settings.batch_size, rng=generator())

    def decrease(step: Step) -> None:
        step.model.optimizer.lr = settings.lr * (1 - step.progress)

    text = f"Adam, lr {settings.lr:g} decreasing to 0"
    return Plan(model, loader, callbacks, decrease, "linear to 0", text, dict(enumerate(weights)) or None)


def fast(dataset: Dataset, settings: Settings) -> Plan:
    """AdamW with a one-cycle schedule and label smoothing, on images that are flipped in every other epoch."""
    return one_cycle(dataset, settings, [AlternatingFlip()], "flipped")


def best(dataset: Dataset, settings: Settings) -> Plan:
    """`fast` for more epochs; against overfitting, images are also shifted, and a quarter of them lose a box."""
    transforms = [RandomCrop(padding=1), AlternatingFlip(), RandomErasing(p=0.25)]
    return one_cycle(dataset, settings, transforms, "shifted, flipped and partly erased")


def one_cycle(dataset: Dataset, settings: Settings, transforms: list[Any], transforms_text: str) -> Plan:
    """AdamW on transformed images; the learning rate increases during a fifth of all steps, then decreases to 0."""
    model = build(dataset, settings)
    model.loss_func = CrossEntropyLoss(label_smoothing=0.1)
    model.optimizer = AdamW(decay_groups(model, weight_decay=0.05), betas=(0.9, 0.99))
    transforms = [*transforms, normalize(model)]
    loader = DataLoader(*dataset.train, settings.batch_size, rng=generator(), transforms=transforms)
    schedule = OneCycleLR(
        model.optimizer,
        max_lr=settings.lr,
        total_steps=settings.epochs * len(loader),
        pct_start=0.2,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    if len(loader) * settings.epochs < MIN_ONE_CYCLE_STEPS:
        raise InputError(
            f"a recipe needs at least {MIN_ONE_CYCLE_STEPS} steps: give a smaller --batch-size or more --epochs"
        )
    text = f"AdamW, lr increasing to {settings.lr:g} and decreasing to 0, images {transforms_text}"
    return Plan(model, loader, [Scheduled(schedule, every="step")], lambda step: None, "one cycle", text)


def balanced_weights(labels: Array, classes: int) -> list[float]:
    """Return the weight of each class with which all classes together count the same: N / (K count).

    A class without images, as in one half of the trials of ``--augment auto``, gets the weight of a class with one.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1]), 2)
    [0.6666666666666666, 2.0]
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return (len(labels) / (classes * counts)).tolist()


def build(dataset: Dataset, settings: Settings) -> Sequential:
    """Make the model, with its class names and preprocessing; the default generator draws its weights."""
    classes = len(dataset.class_names)
    image_models = {"small-cnn": zoo.small_cnn, "photo-cnn": zoo.photo_cnn, "fashion-cnn": zoo.fashion_cnn}
    if settings.model in image_models:
        model = image_models[settings.model](dataset.input_shape, classes)  # type: ignore[arg-type]  # has three axes
    elif dataset.has_images:
        model = zoo.mlp(dataset.input_shape, classes, hidden=MLP_UNITS)
    else:
        model = zoo.mlp(dataset.input_shape, classes)
    model.class_names, model.input_shape = dataset.class_names, dataset.input_shape
    if dataset.has_images:
        model.preprocessing = standardize(dataset.train[0]) | dataset.image_conversion
    return model


def standardize(pixels: Array) -> dict[str, Any]:
    """Return the preprocessing that gives each channel mean 0 and standard deviation 1: training converges faster.

    Parameters
    ----------
    pixels : ndarray of uint8, (N, C, H, W)
        The training images. Of many images, every tenth is enough, and saves memory.

    Notes
    -----
    Source: LeCun et al. 1998, Efficient BackProp, section 4.3.

    Examples
    --------
    >>> standardize(np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2))
    {'scale': 0.00392156862745098, 'mean': [0.5], 'std': [0.5]}
    """
    some = pixels[:: 10 if len(pixels) >= MANY_IMAGES else 1].astype(np.float64) / 255
    mean, std = some.mean(axis=(0, 2, 3)), some.std(axis=(0, 2, 3))
    return {"scale": 1 / 255, "mean": mean.round(4).tolist(), "std": np.maximum(std, 1e-4).round(4).tolist()}


def normalize(model: Sequential) -> Normalize:
    """Return the last transform of a batch, which computes the same as the model's preprocessing.

    Examples
    --------
    >>> model = zoo.mlp((1, 2, 2))
    >>> model.preprocessing = {"scale": 1 / 255, "mean": [0.5], "std": [0.25], "size": [2, 2]}
    >>> normalize(model)
    Normalize(mean=[0.5], std=[0.25], scale=0.00392156862745098)
    """
    settings = model.preprocessing or {}
    return Normalize(settings.get("mean", 0), settings.get("std", 1), settings.get("scale", 1 / 255))
