"""What can be trained by name: a data set, split in three, and a net for it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import cnn.data
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.module import Array
from cnn.optim import Adam
from cnn.sequential import Sequential

DATA_SETS = ("fashion-mnist", "mnist", "spiral")
MODELS = ("mlp", "small-cnn")
VALIDATION_IMAGES = 5_000  # of 60,000
SPIRAL_POINTS, SPIRAL_TEST_POINTS = 300, 100  # a class
SPIRAL_CLASSES = ["arm 0", "arm 1", "arm 2"]
IMAGE_SHAPE = (1, 28, 28)  # of every published data set
MLP_UNITS = (256, 128)  # for pictures; points are fine with the zoo's own


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    model : str
        One of `MODELS`.
    epochs, batch_size : int
    lr : float
        Adam's learning rate.
    seed : int
        Of the initial weights, the order of the samples, the validation set and the spiral's points.
    """

    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int = 0


PICTURES = Settings("small-cnn", epochs=4, batch_size=64, lr=2e-3)
POINTS = Settings("mlp", epochs=100, batch_size=32, lr=1e-2)


def settings(data_set: str, **chosen: Any) -> Settings:
    """Return the settings that suit a data set, with what was chosen (is not None) in their place.

    Raises
    ------
    ValueError
        If the model cannot read the data.

    Examples
    --------
    >>> settings("fashion-mnist", epochs=2, lr=None)
    Settings(model='small-cnn', epochs=2, batch_size=64, lr=0.002, seed=0)
    """
    usual = POINTS if data_set == "spiral" else PICTURES
    result = replace(usual, **{name: value for name, value in chosen.items() if value is not None})
    if data_set == "spiral" and result.model == "small-cnn":
        raise ValueError("--model small-cnn reads pictures, but spiral has points: use --model mlp")
    return result


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, ready to train on and to test with.

    Attributes
    ----------
    name, title, source : str
        Its name on the command line, in a sentence, and where it was found.
    things : str
        "images" or "points".
    class_names : list of str
    train, validation, test : pair of ndarray
        Samples and labels; images hold pixels 0 to 255 and points floats.
    """

    name: str
    title: str
    source: str
    things: str
    class_names: list[str]
    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.test[0].shape[1:]

    @property
    def has_images(self) -> bool:
        """Whether the samples are images."""
        return self.things == "images"


def expected(name: str) -> tuple[str, tuple[int, ...], list[str]]:
    """Return what a data set is known to hold, without a look at it: -> (things, shape of a sample, class names)."""
    if name == "spiral":
        return "points", (2,), SPIRAL_CLASSES
    return "images", IMAGE_SHAPE, list(cnn.data.dataset(name).class_names)


def load(name: str, seed: int, quiet: bool = False) -> Task:
    """Find or make a data set and hold a validation set out of its training set; the seed decides which samples.

    Parameters
    ----------
    name : str
        One of `DATA_SETS`.
    seed : int
        The same seed gives the same samples.
    quiet : bool
        Whether to say nothing about a download.

    Raises
    ------
    cnn.data.DataError
        If the data set is not on this machine and cannot be downloaded.
    """
    rng = np.random.default_rng(seed)
    x: Array
    if name == "spiral":
        x, y = cnn.data.spiral(SPIRAL_POINTS, len(SPIRAL_CLASSES), rng=rng)
        test = cnn.data.spiral(SPIRAL_TEST_POINTS, len(SPIRAL_CLASSES), rng=rng)
        train, validation = split(x, y, len(x) // 5, rng)
        source = f"made with seed {seed}"
        return Task(name, "the spiral", source, "points", SPIRAL_CLASSES, train, validation, test)
    info = cnn.data.dataset(name)
    located = cnn.data.locate(info, quiet=quiet)
    x, y, x_test, y_test = located.arrays
    train, validation = split(x, y, min(VALIDATION_IMAGES, len(x) // 5), rng)
    source = f"{located.source}, {located.folder}"
    return Task(name, info.title, source, "images", list(info.class_names), train, validation, (x_test, y_test))


def split(x: Array, y: Array, count: int, rng: np.random.Generator) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Hold out ``count`` samples, of each class the same share: -> (the rest, what is held out).

    Examples
    --------
    >>> y = np.array([0, 1] * 10)
    >>> (_, y_train), (_, y_held) = split(np.arange(20), y, 4, np.random.default_rng(0))
    >>> len(y_train), np.bincount(y_held)
    (16, array([2, 2]))
    """
    order = rng.permutation(len(x))
    order = order[np.argsort(y[order], kind="stable")]  # by class, and random within a class
    held = np.zeros(len(x), dtype=bool)
    held[order[np.arange(count) * len(x) // count]] = True  # evenly along that order
    return (x[~held], y[~held]), (x[held], y[held])


def build(task: Task, chosen: Settings) -> Sequential:
    """Make the net, ready to train; the default generator draws its weights."""
    classes = len(task.class_names)
    if chosen.model == "small-cnn":
        model = zoo.small_cnn(task.input_shape, classes)  # type: ignore[arg-type]  # pictures have three axes
    elif task.has_images:
        model = zoo.mlp(task.input_shape, classes, hidden=MLP_UNITS)
    else:
        model = zoo.mlp(task.input_shape, classes)
    model.loss_func = CrossEntropyLoss()
    model.optimizer = Adam(lr=chosen.lr)
    model.class_names, model.input_shape = task.class_names, task.input_shape
    if task.has_images:
        model.preprocessing = standardize(task.train[0])
    return model


def standardize(pixels: Array) -> dict[str, Any]:
    """Return the preprocessing that gives each channel mean 0 and standard deviation 1, which speeds learning up.

    Parameters
    ----------
    pixels : ndarray of uint8, (N, C, H, W)
        The training images. Every tenth is enough, and keeps the memory small.

    Notes
    -----
    Source: LeCun et al. 1998, Efficient BackProp, section 4.3.

    Examples
    --------
    >>> standardize(np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2))
    {'scale': 0.00392156862745098, 'mean': [0.5], 'std': [0.5]}
    """
    some = pixels[::10].astype(np.float64) / 255
    mean, std = some.mean(axis=(0, 2, 3)), some.std(axis=(0, 2, 3))
    return {"scale": 1 / 255, "mean": mean.round(4).tolist(), "std": np.maximum(std, 1e-4).round(4).tolist()}


def inputs(model: Sequential, samples: Array) -> Array:
    """Turn pixels into what the model reads; points it reads as they are."""
    return samples if samples.dtype.kind == "f" else model.preprocess(samples)
