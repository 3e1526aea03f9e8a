"""What can be trained: a data set by name or a folder of images, split in three, and a net for it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cnn.data
from cnn import zoo
from cnn.cli import folders
from cnn.cli.settings import DATA_SETS, FOLDER, Settings
from cnn.cli.terminal import note
from cnn.data.folder import image_folder
from cnn.data.images import printable
from cnn.data.intensity import Normalize
from cnn.errors import InputError
from cnn.module import Array
from cnn.sequential import Sequential

VALIDATION_IMAGES = 5_000  # of 60,000
SPIRAL_POINTS, SPIRAL_TEST_POINTS = 300, 100  # a class
SPIRAL_CLASSES = ["arm 0", "arm 1", "arm 2"]
IMAGE_SHAPE = (1, 28, 28)  # of every published data set
MLP_UNITS = (256, 128)  # for images; points are fine with the zoo's own
MANY = 5_000  # images

Transform = Callable[..., tuple[Array, Array]]  # (x, y, rng), see cnn.data.transforms


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, ready to train on and to test with.

    Attributes
    ----------
    name, title, source : str
        Its short name, after which a run folder may be called; in a sentence; and where it was found.
    things : str
        "images" or "points".
    class_names : list of str
    train, validation, test : pair of ndarray
        Samples and labels; images hold pixels 0 to 255 and points floats.
    data : str
        What `load` takes to have it again: the name, or the whole path of the folder.
    notes : list of str
        What a person must know before it is trained on, a line each.
    skipped : list of str
        Those of them that tell of files that could not be read.
    transforms : tuple
        Random changes of the training pixels, before `normalize`; see cnn.data.transforms.
    has_test : bool
        Whether the test samples are others than those for validation.
    scaling : dict
        How files become pixels, for the model file: size, colour and fit.
    """

    name: str
    title: str
    source: str
    things: str
    class_names: list[str]
    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]
    data: str = ""
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    transforms: tuple[Transform, ...] = ()
    has_test: bool = True
    scaling: dict[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.test[0].shape[1:]

    @property
    def has_images(self) -> bool:
        """Whether the samples are images."""
        return self.things == "images"


def expected(name: str) -> tuple[str, tuple[int, ...], list[str]]:
    """Return what a data set with a name is known to hold: -> (things, shape of a sample, class names)."""
    if name == "spiral":
        return "points", (2,), SPIRAL_CLASSES
    return "images", IMAGE_SHAPE, list(cnn.data.dataset_info(name).class_names)


def data_set(name: str) -> str:
    """Return what names a data set or is a folder, and raise an error that says what was looked for if it is neither.

    Examples
    --------
    >>> data_set("mnist")
    'mnist'
    >>> data_set("sprial")
    Traceback (most recent call last):
    ...
    cnn.errors.InputError: unknown data set 'sprial': did you mean 'spiral'? Known: fashion-mnist, mnist, spiral; and
    there is no folder sprial
    """
    if name in DATA_SETS or Path(name).is_dir():
        return name
    if os.path.lexists(name):
        raise InputError(f"{printable(name)} is a file: give the folder that holds a folder of images for each class")
    unknown = cnn.data.unknown_name_message("data set", name, DATA_SETS)
    raise InputError(f"{unknown}; and there is no folder {printable(name)}")


def load(
    name: str,
    seed: int,
    quiet: bool = False,
    image_size: int | tuple[int, int] | None = None,
    validation: float | None = None,
    grey: bool | None = None,
) -> Task:
    """Find, make or read a data set and hold a validation set out of it; the seed decides which samples.

    Parameters
    ----------
    name : str
        One of `DATA_SETS`, or else a folder, as `cnn.data.folder.image_folder` reads it. ``./spiral`` is a folder.
    seed : int
        The same seed gives the same samples.
    quiet : bool
        Whether to say nothing about a download, or of files that are read.
    image_size, validation, grey
        Of a folder; by default those of `FOLDER`, and grey if all images are.

    Raises
    ------
    InputError
        (a ValueError) If there is no such data set, or the folder cannot be trained on.
    cnn.data.DataError
        If the data set is not on this machine and cannot be downloaded.
    """
    if data_set(name) not in DATA_SETS:
        if not quiet:
            note(f"reading the images in {printable(name)} ...")
        assert FOLDER.validation is not None
        share = FOLDER.validation if validation is None else validation
        found = image_folder(name, image_size or FOLDER.image_size or 64, share, seed, grey)
        return Task(**folders.described(found))
    rng = np.random.default_rng(seed)
    x: Array
    if name == "spiral":
        x, y = cnn.data.spiral(SPIRAL_POINTS, len(SPIRAL_CLASSES), rng=rng)
        test = cnn.data.spiral(SPIRAL_TEST_POINTS, len(SPIRAL_CLASSES), rng=rng)
        train, held = split(x, y, len(x) // 5, rng)
        source = f"made with seed {seed}"
        return Task(name, "the spiral", source, "points", SPIRAL_CLASSES, train, held, test, name)
    info = cnn.data.dataset_info(name)
    dataset = cnn.data.load_dataset(info, quiet=quiet)
    x, y, x_test, y_test = dataset.arrays
    train, held = split(x, y, min(VALIDATION_IMAGES, len(x) // 5), rng)
    source = f"{dataset.source}, {dataset.folder}"
    return Task(name, info.title, source, "images", list(info.class_names), train, held, (x_test, y_test), name)


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
    """Make the net, with its classes and how pixels become inputs; the default generator draws its weights."""
    classes = len(task.class_names)
    nets = {"small-cnn": zoo.small_cnn, "photo-cnn": zoo.photo_cnn, "fashion-cnn": zoo.fashion_cnn}
    if chosen.model in nets:
        model = nets[chosen.model](task.input_shape, classes)  # type: ignore[arg-type]  # images have three axes
    elif task.has_images:
        model = zoo.mlp(task.input_shape, classes, hidden=MLP_UNITS)
    else:
        model = zoo.mlp(task.input_shape, classes)
    model.class_names, model.input_shape = task.class_names, task.input_shape
    if task.has_images:
        model.preprocessing = standardize(task.train[0]) | task.scaling
    return model


def standardize(pixels: Array) -> dict[str, Any]:
    """Return the preprocessing that gives each channel mean 0 and standard deviation 1, which speeds learning up.

    Parameters
    ----------
    pixels : ndarray of uint8, (N, C, H, W)
        The training images. Of many, every tenth is enough, and keeps the memory small.

    Notes
    -----
    Source: LeCun et al. 1998, Efficient BackProp, section 4.3.

    Examples
    --------
    >>> standardize(np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2))
    {'scale': 0.00392156862745098, 'mean': [0.5], 'std': [0.5]}
    """
    some = pixels[:: 10 if len(pixels) >= MANY else 1].astype(np.float64) / 255
    mean, std = some.mean(axis=(0, 2, 3)), some.std(axis=(0, 2, 3))
    return {"scale": 1 / 255, "mean": mean.round(4).tolist(), "std": np.maximum(std, 1e-4).round(4).tolist()}


def inputs(model: Sequential, samples: Array) -> Array:
    """Turn pixels into what the model reads; points it reads as they are."""
    return samples if samples.dtype.kind == "f" else model.preprocess(samples)


def normalize(model: Sequential) -> Normalize:
    """Return the transform that comes last: what `inputs` does, to a batch.

    Examples
    --------
    >>> model = zoo.mlp((1, 2, 2))
    >>> model.preprocessing = {"scale": 1 / 255, "mean": [0.5], "std": [0.25], "size": [2, 2]}
    >>> normalize(model)
    Normalize(mean=[0.5], std=[0.25], scale=0.00392156862745098)
    """
    settings = model.preprocessing or {}
    return Normalize(settings.get("mean", 0), settings.get("std", 1), settings.get("scale", 1 / 255))
