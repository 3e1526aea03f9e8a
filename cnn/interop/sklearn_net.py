"""The net of an estimator of sklearn.py that was given none, and the shape of its samples."""

import math
from typing import Any

from cnn.core.checks import integer
from cnn.core.text import short_text
from cnn.errors import InputError
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from cnn.module import Module
from cnn.sequential import Sequential

SMALLEST_SIDE = 4  # pixels after the last pooling


def checked_image_shape(shape: Any) -> tuple[int, ...]:
    """Return (C, H, W), or raise an error that names the argument.

    Examples
    --------
    >>> checked_image_shape([1, 8, 8])
    (1, 8, 8)
    """
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise InputError(f"image_shape must be (channels, height, width), such as (1, 8, 8), got {short_text(shape)}")
    return tuple(integer(n, "each number of image_shape", 1) for n in shape)


def default_net(input_shape: tuple[int, ...], outputs: int, width: int) -> Sequential:
    """Return the net of an estimator without ``net``: convolutions for images, two hidden layers for other samples.

    Examples
    --------
    >>> default_net((1, 8, 8), 10, 16).build((1, 8, 8))["3"]
    (16, 4, 4)
    """
    width = integer(width, "width", 1)
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
