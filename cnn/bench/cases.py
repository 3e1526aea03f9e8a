"""The benchmark cases: training steps and inference of nets from the zoo, and single layers sampled from them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnn import zoo
from cnn.bench.nets import resnet18
from cnn.data import unknown_name_message
from cnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Linear,
    MaxPool2d,
    ReLU,
    Tanh,
)
from cnn.model.summary import Summary
from cnn.module import Array, Module
from cnn.sequential import Sequential

TRAIN, INFERENCE, LAYER = "train", "inference", "layer"
SUITES = ("all", "train", "inference", "layers", "memory", "small-images", "large-images")

NETS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...], int]] = {  # constructor, input shape, classes
    "small-cnn": (zoo.small_cnn, (1, 28, 28), 10),  # the reference net, the default model of `cnn train`
    "lenet5": (zoo.lenet5, (1, 28, 28), 10),
    "resnet20": (partial(zoo.resnet, 20), (3, 32, 32), 10),
    "vgg": (zoo.vgg, (3, 32, 32), 10),
    "mobilenet": (zoo.mobilenet, (3, 32, 32), 10),
    "mlp": (zoo.mlp, (2,), 3),  # the net for the spiral data
}
LARGE_NETS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...], int]] = {  # not in "all": they take long
    "resnet18": (resnet18, (3, 224, 224), 1000),
    "resnet18-128": (resnet18, (3, 128, 128), 1000),  # the same net on smaller images, for training
    "mobilenet-224": (partial(zoo.mobilenet, (3, 224, 224), 1000), (3, 224, 224), 1000),
}
REFERENCE = "small-cnn"
TRAIN_CASES = (  # net, batch size
    *((REFERENCE, 32), (REFERENCE, 64), (REFERENCE, 256), ("lenet5", 64)),
    *(("resnet20", 64), ("vgg", 64), ("mobilenet", 64), ("mlp", 32)),
)
INFERENCE_CASES = tuple((net, batch) for batch in (1, 256) for net in (REFERENCE, "resnet20", "mobilenet"))
SMALL_IMAGE_CASES = tuple(  # inference; with the large images, what `benchmarks/inference_opponents.py` measures
    (net, batch) for batch in (1, 64, 256) for net in (REFERENCE, "lenet5", "resnet20", "mobilenet")
)
LARGE_IMAGE_CASES = tuple((net, batch) for batch in (1, 8) for net in ("resnet18", "mobilenet-224"))
LARGE_TRAIN_CASES = (("resnet18-128", 8),)

# The nets of the zoo except those added later: layers sampled from them could not be compared with older results
LAYER_SOURCES: dict[str, tuple[Callable[[], Sequential], tuple[int, ...]]] = {
    **{name: (make, shape) for name, (make, shape, _) in NETS.items()},
    "squeezenet": (zoo.squeezenet, (3, 32, 32)),
    "densenet": (zoo.densenet, (3, 32, 32)),
    "inception": (zoo.inception, (3, 32, 32)),
    "unet": (zoo.unet, (1, 32, 32)),
}
LAYER_CLASSES = (
    *(Conv2d, ConvTranspose2d, Linear, BatchNorm2d),
    *(MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, ReLU, Tanh),
)
LAYER_COUNT, LAYER_BATCH, SEED = 40, 64, 0  # how many layers are sampled


@dataclass(frozen=True)
class Case:
    """One benchmark case.

    Attributes
    ----------
    kind : str
        TRAIN: a step of forward, loss, backward and Adam; INFERENCE: forward in evaluation mode; LAYER: forward and
        backward of one layer, with the gradients of its input and of its parameters.
    subject : str
        Name of the net, or the expression that makes the layer.
    batch : int
        Batch size.
    shape : tuple of int
        Shape of one sample.
    classes : int
        Number of classes; 0 for a layer.
    make : callable
        Returns a new net or layer.
    """

    kind: str
    subject: str
    batch: int
    shape: tuple[int, ...]
    classes: int
    make: Callable[[], Module]

    @property
    def name(self) -> str:
        """The name of the case in tables."""
        if self.kind == LAYER:
            return f"{self.subject} {'x'.join(str(n) for n in self.shape)}"
        return f"{self.subject}, batch {self.batch}"

    def data(self) -> tuple[Array, Array]:
        """Return random samples and labels.

        The input of a layer has the memory layout that layers of a net produce: images are channels-last. A batch
        for training cannot be memorized: every sample appears twice, with different labels. Otherwise thousands of
        steps on one batch would lead to numbers so small (subnormal) that processors are slow with them.
        """
        rng = np.random.default_rng(SEED)
        x: Array = rng.standard_normal((self.batch, *self.shape), np.float32)
        y: Array = rng.integers(0, max(1, self.classes), self.batch)
        if self.kind == LAYER and x.ndim == 4:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        if self.kind == TRAIN:
            half = self.batch // 2
            x[-half:], y[-half:] = x[:half], (y[:half] + 1) % self.classes
        return x, y

    def multiply_adds(self) -> int:
        """Return the number of multiply-adds; backward costs twice as many as forward, except in the first layer of a
        net, where the gradient of the data is not needed.
        """
        forward = [row.multiply_adds for row in Summary(self.make(), self.shape).rows]
        steps = {INFERENCE: sum(forward), LAYER: 3 * sum(forward), TRAIN: 3 * sum(forward) - forward[0]}
        return self.batch * steps[self.kind]


def training(net: str, batch: int) -> Case:
    """Return the case of a training step of a net."""
    make, shape, classes = (NETS | LARGE_NETS)[net]
    return Case(TRAIN, net, batch, shape, classes, make)


def inference(net: str, batch: int) -> Case:
    """Return the case of inference of a net."""
    make, shape, classes = (NETS | LARGE_NETS)[net]
    return Case(INFERENCE, net, batch, shape, classes, make)


def layers() -> list[Case]:
    """Sample 40 layers with their input shapes from ten nets of the zoo: four from each.

    Listed are a net's distinct pairs of layer and input shape, at the zoo's default sizes (images of 28 x 28 or
    32 x 32): its convolutions, linear layers, norms, pools and activations. (Flatten, Dropout and Identity do hardly
    any work, and training fuses the last Softmax with the loss.) Four are chosen at random, with a fixed seed, among
    those that no earlier net has; the batch size is 64.
    """
    rng = np.random.default_rng(SEED)
    chosen: dict[tuple[str, tuple[int, ...]], Case] = {}
    for make, shape in LAYER_SOURCES.values():
        model = make()
        found = {}
        outputs = model.build(shape)
        for layer, input_shape in _leaves("", model, shape, outputs):
            pair = (layer_text(layer), input_shape)
            if isinstance(layer, LAYER_CLASSES) and pair not in chosen:
                found[pair] = layer
        pairs = list(found)
        for i in sorted(rng.choice(len(pairs), LAYER_COUNT // len(LAYER_SOURCES), replace=False)):
            layer = found[pairs[i]]
            make_layer = partial(type(layer), **layer.arguments())
            chosen[pairs[i]] = Case(LAYER, pairs[i][0], LAYER_BATCH, pairs[i][1], 0, make_layer)
    return sorted(chosen.values(), key=lambda case: (case.subject.partition("(")[0], -math.prod(case.shape)))


def _leaves(
    name: str, module: Module, shape: tuple[int, ...], outputs: dict[str, tuple[int, ...]]
) -> Iterator[tuple[Module, tuple[int, ...]]]:
    """Yield each layer with its input shape: in a Sequential the previous output shape, in branches the same shape."""
    if not module.children():
        yield module, shape
    for key, child in module.children().items():
        path = f"{name}.{key}" if name else key
        yield from _leaves(path, child, shape, outputs)
        if isinstance(module, Sequential):
            shape = outputs[path]


def layer_text(layer: Module) -> str:
    """Return the expression that makes a layer: required arguments by position, then those that are not the default.

    Examples
    --------
    >>> layer_text(Conv2d(in_channels=8, out_channels=16, kernel_size=3, padding=1, bias=False))
    'Conv2d(8, 16, 3, padding=1, bias=False)'
    """
    plain = {name: _short(value) for name, value in layer.arguments().items()}
    _, _, inside = repr(layer).partition("(")
    shown = [name for name in plain if f"{name}=" in inside]
    first = ("in_channels", "out_channels", "kernel_size", "in_features", "out_features", "num_features", "output_size")
    texts = [str(plain[name]) if name in first else f"{name}={plain[name]}" for name in shown]
    return f"{type(layer).__name__}({', '.join(texts)})"


def _short(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def choose(suite: str = "all") -> tuple[list[Case], list[Case]]:
    """Return the cases to time, and those to measure the memory of.

    Parameters
    ----------
    suite : str
        One of SUITES, the name of a net, or the class of a layer; upper and lower case, - and _ make no difference.

    Raises
    ------
    ValueError
        If it is none of them; the message lists the known names.

    Examples
    --------
    >>> timed, memory = choose("MobileNet")
    >>> [f"{case.kind}: {case.name}" for case in timed]
    ['train: mobilenet, batch 64', 'inference: mobilenet, batch 1', 'inference: mobilenet, batch 256']
    """
    word = _plain(suite)
    train = [training(*pair) for pair in TRAIN_CASES]
    infer = [inference(*pair) for pair in INFERENCE_CASES]
    large = [training(*pair) for pair in LARGE_TRAIN_CASES] + [inference(*pair) for pair in LARGE_IMAGE_CASES]
    if word == "memory":
        return [], train
    if word == "smallimages":
        return [inference(*pair) for pair in SMALL_IMAGE_CASES], []
    if word == "largeimages":
        return large, []
    if word in map(_plain, LARGE_NETS):
        return [case for case in large if _plain(case.subject) == word], []
    if word in ("all", "train", "inference", "layers"):
        timed = {"train": train, "inference": infer, "layers": [], "all": train + infer}[word]
        return timed + (layers() if word in ("all", "layers") else []), train if word in ("all", "train") else []
    if word in map(_plain, NETS):
        return [case for case in train + infer if _plain(case.subject) == word], [
            case for case in train if _plain(case.subject) == word
        ]
    sampled = layers()
    classes = sorted({case.subject.partition("(")[0] for case in sampled})
    if word not in map(_plain, classes):
        raise ValueError(unknown_name_message("suite", suite, [*SUITES, *NETS, *LARGE_NETS, *classes]))
    return [case for case in sampled if _plain(case.subject.partition("(")[0]) == word], []


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
