"""AvgPool2d: the mean of each window. cnn/functional/windows.py explains `WindowGeometry`."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input, pair
from cnn.functional.padding import Padding, check_pool_padding, parse_padding
from cnn.functional.windows import WindowGeometry, pad_images
from cnn.kernels import batched
from cnn.module import Array, Module


def areas(geometry: WindowGeometry, output_size: Pair, height: int, width: int, include_pad: bool) -> Array:
    """Count the pixels of each window, including or excluding those of the padding: (OH, OW, 1).

    With ceil_mode a window may extend beyond the padding; that part is never counted.
    """
    sides = []
    for axis, pixels in enumerate((height, width)):
        start = geometry.stride[axis] * np.arange(output_size[axis]) - geometry.pads[axis][0]
        before, after = geometry.pads[axis] if include_pad else (0, 0)
        sides.append(np.minimum(start + geometry.size[axis], pixels + after) - np.maximum(start, -before))
    return sides[0][:, None, None] * sides[1][:, None]


@batched(1)
def avgpool2d(x: Array, geometry: WindowGeometry, area: Array) -> Array:
    """The sum of each window, divided by its area: (N, C, H, W) -> (N, C, OH, OW)."""
    output_size = (area.shape[0], area.shape[1])
    x = pad_images(x.transpose(0, 2, 3, 1), geometry.needed_padding(output_size, x.shape[2], x.shape[3]), 0)
    y = np.zeros((len(x), *output_size, x.shape[3]), x.dtype)
    for _, _, rows, columns in geometry.window_offsets(output_size):
        y += x[:, rows, columns]
    return (y / area).transpose(0, 3, 1, 2)


@batched(1)
def avgpool2d_input_grad(grad: Array, shape: tuple[int, ...], geometry: WindowGeometry, area: Array) -> Array:
    """Each pixel gets its share from each window that contains it: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    output_size, (_, c, h, w) = (area.shape[0], area.shape[1]), shape
    (top, bottom), (left, right) = geometry.needed_padding(output_size, h, w)
    x = np.zeros((len(grad), top + h + bottom, left + w + right, c), grad.dtype)
    share = grad.transpose(0, 2, 3, 1) / area
    for _, _, rows, columns in geometry.window_offsets(output_size):
        x[:, rows, columns] += share
    return x[:, top : top + h, left : left + w].transpose(0, 3, 1, 2)


class AvgPool2d(Module):
    """Take the mean of each small window: a smaller image of the same scene.

    y[n, c, i, j] = 1 / m[i, j]  sum over u, v of  x[n, c, s i + u - p, s j + v - p]

    with stride s, padding p, x zero outside the image, and m the number of pixels that count: KH KW, except in windows
    at the edges (see count_include_pad). Each pixel of a window gets the same share, so dL/dx of a pixel is the sum of
    g / m over the windows that contain it.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of the window.
    stride : int, pair of int or None
        Step between windows; None means kernel_size.
    padding : int, pair of int, four of int, "same" or "valid"
        Zeros around the image: (vertical, horizontal), at most half of kernel_size, or ((top, bottom), (left, right)),
        less than kernel_size; "same" makes OH = ceil(H / stride), with an odd pixel at bottom and right; "valid" is 0.
    ceil_mode : bool
        Whether leftover pixels at the end get a window of their own. The part of it that extends beyond the padding
        does not count.
    count_include_pad : bool
        Whether the zeros of the padding count in the mean.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + P - KH) / stride) + 1 with P the padding of top and bottom, OW
    likewise; with ceil_mode the division rounds up.

    Source
    ------
    LeCun et al. 1989, Handwritten digit recognition with a back-propagation network, layers H2 and H4. At the
    edges the numbers are the same as in torch.nn.AvgPool2d.

    Examples
    --------
    >>> x = np.array([[[[1, 5, 2, 0], [3, 7, 8, 2]]]], np.float32)
    >>> AvgPool2d(2)(x)
    array([[[[4., 3.]]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = parse_padding(padding)
        check_pool_padding(self.padding, self.kernel_size)
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def geometry(self, *image: int) -> WindowGeometry:
        """Return how the window moves over an image of this height and width."""
        return WindowGeometry.of(self.kernel_size, self.stride, (1, 1), self.padding, *image)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        h, w = x.shape[2:]
        geometry = self.geometry(h, w)
        area = areas(geometry, geometry.output_size(h, w, self.ceil_mode), h, w, self.count_include_pad).astype(x.dtype)
        y = avgpool2d(x, geometry, area)
        self.save_for_backward(x.shape, y.shape, area)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, y_shape, area = self.saved()
        check_grad(self, grad, y_shape, area.dtype)
        return avgpool2d_input_grad(grad, shape, self.geometry(*shape[2:]), area)
