"""Nets without branches: each layer reads the output of the layer before it."""

import math

from cnn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Softmax,
    Tanh,
)
from cnn.module import Module
from cnn.sequential import Sequential
from cnn.zoo.blocks import check_image_shape, conv_norm_relu


def small_cnn(input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> Sequential:
    """Two convolutions and two linear layers: above 91 % on Fashion-MNIST after four epochs.

    421,642 parameters for 28 x 28 grey images and 10 classes. The architecture follows LeCun et al. 1998,
    Gradient-based learning applied to document recognition, with ReLU, max-pooling and dropout.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image, at least 4 x 4 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in small_cnn().parameters())
    421642
    """
    channels, height, width = check_image_shape(input_shape, min_size=4)
    return Sequential(
        [
            Conv2d(channels, 32, kernel_size=3, padding=1),
            ReLU(),
            MaxPool2d(2),
            Conv2d(32, 64, kernel_size=3, padding=1),
            ReLU(),
            MaxPool2d(2),
            Flatten(),
            Linear(64 * (height // 4) * (width // 4), 128),
            ReLU(),
            Dropout(0.1),
            Linear(128, classes),
            Softmax(),
        ]
    )


def fashion_cnn(input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> Sequential:
    """Six convolutions in three pairs for small images: the net of the recipes ``fast`` and ``best``.

    288,170 parameters for one channel and 10 classes. Pairs of 3 x 3 convolutions as in Simonyan and Zisserman 2015,
    arXiv 1409.1556; global average pooling at the end as in Lin, Chen and Yan 2014, Network in network, arXiv
    1312.4400. The second convolution of a pair is pooled before it is normalized, as in Jordan 2024, arXiv 2404.00498:
    the norm and ReLU then process a quarter of the pixels. The last pair is not pooled.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image; at least 4 x 4 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in fashion_cnn().parameters())
    288170
    """
    in_channels = check_image_shape(input_shape, min_size=4)[0]
    layers: list[Module] = []
    for channels, pool in ((32, [MaxPool2d(2)]), (64, [MaxPool2d(2)]), (128, [])):
        conv, norm, relu = conv_norm_relu(channels, channels)
        layers += [*conv_norm_relu(in_channels, channels), conv, *pool, norm, relu]
        in_channels = channels
    return Sequential([*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(in_channels, classes), Softmax()])


def photo_cnn(input_shape: tuple[int, int, int] = (3, 64, 64), classes: int = 3) -> Sequential:
    """Four convolutions for a few hundred photographs: an object may be anywhere in the image.

    60,883 parameters for 3 channels and 3 classes. The convolutions are those of `vgg`, narrower, followed by
    global max-pooling, as in Oquab, Bottou, Laptev and Sivic 2015, Is object localization for free?
    Trained for 50 epochs on 400 synthetic photographs (tests/data/photos.py), one run each, it classified 99 of 100
    others correctly, and `vgg` with the same convolutions, which ends with Flatten, 52.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image; at least 16 x 16 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in photo_cnn().parameters())
    60883
    """
    in_channels = check_image_shape(input_shape, min_size=16)[0]
    layers: list[Module] = []
    for channels in (16, 32, 64, 64):
        layers += [*conv_norm_relu(in_channels, channels), MaxPool2d(2)]
        in_channels = channels
    return Sequential([*layers, AdaptiveMaxPool2d(1), Flatten(), Linear(in_channels, classes), Softmax()])


def mlp(input_shape: tuple[int, ...] = (2,), classes: int = 3, hidden: tuple[int, ...] = (32, 16)) -> Sequential:
    """Linear layers with ReLU between them: for points, or as a baseline for convolutional nets on images.

    675 parameters for 2 features and 3 classes. Rumelhart, Hinton and Williams 1986.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; an image is flattened.
    classes : int
        Number of classes.
    hidden : tuple of int
        Number of units of each hidden layer.

    Examples
    --------
    >>> sum(p.size for p in mlp().parameters())
    675
    """
    layers: list[Module] = [Flatten()] if len(input_shape) > 1 else []
    width = math.prod(input_shape)
    for units in hidden:
        layers += [Linear(width, units), ReLU()]
        width = units
    return Sequential([*layers, Linear(width, classes), Softmax()])


def lenet5(input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> Sequential:
    """The net that read digits on bank cheques: two convolutions, two pools, three linear layers.

    61,706 parameters for 28 x 28 grey images and 10 classes. LeCun, Bottou, Bengio and Haffner 1998, Gradient-based
    learning applied to document recognition, section II.B, with plain average pools, every channel connected to every
    channel of the next layer, and Softmax at the end.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image, at least 12 x 12 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in lenet5().parameters())
    61706
    """
    channels, height, width = check_image_shape(input_shape, min_size=12)
    return Sequential(
        [
            Conv2d(channels, 6, kernel_size=5, padding=2),
            Tanh(),
            AvgPool2d(2),
            Conv2d(6, 16, kernel_size=5),
            Tanh(),
            AvgPool2d(2),
            Flatten(),
            Linear(16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2), 120),
            Tanh(),
            Linear(120, 84),
            Tanh(),
            Linear(84, classes),
            Softmax(),
        ]
    )


def vgg(
    input_shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    widths: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256)),
) -> Sequential:
    """Groups of 3 x 3 convolutions separated by pools, with more channels after each pool.

    2,197,706 parameters for 3 x 32 x 32 and 10 classes. Simonyan and Zisserman 2015, Very deep convolutional networks
    for large-scale image recognition, arXiv 1409.1556, with BatchNorm and one hidden linear layer.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image; each pool halves height and width.
    classes : int
        Number of classes.
    widths : tuple of tuple of int
        Channels of the convolutions, grouped by the pools between them.

    Examples
    --------
    >>> sum(p.size for p in vgg().parameters())
    2197706
    """
    channels, height, width = check_image_shape(input_shape, min_size=2 ** len(widths))
    layers: list[Module] = []
    for stage in widths:
        for out in stage:
            layers += conv_norm_relu(channels, out)
            channels = out
        layers.append(MaxPool2d(2))
    pixels = (height >> len(widths)) * (width >> len(widths))
    head = [Flatten(), Linear(channels * pixels, 256), ReLU(), Dropout(0.5), Linear(256, classes), Softmax()]
    return Sequential([*layers, *head])


def mobilenet(input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Sequential:
    """Depthwise-separable convolutions: first each channel separately, then a 1 x 1 convolution over all channels.

    136,778 parameters for 3 x 32 x 32 and 10 classes. Howard et al. 2017, MobileNets: efficient convolutional
    neural networks for mobile vision applications, arXiv 1704.04861, table 1, narrower and shallower for small
    images.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in mobilenet().parameters())
    136778
    """
    layers, in_channels = conv_norm_relu(check_image_shape(input_shape)[0], 32), 32
    for channels, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += conv_norm_relu(in_channels, in_channels, stride=stride, groups=in_channels)
        layers += conv_norm_relu(in_channels, channels, kernel_size=1)
        in_channels = channels
    return Sequential([*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(in_channels, classes), Softmax()])
