"""The net that `cnn train --pretrained` or `--from FILE` starts from, and its parts: what stays, what is trained."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from cnn import zoo
from cnn.cli import model_arguments
from cnn.cli.formatting import sample_shape_text
from cnn.cli.train_settings import Settings
from cnn.containers.branches import Residual
from cnn.containers.graph import INPUT, Graph
from cnn.containers.joins import Concatenate
from cnn.core.text import printable
from cnn.data.image_fit import BACKGROUNDS, FITS, PADDED
from cnn.errors import InputError
from cnn.interop.onnx.reading import read
from cnn.layers import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, LayerNorm, Linear, LogSoftmax, Softmax
from cnn.module import Module, Parameter, evaluating
from cnn.sequential import Sequential

MODEL = "efficientnet-lite0"  # of --pretrained
DEPTH_SCALE = 0.5  # of each normalized mean of `with_depths`
RECOMMENDED = 30  # images per class; docs/fine_tuning.md has the accuracies


class Start:
    """A trained net, without its last layer.

    Parameters
    ----------
    name : str
        What config.json calls the model.
    net : Sequential
        The net.
    fit : str, optional
        How images of other proportions are brought to its size; by default as its preprocessing says.
    depths : bool
        Whether the new head reads what several of the upper layers are given, too: `with_depths`.

    Attributes
    ----------
    name : str
        What config.json calls the model.
    outer : list of Module
        The layers before the last Linear one, which computed the classes.
    dropout : list of Module
        The Dropout layers between these and the Linear one: they belong to the new head.
    layers : list of Module
        Those of `outer`, with rows of layers taken apart.
    first_upper : int
        The index of the first of the upper layers, which ``--fine-tune`` trains.
    features : int
        The number of values that the layers give for an image.
    input_shape : tuple of int
    preprocessing : dict
    fit : str
        How images of other proportions are brought to the size of the net.
    background : str or None
        What transparent pixels become; None: the background on which the images are visible.
    """

    def __init__(self, name: str, net: Sequential, fit: str | None = None, depths: bool = False) -> None:
        self.name = name
        net.to(np.float32)  # like the new head
        self.outer, self.dropout = layers_before_last_linear(name, net), list[Module]()
        while self.outer and isinstance(self.outer[-1], Dropout):
            self.dropout.insert(0, self.outer.pop())
        self.input_shape = image_shape(name, net)
        if depths:
            self.outer = with_depths(name, self.outer, self.input_shape)
        self.layers = [inner for layer in self.outer for inner in flat(layer)]
        self.preprocessing: dict[str, Any] = net.preprocessing or {}
        own = self.preprocessing.get("fit")
        self.fit = fit or (own if own in FITS else PADDED)
        background = self.preprocessing.get("background")
        self.background = background if fit is None and background in BACKGROUNDS else None
        shapes = [self.input_shape, *shapes_after(name, self.layers, self.input_shape)]
        if len(shapes[-1]) != 1:
            raise InputError(f"{name} gives {shapes[-1]} values before its last Linear layer, expected a row of them")
        self.features = shapes[-1][0]
        self.first_upper = first_upper(self.layers, shapes)

    def reading(self) -> dict[str, Any]:
        """Return the arguments of `datasets.load` with which images are read as the net read them."""
        grey = self.input_shape[0] == 1
        return {
            "image_size": self.input_shape[1:],
            "grey": grey,
            "fit": self.fit,
            "background": self.background,
            "recommended": RECOMMENDED,
        }

    def new_head(self, classes: int) -> list[Module]:
        """Return new last layers, for this number of classes; the default generator draws the weights."""
        return [*self.dropout, Linear(self.features, classes), Softmax()]

    def whole(self, head: list[Module], class_names: list[str], conversion: dict[str, Any]) -> Sequential:
        """Return the whole net with a new head, which is what a run saves; it shares the layers."""
        net = Sequential([*self.outer, *head])
        net.class_names, net.input_shape = class_names, self.input_shape
        net.preprocessing = self.preprocessing | conversion
        return net


def load(settings: Settings) -> Start | None:
    """Return the net that a training starts from; None if it starts from random weights.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no net for images that ends with a Linear layer; if ``--image-size`` is
        missing or too much; or if the weights of ``--pretrained`` are not installed.
    """
    if settings.start is not None:
        start = Start(settings.start, net_in(model_arguments.find_model(settings.start), settings.image_size))
        own = max(start.input_shape[1:])
        if settings.image_size not in (None, own):
            raise InputError(
                f"--image-size {settings.image_size} does not fit {printable(start.name)}, which takes images of "
                f"{sample_shape_text(start.input_shape)}: omit it"
            )
        return start
    if not settings.pretrained:
        return None
    try:
        return Start(MODEL, zoo.efficientnet_lite0(pretrained=True), PADDED, depths=True)
    except ImportError as error:
        raise ValueError(f"--pretrained: {error}") from error


def net_in(path: Path, image_size: int | None) -> Sequential:
    """Return the net in a file; ``image_size`` is the side of its images where an .onnx file leaves that open."""
    sizes = read(path).shape[1:] if path.suffix == ".onnx" else ()
    if None not in sizes:
        return model_arguments.load_model(path)
    if image_size is None:
        raise InputError(
            f"{printable(path)} leaves the size of its images open: give --image-size N, the side in pixels of the "
            "images that it was made for, such as --image-size 224"
        )
    if set(sizes) == {None}:
        sizes = (3, *sizes[1:])
    return model_arguments.load_model(path, tuple(image_size if n is None else n for n in sizes))


def layers_before_last_linear(name: str, net: Sequential) -> list[Module]:
    """Return the layers of a net, without the Linear one that computes the classes and the Softmax after it."""
    layers = list(net)
    while layers and isinstance(layers[-1], (Softmax, LogSoftmax, Sequential)):
        last = layers.pop()
        layers += list(last) if isinstance(last, Sequential) else []
    if len(layers) < 2 or not isinstance(layers[-1], Linear):
        kind = type(layers[-1]).__name__ if layers else "nothing"
        raise InputError(
            f"{printable(name)} ends with {kind}, expected a net whose last layer is Linear, with or without Softmax: "
            "only that layer is replaced for other classes"
        )
    return layers[:-1]


def flat(layer: Module) -> list[Module]:
    """Return the layers of a row of layers, with those of rows inside it; [layer] if it is no row."""
    if type(layer) is not Sequential:
        return [layer]
    return [inner for each in layer for inner in flat(each)]


def image_shape(name: str, net: Sequential) -> tuple[int, int, int]:
    """Return (channels, height, width) of the images that a net takes."""
    shape = net.input_shape
    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        known = "it does not say" if shape is None else f"it takes inputs of {shape}"
        raise InputError(f"{printable(name)} must take images, (1 or 3, height, width), but {known}")
    return shape[0], shape[1], shape[2]


def shapes_after(name: str, layers: list[Module], input_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of a sample after each of the layers, as an empty batch shows."""
    x, shapes = np.zeros((0, *input_shape), np.float32), []
    with evaluating():
        for layer in layers:
            try:
                x = layer(x)
            except ValueError as error:
                raise InputError(f"{printable(name)} does not take images of {input_shape}: {error}") from None
            shapes.append(x.shape[1:])
    return shapes


