"""ChannelSlice: some of the channels."""

import numpy as np

from cnn.core.checks import check_grad, check_input, integer
from cnn.errors import ShapeError
from cnn.module import Array, Module


def channel_slice(x: Array, start: int, stop: int) -> Array:
    """(N, C, ...) -> (N, K, ...), K = stop - start; a copy, because layers read contiguous memory fastest."""
    return x[:, start:stop].copy(order="K")


def channel_slice_grad(grad: Array, shape: tuple[int, ...], start: int, stop: int) -> Array:
    """(N, K, ...) -> shape = (N, C, ...); zeros for the other channels."""
    x_grad = np.zeros_like(grad, shape=shape)
    x_grad[:, start:stop] = grad
    return x_grad


class ChannelSlice(Module):
    """Take some of the channels: as the first layer of each branch it splits the channels among the branches.

    y[n, c, ...] = x[n, start + c, ...]

    The other channels have no influence, so their gradient is zero; that of the channels that are taken is g.

    Parameters
    ----------
    start, stop : int
        The first channel that is taken, counted from 0, and the first that is not taken any more.

    Shape
    -----
    (N, C, ...) -> (N, K, ...), K = stop - start.

    Raises
    ------
    ValueError
        If ``stop`` is not larger than ``start``, or the input has fewer channels.

    Source
    ------
    Ma, Zhang, Zheng and Sun 2018, ShuffleNet V2, arXiv 1807.11164, section 3.2, the channel split. In PyTorch it is
    x[:, start:stop], in ONNX Split or Slice.

    Examples
    --------
    >>> ChannelSlice(1, 3)(np.array([[5, 6, 7, 8]], np.float32))
    array([[6., 7.]], dtype=float32)
    """

    def __init__(self, start: int, stop: int) -> None:
        self.start = integer(start, "start", 0)
        self.stop = integer(stop, "stop", 0)
        if self.stop <= self.start:
            raise ValueError(f"stop={stop} must be larger than start={start}: change one of them")

    def forward(self, x: Array) -> Array:
        """(N, C, ...) -> (N, K, ...)"""
        x = check_input(x)
        if x.ndim < 2 or x.shape[1] < self.stop:
            fix = f"use stop={x.shape[1]} or less" if x.ndim > 1 else "a single sample needs a batch axis: x[None]"
            raise ShapeError(f"expected (N, C, ...) with at least {self.stop} channels, got {x.shape}: {fix}")
        y = channel_slice(x, self.start, self.stop)
        self.save_for_backward(x.shape, y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, K, ...) -> (N, C, ...)"""
        shape, y_shape, dtype = self.saved()
        check_grad(self, grad, y_shape, dtype)
        return channel_slice_grad(grad, shape, self.start, self.stop)
