"""What several nets are made of."""

from cnn.layers import BatchNorm2d, Conv2d, ReLU
from cnn.module import Module


def conv_norm_relu(before: int, channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1) -> list[Module]:
    """A convolution that keeps the size (but for the stride), BatchNorm, ReLU."""
    conv = Conv2d(
        before, channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
    )  # without bias, which BatchNorm would take away again
    return [conv, BatchNorm2d(channels), ReLU()]
