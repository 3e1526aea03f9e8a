"""What is measured: training steps and inference of nets of the zoo, and single layers drawn from them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnn import zoo
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
SUITES = ("all", "train", "inference", "layers", "memory")

NETS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...], int]] = {  # each with its input and classes
    "small-cnn": (zoo.small_cnn, (1, 28, 28), 10),  # the reference net: what `cnn train` trains
    "lenet5": (zoo.lenet5, (1, 28, 28), 10),
    "resnet20": (partial(zoo.resnet, 20), (3, 32, 32), 10),
    "vgg": (zoo.vgg, (3, 32, 32), 10),
    "mobilenet": (zoo.mobilenet, (3, 32, 32), 10),
    "mlp": (zoo.mlp, (2,), 3),  # that of the spiral
}
REFERENCE = "small-cnn"
TRAINED = (
    *((REFERENCE, 32), (REFERENCE, 64), (REFERENCE, 256), ("lenet5", 64)),
    *(("resnet20", 64), ("vgg", 64), ("mobilenet", 64), ("mlp", 32)),
)
INFERRED = tuple((net, batch) for batch in (1, 256) for net in (REFERENCE, "resnet20", "mobilenet"))

# The zoo's nets but photo_cnn, which came later: layers drawn from it as well could not be compared with older figures
DRAWN_FROM: dict[str, tuple[Callable[[], Sequential], tuple[int, ...]]] = {
    **{name: (make, shape) for name, (make, shape, _) in NETS.items()},
    "squeezenet": (zoo.squeezenet, (3, 32, 32)),
    "densenet": (zoo.densenet, (3, 32, 32)),
    "inception": (zoo.inception, (3, 32, 32)),
    "unet": (zoo.unet, (1, 32, 32)),
}
DRAWN_CLASSES = (
    *(Conv2d, ConvTranspose2d, Linear, BatchNorm2d),
    *(MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, ReLU, Tanh),
)
DRAWN, LAYER_BATCH, SEED = 40, 64, 0


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes
    ----------
    kind : str
        TRAIN: a step of forward, loss, backward and Adam; INFERENCE: forward in evaluation mode; LAYER: forward and
        backward of one layer, with the gradients of its input and of its parameters.
    what : str
        Name of the net, or the layer as it is written.
    batch : int
    shape : tuple of int
        Of one sample.
    classes : int
        How many labels there are; 0 for a layer.
    make : callable
        Returns the net or layer.
    """

    kind: str
    what: str
    batch: int
    shape: tuple[int, ...]
    classes: int
    make: Callable[[], Module]

    @property
    def name(self) -> str:
        """Name the case in its table."""
        if self.kind == LAYER:
            return f"{self.what} {'x'.join(str(n) for n in self.shape)}"
        return f"{self.what}, batch {self.batch}"

    def data(self) -> tuple[Array, Array]:
        """Return random samples and labels.

        What a layer reads lies in memory as the layers of a net hand it on: images channel by channel at each pixel.
        What a net trains on no net can learn by heart: every sample comes twice, with two labels. Else thousands of
        steps on one batch would end in numbers so small (subnormal) that processors are slow with them.
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
        """Return how many multiplications, each with an addition, it takes; backward costs twice what forward does,
        but at the start of a net, where nobody needs the gradient of the data.
        """
        works = [row.multiply_adds for row in Summary(self.make(), self.shape).rows]
        steps = {INFERENCE: sum(works), LAYER: 3 * sum(works), TRAIN: 3 * sum(works) - works[0]}
        return self.batch * steps[self.kind]


def training(net: str, batch: int) -> Case:
    """Return a training step of a net."""
    make, shape, classes = NETS[net]
    return Case(TRAIN, net, batch, shape, classes, make)


def inference(net: str, batch: int) -> Case:
    """Return inference of a net."""
    make, shape, classes = NETS[net]
    return Case(INFERENCE, net, batch, shape, classes, make)


def layers() -> list[Case]:
    """Draw 40 layers, each with an input, from the ten nets of the zoo: four from each.

    A net's distinct pairs of layer and input shape are listed, at the zoo's default sizes (images of 28 x 28 or
    32 x 32): its convolutions, linear layers, norms, pools and activations. (Flatten, Dropout and Identity do hardly
    anything, and training joins the last Softmax with the loss.) Four are drawn at random, with a fixed seed, from
    those that no net before it gave; the batch is 64.
    """
    rng = np.random.default_rng(SEED)
    chosen: dict[tuple[str, tuple[int, ...]], Case] = {}
    for make, shape in DRAWN_FROM.values():
        model = make()
        found = {}
        outputs = model.build(shape)
        for layer, input_shape in _leaves("", model, shape, outputs):
            pair = (layer_text(layer), input_shape)
            if isinstance(layer, DRAWN_CLASSES) and pair not in chosen:
                found[pair] = layer
        pairs = list(found)
        for i in sorted(rng.choice(len(pairs), DRAWN // len(DRAWN_FROM), replace=False)):
            layer = found[pairs[i]]
            again = partial(type(layer), **layer.arguments())
            chosen[pairs[i]] = Case(LAYER, pairs[i][0], LAYER_BATCH, pairs[i][1], 0, again)
    return sorted(chosen.values(), key=lambda case: (case.what.partition("(")[0], -math.prod(case.shape)))


def _leaves(
    name: str, module: Module, shape: tuple[int, ...], outputs: dict[str, tuple[int, ...]]
) -> Iterator[tuple[Module, tuple[int, ...]]]:
    """Yield each layer with the shape of its input: in a row the output before it, side by side the same one."""
    if not module.children():
        yield module, shape
    for key, child in module.children().items():
        path = f"{name}.{key}" if name else key
        yield from _leaves(path, child, shape, outputs)
        if isinstance(module, Sequential):
            shape = outputs[path]


def layer_text(layer: Module) -> str:
    """Return a layer as one writes it: what must be told without its name, then what is not the default.

    Examples
    --------
    >>> layer_text(Conv2d(in_channels=8, out_channels=16, kernel_size=3, padding=1, bias=False))
    'Conv2d(8, 16, 3, padding=1, bias=False)'
    """
    plain = {name: _short(value) for name, value in layer.arguments().items()}
    _, _, inside = repr(layer).partition("(")
    told = [name for name in plain if f"{name}=" in inside]
    first = ("in_channels", "out_channels", "kernel_size", "in_features", "out_features", "num_features", "output_size")
    texts = [str(plain[name]) if name in first else f"{name}={plain[name]}" for name in told]
    return f"{type(layer).__name__}({', '.join(texts)})"


def _short(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def choose(suite: str = "all") -> tuple[list[Case], list[Case]]:
    """Return what to time and what to measure the memory of.

    Parameters
    ----------
    suite : str
        One of SUITES, the name of a net, or the class of a layer; in any case, with or without - and _.

    Raises
    ------
    ValueError
        If it is none of them; it says what there is.

    Examples
    --------
    >>> timed, weighed = choose("MobileNet")
    >>> [f"{case.kind}: {case.name}" for case in timed]
    ['train: mobilenet, batch 64', 'inference: mobilenet, batch 1', 'inference: mobilenet, batch 256']
    """
    word = _plain(suite)
    train = [training(*pair) for pair in TRAINED]
    infer = [inference(*pair) for pair in INFERRED]
    if word == "memory":
        return [], train
    if word in ("all", "train", "inference", "layers"):
        timed = {"train": train, "inference": infer, "layers": [], "all": train + infer}[word]
        return timed + (layers() if word in ("all", "layers") else []), train if word in ("all", "train") else []
    if word in map(_plain, NETS):
        return [case for case in train + infer if _plain(case.what) == word], [
            case for case in train if _plain(case.what) == word
        ]
    drawn = layers()
    classes = sorted({case.what.partition("(")[0] for case in drawn})
    if word not in map(_plain, classes):
        raise ValueError(unknown_name_message("suite", suite, [*SUITES, *NETS, *classes]))
    return [case for case in drawn if _plain(case.what.partition("(")[0]) == word], []


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
