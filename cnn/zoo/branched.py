"""Nets with branches: residual sums, concatenations and skip connections."""

from cnn.containers.branches import Concat, Residual
from cnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Softmax,
)
from cnn.module import Module
from cnn.sequential import Sequential
from cnn.zoo.blocks import check_image_shape, conv_norm_relu


def resnet(depth: int = 20, input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Sequential:
    """Residual blocks of two convolutions, in three stages of 16, 32 and 64 channels.

    272,474 parameters at depth 20 for 3 x 32 x 32 and 10 classes. He, Zhang, Ren and Sun 2016, Deep residual
    learning for image recognition, arXiv 1512.03385, section 4.2, with a 1 x 1 convolution as the shortcut where the
    number of channels changes (option B).

    Parameters
    ----------
    depth : int
        Number of consecutive layers with weights, 6 n + 2: 8, 14, 20, 32, 44, 56, 110, ...
    input_shape : tuple of int
        (channels, height, width) of one image.
    classes : int
        Number of classes.

    Raises
    ------
    ValueError
        If the depth is not 6 n + 2.

    Examples
    --------
    >>> sum(p.size for p in resnet(20).parameters())
    272474
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        near = 6 * max(1, round((depth - 2) / 6)) + 2
        raise ValueError(
            f"depth must be 6 n + 2, such as 8, 14, 20, 32 or 56, got {depth}: try {near} (resnets for "
            "large images have other depths and blocks)"
        )
    layers, in_channels = conv_norm_relu(check_image_shape(input_shape)[0], 16), 16
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(blocks):
            layers += [residual_block(in_channels, channels, stride if i == 0 else 1), ReLU()]
            in_channels = channels
    return Sequential([*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(64, classes), Softmax()])


def residual_block(in_channels: int, channels: int, stride: int) -> Residual:
    """(N, in_channels, H, W) -> (N, channels, H/stride, W/stride)"""
    second = [Conv2d(channels, channels, 3, padding=1, bias=False), BatchNorm2d(channels)]
    body = Sequential([*conv_norm_relu(in_channels, channels, stride=stride), *second])
    if in_channels == channels and stride == 1:
        return Residual(body)
    shortcut = Sequential([Conv2d(in_channels, channels, 1, stride=stride, bias=False), BatchNorm2d(channels)])
    return Residual(body, shortcut)


def squeezenet(input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Sequential:
    """Few parameters: 1 x 1 convolutions reduce the number of channels before the 3 x 3 convolutions.

    340,170 parameters for 3 input channels and 10 classes. Iandola et al. 2016, SqueezeNet: AlexNet-level
    accuracy with 50x fewer parameters, arXiv 1602.07360, table 1, with strides for small images. The last convolution
    has a channel for each class, averaged over the image.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image, at least 8 x 8 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in squeezenet().parameters())
    340170
    """
    layers: list[Module] = [Conv2d(check_image_shape(input_shape, min_size=8)[0], 64, 3, padding=1), ReLU()]
    in_channels = 64
    for squeeze, expand in ((16, 64), (32, 128), (48, 192)):
        layers.append(MaxPool2d(2))
        for _ in range(2):
            layers += _fire(in_channels, squeeze, expand)
            in_channels = 2 * expand
    last = [Dropout(0.5), Conv2d(in_channels, classes, 1), AdaptiveAvgPool2d(1), Flatten(), Softmax()]
    return Sequential([*layers, *last])


def _fire(in_channels: int, squeeze: int, expand: int) -> list[Module]:
    """(N, in_channels, H, W) -> (N, 2 expand, H, W)"""
    wide = Concat([Conv2d(squeeze, expand, 1), Conv2d(squeeze, expand, 3, padding=1)])
    return [Conv2d(in_channels, squeeze, 1), ReLU(), wide, ReLU()]


def densenet(
    input_shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    growth: int = 12,
    blocks: tuple[int, ...] = (8, 8, 8),
) -> Sequential:
    """Every layer reads the outputs of all earlier layers in its block, and adds a few channels to them.

    264,586 parameters for 3 x 32 x 32 and 10 classes. Huang, Liu, van der Maaten and Weinberger 2017, Densely
    connected convolutional networks, arXiv 1608.06993, DenseNet-BC, with shorter blocks.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image.
    classes : int
        Number of classes.
    growth : int
        Channels that each layer adds.
    blocks : tuple of int
        Number of layers in each block; between blocks the number of channels and the image size are halved.

    Examples
    --------
    >>> sum(p.size for p in densenet().parameters())
    264586
    """
    in_channels, channels = check_image_shape(input_shape, min_size=2 ** (len(blocks) - 1))[0], 2 * growth
    layers: list[Module] = [Conv2d(in_channels, channels, 3, padding=1, bias=False)]
    for i, count in enumerate(blocks):
        if i > 0:
            layers += [BatchNorm2d(channels), ReLU(), Conv2d(channels, channels // 2, 1, bias=False), AvgPool2d(2)]
            channels //= 2
        for _ in range(count):
            narrow = [BatchNorm2d(channels), ReLU(), Conv2d(channels, 4 * growth, 1, bias=False)]
            wide = [BatchNorm2d(4 * growth), ReLU(), Conv2d(4 * growth, growth, 3, padding=1, bias=False)]
            layers.append(Concat([Identity(), Sequential([*narrow, *wide])]))
            channels += growth
    last = [BatchNorm2d(channels), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(channels, classes), Softmax()]
    return Sequential([*layers, *last])


def inception(input_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Sequential:
    """Kernels of 1 x 1, 3 x 3 and 5 x 5 in parallel branches, so that each block combines several receptive fields.

    307,242 parameters for 3 input channels and 10 classes. Szegedy et al. 2015, Going deeper with
    convolutions, arXiv 1409.4842, figure 2b, with BatchNorm and four blocks instead of nine.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image, at least 4 x 4 pixels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> sum(p.size for p in inception().parameters())
    307242
    """
    layers, in_channels = conv_norm_relu(check_image_shape(input_shape, min_size=4)[0], 64), 64
    for width in (16, 32):
        layers.append(MaxPool2d(2))
        for _ in range(2):
            layers.append(_inception_block(in_channels, width))
            in_channels = 8 * width
    last = [AdaptiveAvgPool2d(1), Flatten(), Dropout(0.4), Linear(in_channels, classes), Softmax()]
    return Sequential([*layers, *last])


def _inception_block(in_channels: int, width: int) -> Concat:
    """(N, in_channels, H, W) -> (N, 8 width, H, W)"""
    return Concat(
        [
            Sequential(conv_norm_relu(in_channels, 2 * width, kernel_size=1)),
            Sequential(conv_norm_relu(in_channels, 2 * width, kernel_size=1) + conv_norm_relu(2 * width, 4 * width)),
            Sequential(
                conv_norm_relu(in_channels, width // 2, kernel_size=1)
                + conv_norm_relu(width // 2, width, kernel_size=5)
            ),
            Sequential([MaxPool2d(3, stride=1, padding=1), *conv_norm_relu(in_channels, width, kernel_size=1)]),
        ]
    )


def unet(
    input_shape: tuple[int, int, int] = (1, 32, 32), classes: int = 2, width: int = 16, depth: int = 3
) -> Sequential:
    """A class for every pixel (segmentation): an encoder, a decoder, and a skip connection at every resolution.

    482,466 parameters for one input channel and 2 classes. (N, channels, H, W) -> (N, classes, H, W), probabilities
    along axis 1. Ronneberger, Fischer and Brox 2015, U-Net: convolutional networks for biomedical image segmentation,
    arXiv 1505.04597, figure 1, narrower, with padding and BatchNorm.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image; height and width must be divisible by 2 to the power of depth.
    classes : int
        Number of classes.
    width : int
        Number of channels at full resolution; it doubles at each level.
    depth : int
        Number of times the image is halved.

    Raises
    ------
    ValueError
        If height or width cannot be halved that many times.

    Examples
    --------
    >>> sum(p.size for p in unet().parameters())
    482466

    Two classes, and unlabelled pixels:

    >>> import numpy as np
    >>> from cnn.loss import CrossEntropyLoss
    >>> model = unet((1, 8, 8), classes=2, width=4, depth=1)
    >>> model.loss_func = CrossEntropyLoss(ignore_index=255)
    >>> labels = np.array([[[0, 1, 1, 255, 255, 255, 255, 255]] * 8])
    >>> loss, accuracy = model.evaluate(np.zeros((1, 1, 8, 8)), labels)
    """
    channels, image_height, image_width = check_image_shape(input_shape)
    if image_height % 2**depth or image_width % 2**depth:
        raise ValueError(
            f"height and width must be divisible by {2**depth} to be halved {depth} times, "
            f"got {image_height} x {image_width}: pad the images or use a smaller depth"
        )
    return Sequential([*_levels(channels, width, depth), Conv2d(width, classes, 1), Softmax(dim=1)])


def _levels(in_channels: int, width: int, depth: int) -> list[Module]:
    """(N, in_channels, H, W) -> (N, width, H, W)"""
    double = conv_norm_relu(in_channels, width) + conv_norm_relu(width, width)
    if depth == 0:
        return double
    below = [MaxPool2d(2), *_levels(width, 2 * width, depth - 1), ConvTranspose2d(2 * width, width, 2, stride=2)]
    skip = Concat([Identity(), Sequential(below)])
    return [*double, skip, *conv_norm_relu(2 * width, width), *conv_norm_relu(width, width)]
