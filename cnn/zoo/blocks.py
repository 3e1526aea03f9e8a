"""What several nets are made of."""

from cnn.core.checks import integer
from cnn.layers import BatchNorm2d, Conv2d, ReLU
from cnn.module import Module


def conv_norm_relu(before: int, channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1) -> list[Module]:
    """A convolution that keeps the size (but for the stride), BatchNorm, ReLU."""
    conv = Conv2d(
        before, channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
    )  # without bias, which BatchNorm would take away again
    return [conv, BatchNorm2d(channels), ReLU()]


def image(input_shape: tuple[int, int, int], least: int = 1) -> tuple[int, int, int]:
    """Return channels, height and width, or raise an error that names what is wrong with them."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, height, width), such as (3, 32, 32), got {input_shape!r}")
    channels, height, width = (integer(n, "each size in input_shape", 1) for n in input_shape)
    if min(height, width) < least:
        raise ValueError(f"images of {height} x {width} are too small for this net: at least {least} x {least}")
    return channels, height, width
