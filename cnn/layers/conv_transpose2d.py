"""ConvTranspose2d: a convolution run backwards, which makes images larger. The mathematics is that of conv2d.py."""

import math

import numpy as np

from cnn import init
from cnn.core.checks import Pair, check_grad, check_images, check_input, integer, pair
from cnn.core.rng import generator
from cnn.errors import ShapeError
from cnn.functional.padding import Padding, parse_padding, sides
from cnn.functional.windows import WindowGeometry, as_matrix, as_rows, fold, from_matrix, from_rows, unfold
from cnn.kernels import batched, summed
from cnn.module import Array, Module, Parameter


@batched(1)
def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None, shape: tuple[int, ...], geometry: WindowGeometry, groups: int
) -> Array:
    """Every pixel times the weights, added into its window: (N, C, H, W) -> shape = (N, K, OH, OW)."""
    y = fold(as_rows(x, groups) @ as_matrix(weight, groups).transpose(0, 2, 1), (len(x), *shape[1:]), geometry)
    if bias is not None:
        y += bias[:, None, None]
    return y


@batched(1)
def conv_transpose2d_input_grad(grad: Array, weight: Array, geometry: WindowGeometry, groups: int) -> Array:
    """The gradient of each pixel's window times the weights: (N, K, OH, OW) -> (N, C, H, W)."""
    rows = unfold(grad, geometry, groups) @ as_matrix(weight, groups)
    return from_rows(rows, len(grad), geometry.output_size(grad.shape[2], grad.shape[3]))


@summed(2)
def conv_transpose2d_weight_grad(
    grad: Array, x: Array, shape: tuple[int, ...], geometry: WindowGeometry, groups: int
) -> Array:
    """Each pixel times the gradient of the outputs it contributed to: -> shape = (C, K/groups, KH, KW)."""
    return from_matrix(unfold(grad, geometry, groups).transpose(0, 2, 1) @ as_rows(x, groups), shape)


class ConvTranspose2d(Module):
    """Add a small window of weights, scaled by the pixel, into a larger image for each pixel; overlaps sum up.

    y[n, k, s i + d u - p, s j + d v - p] += w[c, k, u, v] x[n, c, i, j],  and b[k] once for each pixel of y

    with stride s, dilation d, padding p, and c over the channels of k's group. This is the input gradient (the
    transposed matrix) of a `Conv2d` from y to x with the same weights. So dL/dx is that convolution of g, and dL/dw its
    weight gradient with x and g swapped; dL/db is the sum of g.

    Parameters
    ----------
    in_channels, out_channels, groups : int
        C and K, both divisible by groups: the channels are divided into this many independent groups.
    kernel_size, stride, dilation : int or pair of int
        Height and width of the window; step between windows in y; step between the pixels inside a window.
    padding, output_padding : int or pair of int; for padding also four of int, ((top, bottom), (left, right))
        Pixels cropped around y; how many fewer are cropped at bottom and right, less than stride or dilation. Conv2d(1,
        1, 3, stride=2, padding=1) turns both 7 x 7 and 8 x 8 into 4 x 4: 0 restores the smaller size, 1 the larger.
    bias, rng : bool; numpy.random.Generator, int or None
        Whether b is added; what draws the initial weights.

    Shape
    -----
    (N, C, H, W) -> (N, K, OH, OW), OH = (H-1) stride - 2 padding + dilation (KH-1) + output_padding + 1, OW likewise.

    Attributes
    ----------
    weight, bias : Parameter
        (C, K/groups, KH, KW) and (K,), initially uniform in ± 1 / sqrt(K/groups KH KW). bias is None if bias=False.

    Raises
    ------
    ValueError
        If channels are not divisible by ``groups``, or ``output_padding`` or the padding is too large.

    Source
    ------
    Zeiler, Krishnan, Taylor and Fergus 2010, Deconvolutional networks; Dumoulin and Visin 2016, A guide to
    convolution arithmetic for deep learning, arXiv 1603.07285, section 4. Numbers as in torch.nn.ConvTranspose2d.

    Examples
    --------
    >>> layer = ConvTranspose2d(1, 1, kernel_size=(1, 3), stride=2, bias=False)
    >>> layer.weight.data[...] = 1
    >>> layer(np.ones((1, 1, 1, 3), np.float32))
    array([[[[1., 1., 2., 1., 2., 1., 1.]]]], dtype=float32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Padding = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.in_channels = integer(in_channels, "in_channels", 1)
        self.out_channels = integer(out_channels, "out_channels", 1)
        self.kernel_size, self.groups = pair(kernel_size, "kernel_size", 1), integer(groups, "groups", 1)
        self.stride, self.dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        self.padding, self.output_padding = parse_padding(padding, words=()), pair(output_padding, "output_padding", 0)
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(f"{name}={channels} is not divisible by groups={self.groups}: change one of them")
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(s, d):
                raise ValueError(f"output_padding={extra} must be smaller than stride={s} or dilation={d}")
        shape, rng = (self.in_channels, self.out_channels // self.groups, *self.kernel_size), generator(rng)
        bound = 1 / math.sqrt(init.fan_in_and_out(shape)[0])
        self.weight = Parameter(init.uniform(shape, -bound, bound, rng))
        self.bias = Parameter(init.uniform((self.out_channels,), -bound, bound, rng)) if bias else None

    def geometry(self) -> WindowGeometry:
        """Return how the window moves over y."""
        ((top, bottom), (left, right)), (rows, columns) = sides(self.padding), self.output_padding
        pads = ((top, bottom - rows), (left, right - columns))
        return WindowGeometry(self.kernel_size, self.stride, self.dilation, pads)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, K, OH, OW)"""
        x = check_input(x, self.weight.dtype)
        check_images(x, self.in_channels)
        oh, ow = (geometry := self.geometry()).input_size(x.shape[2], x.shape[3])
        if min(oh, ow, *x.shape[2:]) < 1:
            fix = "use less padding, a larger kernel_size or larger images"
            raise ShapeError(f"images of {x.shape[2]} x {x.shape[3]} would become {oh} x {ow}: {fix}")
        bias = None if self.bias is None else self.bias.data
        y = conv_transpose2d(x, self.weight.data, bias, (len(x), self.out_channels, oh, ow), geometry, self.groups)
        self.save_for_backward(x, y.shape)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, K, OH, OW) -> (N, C, H, W)"""
        x, shape = self.saved()
        check_grad(self, grad, shape, x.dtype)
        if self.bias is not None:
            self.bias.accumulate_grad(grad.sum(axis=(2, 3)).sum(axis=0))  # in two steps, which keeps more digits
        geometry = self.geometry()
        self.weight.accumulate_grad(conv_transpose2d_weight_grad(grad, x, self.weight.shape, geometry, self.groups))
        if not self.needs_input_grad:
            return None
        return conv_transpose2d_input_grad(grad, self.weight.data, geometry, self.groups)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Each input pixel costs one multiplication and addition for each weight of its channel."""
        return output_shape[0] * math.prod(self.geometry().output_size(*output_shape[-2:])) * self.weight.size
