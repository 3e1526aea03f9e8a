"""ResNet-18, a common net for comparing programs in inference; the zoo has only nets for small images."""

from cnn.layers import AdaptiveAvgPool2d, Flatten, Linear, MaxPool2d, ReLU, Softmax
from cnn.sequential import Sequential
from cnn.zoo.blocks import conv_norm_relu
from cnn.zoo.branched import residual_block


def resnet18(classes: int = 1000) -> Sequential:
    """Residual blocks in four stages of 64 to 512 channels, for images of three channels.

    Source
    ------
    He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, arXiv 1512.03385, table 1.

    Examples
    --------
    >>> sum(p.size for p in resnet18().parameters())  # as torchvision's
    11689512
    """
    layers, in_channels = [*conv_norm_relu(3, 64, kernel_size=7, stride=2), MaxPool2d(3, stride=2, padding=1)], 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for block_stride in (stride, 1):
            layers += [residual_block(in_channels, channels, block_stride), ReLU()]
            in_channels = channels
    return Sequential([*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(512, classes), Softmax()])
