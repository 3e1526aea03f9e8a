"""MaxPool2d: the largest value of each window. cnn/functional/windows.py explains `WindowGeometry`."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input, pair
from cnn.functional.padding import Padding, check_pool_padding, parse_padding
from cnn.functional.windows import WindowGeometry, pad_images
from cnn.kernels import batched
from cnn.module import Array, Module


@batched(1)
def maxpool2d(x: Array, geometry: WindowGeometry, output_size: Pair) -> tuple[Array, Array]:
    """Largest value of each window, and its pixel number in the window: (N, C, H, W) -> two of (N, C, OH, OW)."""
    size = x.shape[2:]
    padding = geometry.needed_padding(output_size, *size)
    x = pad_images(x.transpose(0, 2, 3, 1), padding, -np.inf)  # zeros would beat negative values
    offsets = geometry.window_offsets(output_size)
    _, _, rows, columns = next(offsets)
    y = x[:, rows, columns].copy()
    argmax = np.zeros(y.shape, np.min_scalar_type(geometry.size[0] * geometry.size[1]))  # mostly one byte
    argmax[...] = geometry.first_pixels(output_size, *size)[..., None]  # never padding, even if all pixels are -inf
    for u, v, rows, columns in offsets:
        candidate = x[:, rows, columns].copy()  # contiguous, because it is read four times
        better = (candidate > y) | (candidate != candidate)  # keep the first of equal values; NaN (NaN != NaN) wins
        y = np.maximum(y, candidate)
        # pixel numbers increase, so the largest of them is that of the last candidate that was better
        argmax = np.maximum(argmax, better * argmax.dtype.type(u * geometry.size[1] + v))
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


@batched(2)
def maxpool2d_input_grad(grad: Array, argmax: Array, shape: tuple[int, ...], geometry: WindowGeometry) -> Array:
    """Each gradient goes to the largest pixel; overlapping windows add up: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    _, c, h, w = shape
    (top, bottom), (left, right) = geometry.needed_padding((grad.shape[2], grad.shape[3]), h, w)
    x = np.zeros((len(grad), top + h + bottom, left + w + right, c), grad.dtype)
    grad, argmax = grad.transpose(0, 2, 3, 1), argmax.transpose(0, 2, 3, 1)
    for u, v, rows, columns in geometry.window_offsets((grad.shape[1], grad.shape[2])):
        x[:, rows, columns] += np.where(argmax == u * geometry.size[1] + v, grad, 0)  # infinity times 0 would be NaN
    return x[:, top : top + h, left : left + w].transpose(0, 3, 1, 2)


class MaxPool2d(Module):
    """Keep the strongest activation of each small window, so that the exact position of a pattern matters less.

    y[n, c, i, j] = max over u, v of  x[n, c, s i + d u - p, s j + d v - p]

    with stride s, dilation d, padding p, and x minus infinity outside the image. The output depends only on the
    largest value of a window, so only that one gets the gradient; of several equal ones, the first in row-major order.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int, pair of int or None
        Step between windows; None means kernel_size.
    padding : int, pair of int, four of int, "same" or "valid"
        Around the image: (vertical, horizontal), at most half of kernel_size, or ((top, bottom), (left, right)), less
        than a window spans; "same" makes OH = ceil(H / stride), with an odd pixel at bottom and right; "valid" is 0.
    dilation : int or pair of int
        Step between the pixels inside a window.
    ceil_mode : bool
        Whether leftover pixels at the end get a window of their own.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + P - dilation (KH - 1) - 1) / stride) + 1 with P the padding of top
    and bottom, OW likewise; with ceil_mode the division rounds up.

    Source
    ------
    Zhou and Chellappa 1988, Computation of optical flow using a neural network; Ranzato et al. 2007, Unsupervised
    learning of invariant feature hierarchies. At the edges, for ties and for NaN the numbers are the same as in
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
        padding: int | Padding = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = parse_padding(padding)
        self.dilation = pair(dilation, "dilation", 1)
        check_pool_padding(self.padding, self.kernel_size, self.dilation)
        self.ceil_mode = bool(ceil_mode)

    def geometry(self, *image: int) -> WindowGeometry:
        """Return how the window moves over an image of this height and width."""
        return WindowGeometry.of(self.kernel_size, self.stride, self.dilation, self.padding, *image)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        geometry = self.geometry(*x.shape[2:])
        y, argmax = maxpool2d(x, geometry, geometry.output_size(x.shape[2], x.shape[3], self.ceil_mode))
        self.save_for_backward(x.shape, x.dtype, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, argmax = self.saved()
        check_grad(self, grad, argmax.shape, dtype)
        return maxpool2d_input_grad(grad, argmax, shape, self.geometry(*shape[2:]))
