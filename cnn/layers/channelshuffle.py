"""ChannelShuffle: the channels of several groups, mixed."""

from cnn.core.checks import check_grad, check_images, check_input, integer
from cnn.errors import ShapeError
from cnn.module import Array, Module


def channel_shuffle(x: Array, groups: int) -> Array:
    """Take the first channel of each group, then the second of each, and so on: (N, C, H, W) -> the same."""
    n, c, h, w = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(n, h, w, groups, c // groups)
    return rows.swapaxes(3, 4).reshape(n, h, w, c).transpose(0, 3, 1, 2)


class ChannelShuffle(Module):
    """Mix the channels of several groups, so that a grouped convolution after it sees some of each group.

    y[n, i G + j, ...] = x[n, j C/G + i, ...],  G = groups

    Written as a table of G rows, a group in each, the channels are transposed. So the gradient is transposed back, by
    a shuffle with C/G groups.

    Parameters
    ----------
    groups : int
        G; the number of channels must be divisible by it.

    Shape
    -----
    (N, C, H, W) -> the same.

    Raises
    ------
    ShapeError
        If the number of channels is not divisible by ``groups``.

    Source
    ------
    Zhang, Zhou, Lin and Sun 2018, ShuffleNet, arXiv 1707.01083, section 3.1; numbers as in torch.nn.ChannelShuffle.

    Examples
    --------
    >>> import numpy as np
    >>> ChannelShuffle(2)(np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)).ravel()
    array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """

    def __init__(self, groups: int) -> None:
        self.groups = integer(groups, "groups", 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H, W)"""
        x = check_input(x)
        check_images(x)
        if x.shape[1] % self.groups:
            raise ShapeError(
                f"groups={self.groups} needs a number of channels divisible by {self.groups}, got {x.shape}: change "
                "groups, or the out_channels of the layer before it"
            )
        self.save_for_backward(x.shape, x.dtype)
        return channel_shuffle(x, self.groups)

    def backward(self, grad: Array) -> Array | None:
        """(N, C, H, W) -> (N, C, H, W)"""
        shape, dtype = self.saved()
        check_grad(self, grad, shape, dtype)
        return channel_shuffle(grad, shape[1] // self.groups)