def with_depths(name: str, layers: list[Module], input_shape: tuple[int, ...]) -> list[Module]:
    """Return layers that give more for an image: also the means over the image of what each upper block is given.

    The last layer of a net knows what is in an image, and the ones before it more of how it looks. The images of a user
    tell which of that counts. The upper layers become one Graph. Its output is the means of each depth, each normalized
    on its own (`LayerNorm`), so that no depth outweighs another, and then what the last layer gives, as it was.

    Parameters
    ----------
    name : str
        Of the net, for errors.
    layers : list of Module
        Those before the last Linear layer.
    input_shape : tuple of int
        Of an image.

    Notes
    -----
    Source: Hariharan, Arbelaez, Girshick and Malik 2015, Hypercolumns for object segmentation and fine-grained
    localization, arXiv 1411.5752. docs/decisions/014-pretrained.md has the measurements.
    """
    inner = [flat(layer) for layer in layers]
    row = [each for layer in inner for each in layer]
    upper = first_upper(row, [input_shape, *shapes_after(name, row, input_shape)])
    first = next(i for i in range(len(layers)) if sum(map(len, inner[:i])) >= upper)
    shapes = [input_shape, *shapes_after(name, layers, input_shape)]
    nodes, depths, value = list[tuple[str, Module, Any]](), list[str](), INPUT
    for i, layer in enumerate(layers[first:], first):
        if isinstance(layer, (Sequential, Residual, Conv2d)):
            norm = LayerNorm(shapes[i][0])
            norm.weight = Parameter(np.full(shapes[i][0], DEPTH_SCALE, np.float32))
            nodes.append((f"depth{i}", Sequential([AdaptiveAvgPool2d(1), Flatten(), norm]), value))
            depths.append(f"depth{i}")
        nodes.append((f"layer{i}", layer, value))
        value = f"layer{i}"
    nodes.append(("features", Concatenate(), [*depths, value]))
    return [*layers[:first], Graph(nodes, "features")]


def first_upper(layers: list[Module], shapes: list[tuple[int, ...]]) -> int:
    """Return the index of the first layer to train again: from there on the images are smallest.

    It is the last layer that makes them smaller, before they become a row of numbers, or the start of the block that it
    is in: the last layer before it that has fewer values, because the images have fewer channels there. From there on a
    net has most of its parameters, but not most of its work, and what it knows is least general. A container inside
    which images become a row of numbers has the upper layers, as `with_depths` made it.

    Parameters
    ----------
    layers : list of Module
        In a row.
    shapes : list of tuple of int
        Of a sample before the first layer, and after each layer.

    Examples
    --------
    >>> from cnn.layers import AvgPool2d, Conv2d, Flatten
    >>> layers = [Conv2d(3, 4, 3, padding=1), AvgPool2d(2), Conv2d(4, 8, 3, padding=1), AvgPool2d(2), Flatten()]
    >>> first_upper(layers, [(3, 8, 8), (4, 8, 8), (4, 4, 4), (8, 4, 4), (8, 2, 2), (32,)])
    2
    """
    sizes = [math.prod(shape[1:]) if len(shape) == 3 else 0 for shape in shapes]  # pixels of a channel
    for i, layer in enumerate(layers):
        if sizes[i] > 0 and sizes[i + 1] == 0 and layer.parameters():
            return i
    smaller = [
        i
        for i, layer in enumerate(layers)
        if 0 < sizes[i + 1] < sizes[i] and any(each.parameters() for each in layers[i:])
    ]
    if not smaller:
        return 0
    last = smaller[-1]
    if not layers[last].parameters():
        return last + 1
    values = [math.prod(shape) for shape in shapes]
    block = [i for i in range(last) if sizes[i] == sizes[last] and values[i] < values[last]]
    return block[-1] if block else last
