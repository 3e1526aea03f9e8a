"""Building blocks that several nets share."""

from cnn.core.checks import integer
from cnn.layers import BatchNorm2d, Conv2d, ReLU
from cnn.module import Module


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> list[Module]:
    """Return a convolution that keeps the image size (except for the stride), BatchNorm and ReLU."""
    conv = Conv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
    )  # without bias, because BatchNorm subtracts the mean, and the bias with it
    return [conv, BatchNorm2d(out_channels), ReLU()]


def check_image_shape(input_shape: tuple[int, int, int], min_size: int = 1) -> tuple[int, int, int]:
    """Return channels, height and width; raise an error if the shape is invalid or the image smaller than min_size."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, height, width), such as (3, 32, 32), got {input_shape!r}")
    channels, height, width = (integer(n, "each size in input_shape", 1) for n in input_shape)
    if min(height, width) < min_size:
        raise ValueError(f"images of {height} x {width} are too small for this net: at least {min_size} x {min_size}")
    return channels, height, width
