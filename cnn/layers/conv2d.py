"""Conv2d: a small window of weights slides over the image. See unfold and fold in functional/windows.py."""

import math

import numpy as np

from cnn import init
from cnn.core.checks import Pair, check_grad, check_images, check_input, integer, pair
from cnn.functional.padding import Padding, parse_padding
from cnn.functional.windows import WindowGeometry, as_matrix, as_rows, fold, from_matrix, from_rows, unfold
from cnn.kernels import batched, kernel, summed
from cnn.module import Array, Module


@batched(1)
def conv2d(x: Array, weight: Array, bias: Array | None, geometry: WindowGeometry, groups: int) -> Array:
    """Multiply every window by the weights, as one matrix product: (N, C, H, W) -> (N, K, OH, OW)."""
    y = unfold(x, geometry, groups) @ as_matrix(weight, groups)  # (groups, N*OH*OW, K/groups)
    if bias is not None:
        y += bias.reshape(groups, 1, -1)
    return from_rows(y, len(x), geometry.output_size(x.shape[2], x.shape[3]))


@batched(1)
def conv2d_input_grad(
    grad: Array, weight: Array, shape: tuple[int, ...], geometry: WindowGeometry, groups: int
) -> Array:
    """The transposed product, folded back onto the pixels: (N, K, OH, OW) -> shape = (N, C, H, W)."""
    return fold(as_rows(grad, groups) @ as_matrix(weight, groups).transpose(0, 2, 1), (len(grad), *shape[1:]), geometry)


@summed(2)
def conv2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: WindowGeometry, groups: int) -> Array:
    """Each weight's inputs times the gradients of its outputs: (N, K, OH, OW) -> shape = (K, C/groups, KH, KW)."""
    return from_matrix(unfold(x, geometry, groups).transpose(0, 2, 1) @ as_rows(grad, groups), shape)


@kernel
def conv2d_bias_grad(grad: Array) -> Array:
    """The sum over samples and pixels: (N, K, OH, OW) -> (K,)"""
    return grad.sum(axis=(2, 3)).sum(axis=0)  # in two steps, which keeps more digits


class Conv2d(Module):
    """Slide a small window over the image and compute the same weighted sum of its pixels at every position.

    y[n, k, i, j] = b[k] + sum over c, u, v of  w[k, c, u, v] x[n, c, s i + d u - p, s j + d v - p]

    with stride s, dilation d, padding p, x zero outside the image, and c over the channels of k's group. Written with
    one row for each window this is a matrix product, so the gradients are those of a product: dL/dw = rowsᵀ g, dL/db is
    the sum of g, and dL/dx is g wᵀ with each row added back to the pixels it was read from. (What deep learning calls
    a convolution is a cross-correlation: w is not flipped.)

    Parameters
    ----------
    in_channels, out_channels : int
        C and K. Both must be divisible by groups.
    kernel_size, stride, dilation : int or pair of int
        Height and width of the window; step between windows; step between the pixels inside a window.
    padding : int, pair of int, four of int, "same" or "valid"
        Zeros around the image: (vertical, horizontal) or ((top, bottom), (left, right)); "same" makes OH = ceil(H /
        stride), with an odd pixel at bottom and right; "valid" is 0.
    groups : int
        The channels are divided into this many independent groups; groups=C is a depthwise convolution.
    bias : bool
        Whether b is added.
    rng : numpy.random.Generator, int or None
        Draws the initial weights.

    Shape
    -----
    (N, C, H, W) -> (N, K, OH, OW), OH = floor((H + P - dilation (KH - 1) - 1) / stride) + 1 with P the padding of top
    and bottom, OW likewise.

    Attributes
    ----------
    weight, bias : Parameter
        (K, C/groups, KH, KW) and (K,), initially uniform in ± 1 / sqrt(C/groups KH KW). bias is None if bias=False.

    Raises
    ------
    ValueError
        If channels are not divisible by ``groups``, or the input has other channels than ``in_channels``.

    Source
    ------
    LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition; as a matrix product: Chellapilla,
    Puri and Simard 2006, High performance convolutional neural networks for document processing. Dilation: Yu and
    Koltun 2016, Multi-scale context aggregation by dilated convolutions, arXiv 1511.07122, section 2. Groups:
    Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional neural networks, section 3.5.

    Examples
    --------
    >>> Conv2d(1, 8, kernel_size=3, padding=1)(np.ones((2, 1, 28, 28), np.float32)).shape
    (2, 8, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Padding = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.in_channels = integer(in_channels, "in_channels", 1)
        self.out_channels = integer(out_channels, "out_channels", 1)
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.padding = parse_padding(padding)
        self.dilation = pair(dilation, "dilation", 1)
        self.groups = integer(groups, "groups", 1)
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(f"{name}={channels} is not divisible by groups={self.groups}: change one of them")
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight, self.bias = init.weight_and_bias(shape, bias, rng)

    def geometry(self, *image: int) -> WindowGeometry:
        """Return how the window moves over an image of this height and width."""
        return WindowGeometry.of(self.kernel_size, self.stride, self.dilation, self.padding, *image)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, K, OH, OW)"""
        x = check_input(x, self.weight.dtype)
        check_images(x, self.in_channels)
        bias = None if self.bias is None else self.bias.data
        y = conv2d(x, self.weight.data, bias, self.geometry(*x.shape[2:]), self.groups)
        self.save_for_backward(x, y.shape)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, K, OH, OW) -> (N, C, H, W)"""
        x, shape = self.saved()
        check_grad(self, grad, shape, x.dtype)
        geometry = self.geometry(*x.shape[2:])
        if self.bias is not None:
            self.bias.accumulate_grad(conv2d_bias_grad(grad))
        self.weight.accumulate_grad(conv2d_weight_grad(grad, x, self.weight.shape, geometry, self.groups))
        if not self.needs_input_grad:
            return None
        return conv2d_input_grad(grad, self.weight.data, x.shape, geometry, self.groups)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Each output pixel costs one multiplication and addition for each weight of its channel."""
        return math.prod(output_shape) * self.weight.size // self.out_channels
