"""MaxPool2d: keep the largest value of each window. `WindowGeometry`, the way of a window, is explained in functional/windows.py."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input, pair
from cnn.functional.windows import WindowGeometry, pad_images
from cnn.kernels import batched
from cnn.module import Array, Module


@batched(1)
def maxpool2d(x: Array, geometry: WindowGeometry, counts: Pair) -> tuple[Array, Array]:
    """Largest value of each window, and which of its pixels that was: (N, C, H, W) -> two of (N, C, OH, OW)."""
    rim = geometry.needed_padding(counts, x.shape[2], x.shape[3])
    x = pad_images(x.transpose(0, 2, 3, 1), rim, -np.inf)  # zeros would beat negative values
    shifts = geometry.window_offsets(counts)
    _, _, down, across = next(shifts)
    y = x[:, down, across].copy()
    choice = np.zeros(y.shape, np.min_scalar_type(geometry.size[0] * geometry.size[1]))  # mostly one byte
    for u, v, down, across in shifts:
        candidate = x[:, down, across].copy()  # in one piece, because it is read four times
        better = (candidate > y) | (candidate != candidate)  # the first of equals stays; NaN, unequal to itself, wins
        y = np.maximum(y, candidate)
        # the pixels come in rising number, so the largest number is that of the last one that was better
        choice = np.maximum(choice, better * choice.dtype.type(u * geometry.size[1] + v))
    return y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2)


@batched(2)
def maxpool2d_input_grad(grad: Array, choice: Array, shape: tuple[int, ...], geometry: WindowGeometry) -> Array:
    """Each gradient goes to the pixel chosen; overlapping windows add up: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    _, c, h, w = shape
    (top, bottom), (left, right) = geometry.needed_padding((grad.shape[2], grad.shape[3]), h, w)
    x = np.zeros((len(grad), top + h + bottom, left + w + right, c), grad.dtype)
    grad, choice = grad.transpose(0, 2, 3, 1), choice.transpose(0, 2, 3, 1)
    for u, v, down, across in geometry.window_offsets((grad.shape[1], grad.shape[2])):
        x[:, down, across] += grad * (choice == u * geometry.size[1] + v)
    return x[:, top : top + h, left : left + w].transpose(0, 3, 1, 2)


class MaxPool2d(Module):
    """Keep the strongest answer of each small region, so that it matters less where exactly a pattern was.

    y[n, c, i, j] = max over u, v of  x[n, c, s i + d u - p, s j + d v - p]

    with stride s, dilation d, padding p, and x minus infinity outside the image. Only the largest value of a window
    makes its output, so it alone gets the gradient; of several equal ones, the first in reading order.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int, pair of int or None
        Step between windows; None means kernel_size.
    padding : int or pair of int
        Rim around the image, at most half of kernel_size.
    dilation : int or pair of int
        Step between the pixels inside a window.
    ceil_mode : bool
        Whether pixels that are left over at the end get a window of their own.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, OW alike; with
    ceil_mode the division rounds up.

    Source
    ------
    Zhou and Chellappa 1988, Computation of optical flow using a neural network; Ranzato et al. 2007, Unsupervised
    learning of invariant feature hierarchies. Numbers at the edges, for ties and for NaN are those of
    torch.nn.MaxPool2d.

    Examples
    --------
    >>> x = np.array([[[[1, 5, 2, 0], [3, 4, 8, 1]]]], np.float32)
    >>> MaxPool2d(2)(x)
    array([[[[5., 8.]]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        self.dilation = pair(dilation, "dilation", 1)
        self.ceil_mode = bool(ceil_mode)
        most = (self.kernel_size[0] // 2, self.kernel_size[1] // 2)
        if self.padding[0] > most[0] or self.padding[1] > most[1]:
            raise ValueError(f"padding={self.padding} is more than half of kernel_size: use at most {most}")

    def geometry(self) -> WindowGeometry:
        """How the window moves."""
        return WindowGeometry.of(self.kernel_size, self.stride, self.dilation, self.padding)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        check_input(x)
        check_images(x)
        y, choice = maxpool2d(x, self.geometry(), self.geometry().output_size(x.shape[2], x.shape[3], self.ceil_mode))
        self.save_for_backward(x.shape, x.dtype, choice)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, choice = self.saved()
        check_grad(self, grad, choice.shape, dtype)
        return maxpool2d_input_grad(grad, choice, shape, self.geometry())
