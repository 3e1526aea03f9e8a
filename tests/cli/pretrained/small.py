"""A small net in place of the one that has seen ImageNet."""

import numpy as np

from cnn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    ReLU6,
    Softmax,
)
from cnn.sequential import Sequential

FEW = ("--pretrained", "--epochs", "4", "--augment", "light")


def small_net(num_classes=10, pretrained=True):
    """Three convolutions, the last two at half of the size, and what else the pretrained net has."""
    rng = np.random.default_rng(0)
    inner = [Conv2d(8, 12, 3, stride=2, padding=1, bias=False, rng=rng), BatchNorm2d(12), ReLU6()]
    row = Sequential([*inner, Conv2d(12, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU6()])
    first = [Conv2d(3, 8, 3, stride=2, padding=1, bias=False, rng=rng), BatchNorm2d(8), ReLU6()]
    net = Sequential(
        [*first, row, AdaptiveAvgPool2d(1), Flatten(), Dropout(0.2), Linear(16, num_classes, rng=rng), Softmax()]
    )
    for norm in (net[1], row[1], row[4]):
        norm.running_mean.data = rng.uniform(-0.3, 0.1, norm.num_features)
        norm.running_var.data = np.full(norm.num_features, 0.1)
    net.input_shape = (3, 16, 16)
    net.preprocessing = {"scale": 1.0, "mean": 127.0, "std": 128.0, "fit": "zoomed", "background": "white"}
    return net


def bits(state, names):
    return [state[name].tobytes() for name in names]


def whole_names(names):
    """Return the name in a run of each array of the small net, but for those of its last layer."""
    return {name: name.replace("3.", "3.layer3.", 1) if name[0] == "3" else name for name in names if name[0] in "0123"}
