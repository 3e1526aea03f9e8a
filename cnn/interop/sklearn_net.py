"""The net of an estimator of sklearn.py that was given none."""

import math

from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from cnn.module import Module
from cnn.sequential import Sequential

SMALLEST_SIDE = 4  # pixels after the last pooling


def default_net(input_shape: tuple[int, ...], outputs: int, width: int) -> Sequential:
    """Return the net of an estimator without ``net``: convolutions for images, two hidden layers for other samples.

    Examples
    --------
    >>> default_net((1, 8, 8), 10, 16).build((1, 8, 8))["3"]
    (16, 4, 4)
    """
    layers: list[Module] = []
    if len(input_shape) == 3:
        channels, height, width_of_image = input_shape
        side, out = min(height, width_of_image), width
        while side >= 2 * SMALLEST_SIDE:
            layers += [Conv2d(channels, out, 3, padding=1, bias=False), BatchNorm2d(out), ReLU(), MaxPool2d(2)]
            channels, side, out = out, side // 2, 2 * out
            height, width_of_image = height // 2, width_of_image // 2
        features = channels * height * width_of_image
    else:
        features = math.prod(input_shape)
    hidden = 4 * width
    layers += [Flatten(), Linear(features, hidden), ReLU(), Linear(hidden, hidden), ReLU(), Linear(hidden, outputs)]
    return Sequential(layers)
