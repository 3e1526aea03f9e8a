"""Make the pages that the tests open, and a file of numbers that must be found in each: python pages.py FOLDER."""

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import cnn
import cnn.explore
from cnn import data, zoo
from cnn.cli.main import main
from cnn.explore import arithmetic, page, trace, weight_arithmetic
from cnn.layers import (
    AdaptiveAvgPool2d,
    Affine,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout2d,
    Flatten,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Linear,
    MaxPool2d,
    SiLU,
    Softmax,
)
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.module import Module
from tests.explore.nets import NETS, equal_terms, made

PLACES = 200  # of a net that is compared
PLACES_OF_SMALL = 80
packed = {}  # what the last page was made of
page_module = sys.modules["cnn.explore.page"]
original_pack = page_module.pack


def recording_pack(model, pixels, labels, names, limit):
    header, block = original_pack(model, pixels, labels, names, limit)
    packed.update(model=model, pixels=pixels, labels=labels, header=header)
    return header, block


def places(rng, count):
    """So many random places in the page that was made last: activations and gradients, as the engine gives them."""
    model, pixels, header = packed["model"], packed["pixels"], packed["header"]
    complete = [i for i, image in enumerate(header["images"]) if image["complete"]]
    traces, found = {}, []
    while len(found) < count:
        i = int(rng.choice(complete[:4]))
        if i not in traces:
            x = pixels[i : i + 1]
            label = packed["labels"][i] if packed["labels"] is not None else None
            traces[i] = trace(model, model.preprocess(x) if x.dtype == np.uint8 else x, label)
        names = list(traces[i].nodes)
        name = names[rng.integers(len(names))]
        output, grad = traces[i].nodes[name].output[0], traces[i].nodes[name].grad
        index = [int(rng.integers(n)) for n in output.shape]
        place = {"image": i, "layer": name, "channel": index[0]}
        if len(index) == 3:
            place |= {"y": index[1], "x": index[2]}
        place["value"] = float(output[tuple(index)])
        one = arithmetic(traces[i], name, tuple(index))
        place["code"] = None if one is None else one.code
        place["gradient"] = None if grad is None else float(grad[0][tuple(index)])
        found.append(place)
    return found


def weights(rng):
    """Random weights in the page that was made last, the gradient in each, and the sum of the sizes of its terms."""
    model, pixels = packed["model"], packed["pixels"]
    x = model.preprocess(pixels[:1]) if pixels.dtype == np.uint8 else pixels[:1]
    label = packed["labels"][0] if packed["labels"] is not None else None
    traced = trace(model, x, label)
    found = []
    for name, node in traced.nodes.items():
        if type(node.layer) in (Conv2d, Linear):
            index = tuple(int(rng.integers(n)) for n in node.layer.weight.shape)
            one = weight_arithmetic(traced, name, index)
            if one is not None:
                size = float(np.abs(one.terms).sum())
                found.append({"layer": name, "weight": index, "gradient": one.value, "size": size})
    return found


def curves():
    """Layers that make each number from one number, and not in the other nets."""
    layers = [Conv2d(3, 4, 3), Affine(4), Hardtanh(-0.5, 0.75), SiLU(), Hardswish(), Hardsigmoid()]
    return cnn.Sequential([*layers, Flatten(), Linear(4 * 7 * 6, 5)])


class ReLU(Module):
    """A user's layer with the name of one of the library's."""

    def forward(self, x):
        self.save_for_backward(x)
        return 0.5 * np.maximum(x, 0)

    def backward(self, grad):
        (x,) = self.saved()
        return 0.5 * grad * (x > 0)


def edges():
    """Layers with settings that are rare: groups, dilation, uneven padding, ceil_mode, no running statistics."""
    layers = [
        Conv2d(3, 6, 3, padding="same", groups=3),
        BatchNorm2d(6, affine=False),
        Conv2d(6, 6, (3, 2), dilation=(1, 2), padding=((2, 1), (0, 1)), groups=6, bias=False),
        BatchNorm2d(6, track_running_stats=False),
        MaxPool2d(2, stride=2, padding=1, dilation=2, ceil_mode=True),
        ReLU(),
        ConvTranspose2d(6, 4, 3, stride=2),
        AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
        Dropout2d(0.5),
        AvgPool2d(3, stride=2, padding="same", count_include_pad=False),
        AdaptiveAvgPool2d((2, 1)),
        Softmax(dim=1),
        Flatten(),
        BatchNorm1d(8, affine=False),
        Linear(8, 1),
        Softmax(),
    ]
    return cnn.Sequential(layers)


