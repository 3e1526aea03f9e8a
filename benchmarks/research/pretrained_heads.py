"""What the head of `cnn train --pretrained` should read, of what the frozen net gives.

python benchmarks/research/pretrained_heads.py SETS CACHE [SET ...]

SETS is the folder of training images that benchmarks/own_image_sets.py has built. In each of three draws, by a hash of
the names, 24 images of each class train, as many as `cnn train` leaves of 30, or half where there are fewer than 48;
the others judge. Each line has the mean accuracy in percent and the mean loss of the draws, of each set, and last the
mean accuracy of all sets. CACHE keeps what the frozen layers give for the images, a few hundred megabytes a set.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import training, zoo
from cnn.cli import pretrained
from cnn.data import DataLoader
from cnn.data.folder_splits import hashed
from cnn.data.image_files import read_images
from cnn.data.image_fit import PADDED
from cnn.layers import Dropout, Linear, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.module import Array, evaluating
from cnn.optim import AdamW
from cnn.sequential import Sequential

SETS = ("stamps", "clipart", "photo-crops", "garments", "emoji-apple")
DRAWS = 3
TO_TRAIN = 24
BLOCKS = range(3, 20)  # layers of EfficientNet-Lite0: of each, what it is given is kept; 19 follows the last block
UPPER = range(14, 20)
Features = dict[str, Array]


def computed(folder: Path, cache: Path) -> Features:
    """Return what is kept of the images of a set: of each layer of BLOCKS the mean, the standard deviation and the
    maximum over the image, of layer 14 everything, and what the last layer gives; all for mirrored images, too.
    """
    file = cache / f"{folder.name}.npz"
    if not file.is_file():
        names = sorted(path.name for path in folder.iterdir())
        files = [path for name in names for path in sorted((folder / name).iterdir())]
        pixels = read_images(files, (224, 224), False, [], None, PADDED).pixels
        net = zoo.efficientnet_lite0(pretrained=True)
        found: dict[str, list[Array]] = {}
        with evaluating():
            for start in range(0, len(pixels), 32):
                for side, part in (
                    ("", pixels[start : start + 32]),
                    ("mirrored ", pixels[start : start + 32, ..., ::-1]),
                ):
                    for name, values in given(net, np.ascontiguousarray(part)).items():
                        found.setdefault(side + name, []).append(values)
        arrays = {name: np.concatenate(parts) for name, parts in found.items() if name != "mirrored map"}
        cache.mkdir(parents=True, exist_ok=True)
        labels = [names.index(path.parent.name) for path in files]
        np.savez(file, labels=labels, files=[path.name for path in files], **arrays)
    with np.load(file) as stored:
        return dict(stored)


def given(net: Sequential, pixels: Array) -> Features:
    """Return what a net gives for images at several depths."""
    found, x = {}, net.preprocess(pixels)
    for i in range(24):
        if i in BLOCKS:
            found |= {f"mean {i}": x.mean((2, 3)), f"std {i}": x.std((2, 3)), f"max {i}": x.max((2, 3))}
        if i == UPPER[0]:
            found["map"] = np.ascontiguousarray(x)
        x = net[i](x)
    return found | {"last": x}


def draw(found: Features, seed: int) -> tuple[Array, Array]:
    """Return the indices of images to train on, and those of images that judge."""
    train, judge = list[int](), list[int]()
    for label in np.unique(found["labels"]):
        some = sorted(np.flatnonzero(found["labels"] == label), key=lambda i: hashed(str(found["files"][i]), seed))
        count = min(TO_TRAIN, len(some) // 2)
        train += some[:count]
        judge += some[count:]
    return np.array(train), np.array(judge)


# What a head may read: functions of what is kept, of the indices to train on, and of the side ("" or "mirrored ")


def last(found: Features, train: Array, side: str = "") -> Array:
    return found[f"{side}last"]


def normalized(
    blocks: Any, kinds: tuple[str, ...] = ("mean",), scale: float = pretrained.DEPTH_SCALE
) -> Callable[..., Array]:
    """Of each layer and kind, each sample normalized on its own, and the last layer as it is."""

    def read(found: Features, train: Array, side: str = "") -> Array:
        depths = [found[f"{side}{kind} {i}"] for i in blocks for kind in kinds]
        depths = [scale * (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-5) for x in depths]
        return np.concatenate([*depths, found[f"{side}last"]], axis=1)

    return read


def standardized(blocks: Any, scale: float = 1.0, floor: float = 0.0) -> Callable[..., Array]:
    """Each value standardized by the mean and the variance of the images to train on, to which `floor` times the mean
    variance of its depth is added.
    """

    def read(found: Features, train: Array, side: str = "") -> Array:
        depths = [found[f"{side}{name}"] for name in (*(f"mean {i}" for i in blocks), "last")]
        variances = [x[train].var(0) for x in depths]
        variances = [variance + floor * variance.mean() + 1e-8 for variance in variances]
        depths = [scale * (x - x[train].mean(0)) / v**0.5 for x, v in zip(depths, variances, strict=True)]
        return np.concatenate(depths, axis=1)

    return read


def raw(found: Features, train: Array, side: str = "") -> Array:
    return np.concatenate([*(found[f"{side}mean {i}"] for i in UPPER), found[f"{side}last"]], axis=1)


HEADS: dict[str, tuple[Callable[..., Array], dict[str, Any]]] = {
    "the last layer": (last, {}),
    "the last layer, standardized": (standardized(()), {}),
    "upper blocks": (normalized(UPPER), {}),
    "upper blocks, as they are": (raw, {}),
    "upper blocks, as they are, lr 0.0005": (raw, {"lr": 5e-4}),
    "upper blocks, normalized, not halved": (normalized(UPPER, scale=1.0), {}),
    "upper blocks, standardized": (standardized(UPPER), {}),
    "upper blocks, standardized, weight decay 1": (standardized(UPPER), {"weight_decay": 1.0}),
    "upper blocks, standardized with a floor": (standardized(UPPER, 0.3, 1.0), {}),
    "upper blocks, means and deviations": (normalized(UPPER, ("mean", "std")), {}),
    "upper blocks, means and maxima": (normalized(UPPER, ("mean", "max")), {}),
    "all blocks": (normalized(BLOCKS), {}),
    "all blocks, means and deviations": (normalized(BLOCKS, ("mean", "std")), {}),
    "upper blocks, 80 epochs": (normalized(UPPER), {"epochs": 80}),
    "upper blocks, weight decay 1": (normalized(UPPER), {"weight_decay": 1.0}),
    "upper blocks, dropout 0.5": (normalized(UPPER), {"dropout": 0.5}),
    "upper blocks, label smoothing 0.1": (normalized(UPPER), {"label_smoothing": 0.1}),
    "upper blocks, mirrored images, too": (normalized(UPPER), {"mirrored": True}),
}


def head(found: Features, seed: int, read: Callable[..., Array], options: dict[str, Any]) -> tuple[float, float]:
    """Train a head: -> its loss and its accuracy"""
    lr, epochs = options.get("lr", 2e-3), options.get("epochs", 40)
    train, judge = draw(found, seed)
    x, y = read(found, train).astype(np.float32), found["labels"]
    x_train, y_train = x[train], y[train]
    if options.get("mirrored"):
        x_train = np.concatenate([x_train, read(found, train, "mirrored ")[train].astype(np.float32)])
        y_train, epochs = np.concatenate([y_train, y_train]), epochs // 2
    cnn.manual_seed(0)
    model = Sequential([Dropout(options.get("dropout", 0.2)), Linear(x.shape[1], y.max() + 1), Softmax()])
    model.loss_func = CrossEntropyLoss(label_smoothing=options.get("label_smoothing", 0.0))
    model.optimizer = AdamW(lr=lr, weight_decay=options.get("weight_decay", 0.0))
    for step in training.train(model, DataLoader(x_train, y_train, 32), epochs=epochs):
        model.optimizer.lr = lr * (1 - step.progress)
    model.loss_func = CrossEntropyLoss()
    return model.evaluate(x[judge], y[judge])


def main(sets: Path, cache: Path, names: list[str]) -> None:
    everything = {name: computed(sets / name, cache) for name in names}
    print("", *names, "mean", sep=" | ", flush=True)
    for text, variant in HEADS.items():
        cells, accuracies = [], []
        for name in names:
            results = [head(everything[name], seed, *variant) for seed in range(DRAWS)]
            loss, accuracy = np.mean(results, axis=0)
            accuracies.append(100 * accuracy)
            cells.append(f"{100 * accuracy:.1f} ({loss:.2f})")
        print(text, *cells, f"{np.mean(accuracies):.1f}", sep=" | ", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(SETS))