def yes_or_no():
    """A net that answers one question."""
    return cnn.Sequential([Flatten(), Linear(216, 1)], loss_func=BCEWithLogitsLoss())


def many_labels():
    """A net whose classes exclude no other."""
    return cnn.Sequential([Flatten(), Linear(216, 4)], loss_func=BCEWithLogitsLoss())


def regression():
    """A net without classes."""
    return cnn.Sequential([Flatten(), Linear(216, 2)], loss_func=MSELoss())


def class_per_place():
    """A net with a class for each pixel."""
    return cnn.Sequential([Conv2d(3, 4, 3, padding=1), Hardtanh(), Conv2d(4, 3, 1)], loss_func=CrossEntropyLoss(True))


def number_per_place():
    """A net that makes an image of an image."""
    return cnn.Sequential([Conv2d(3, 2, 3, padding=1)], loss_func=MSELoss())


def images(count, classes, channels, side, rng):
    """Squares whose place is their class, with noise: pixels and labels."""
    y = np.arange(count) % classes
    x = rng.integers(0, 90, (count, channels, side, side), dtype=np.uint8)
    for i, k in enumerate(y):
        row, column = divmod(int(k), 4)
        x[i, k % channels, row * 8 : row * 8 + 8, column * 7 : column * 7 + 7] = 230
    return x, y


def folder_of_images(folder, rng):
    """A folder of coloured images for each of three classes."""
    x, y = images(90, 3, 3, 32, rng)
    for i, (pixels, k) in enumerate(zip(x, y, strict=True)):
        path = folder / ["red", "green", "blue"][k] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path)


def make(folder):
    """Make all pages in the current folder."""
    rng = np.random.default_rng(0)
    numbers = {}
    page_module.pack = recording_pack

    def keep(name, count=PLACES):
        numbers[name] = {"places": places(rng, count), "weights": weights(rng)}

    def run(*words):
        if main(list(words)) != 0:
            sys.exit(f"failed: {' '.join(words)}")

    cnn.manual_seed(0)
    x, y, x_test, y_test = data.load_dataset(data.dataset_info("fashion-mnist")).arrays
    model = zoo.small_cnn()
    model.class_names, model.input_shape = list(data.FASHION_MNIST.class_names), (1, 28, 28)
    model.loss_func, model.optimizer = cnn.loss.CrossEntropyLoss(), cnn.optim.Adam(lr=2e-3)
    history = model.fit(model.preprocess(x[:6000]), y[:6000], epochs=3, batch_size=64)
    epochs = [history.epoch(i) for i in range(len(history))]
    page(model, x_test[:500], y_test[:500], title="A small net", history=epochs).save("small_cnn.html")
    keep("small_cnn")

    x, y = images(3, 10, 3, 32, rng)
    page(zoo.resnet(8), x, y, title="A net with branches").save("resnet.html")
    keep("resnet")

    targets = {edges: [0], yes_or_no: [[1.0]], many_labels: [[1.0, 0.0, 0.0, 1.0]], regression: [[0.5, -2.0]]}
    targets |= {number_per_place: [0.0]}
    for net in (*NETS, curves, equal_terms, class_per_place, *targets):  # all kinds of layers, branches and answers
        model, sample = made(net)
        page(model, sample, targets.get(net, [1]), title=net.__name__).save(f"{net.__name__}.html")
        keep(net.__name__, PLACES_OF_SMALL)

    cnn.manual_seed(0)
    x, y = images(2, 2, 1, 28, np.random.default_rng(1))
    page(zoo.lenet5(), x, y, title="A net that is too large", limit=60_000).save("left_out.html")

    run("explore", "--model", "fashion", "--out", "fashion.html")
    keep("fashion")
    run("train", "spiral", "--epochs", "20", "--out", "spiral", "--quiet")
    run("explore", "spiral")
    keep("spiral")
    folder_of_images(Path("colours"), rng)
    run("train", "colours", "--epochs", "4", "--image-size", "32", "--out", "colour-run", "--quiet")
    run("explore", "colour-run", "--out", "colours.html")
    keep("colours")
    (folder / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")


if __name__ == "__main__":
    where = Path(sys.argv[1]).resolve()
    where.mkdir(parents=True, exist_ok=True)
    os.chdir(where)
    make(where)
