"""AdaptiveMaxPool2d: max pooling to a given output size. `regions` in functional/windows.py divides the image."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input
from cnn.functional.windows import OutputSize, parse_output_size, regions
from cnn.kernels import batched
from cnn.module import Array, Module


@batched(1)
def adaptive_max_pool2d(x: Array, output_size: Pair) -> tuple[Array, Array]:
    """Largest value of each region, and its pixel number in the image: (N, C, H, W) -> two of (N, C, OH, OW)."""
    n, c, h, w = x.shape
    x = x.transpose(0, 2, 3, 1)
    y, argmax = np.empty((n, *output_size, c), x.dtype), np.empty((n, *output_size, c), np.intp)
    for i, rows in enumerate(regions(h, output_size[0])):
        for j, columns in enumerate(regions(w, output_size[1])):
            width = columns.stop - columns.start
            region = x[:, rows, columns].reshape(n, (rows.stop - rows.start) * width, c)
            u, v = np.divmod(region.argmax(axis=1), width)  # the first of equal values; NaN counts as the largest
            y[:, i, j] = region.max(axis=1)
            argmax[:, i, j] = (rows.start + u) * w + columns.start + v
    return y.transpose(0, 3, 1, 2), argmax.transpose(0, 3, 1, 2)


@batched(2)
def adaptive_max_pool2d_input_grad(grad: Array, argmax: Array, shape: tuple[int, ...]) -> Array:
    """Each gradient goes to the largest pixel; overlapping regions add up: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    (n, c, oh, ow), (h, w) = grad.shape, shape[2:]
    x = np.zeros((n, h * w, c), grad.dtype)
    samples, channels = np.ogrid[:n, :c]
    for i in range(oh):
        for j in range(ow):
            x[samples, argmax[:, :, i, j], channels] += grad[:, :, i, j]
    return x.reshape(n, h, w, c).transpose(0, 3, 1, 2)


class AdaptiveMaxPool2d(Module):
    """Divide the image into a fixed number of regions and keep the strongest activation of each.

    y[n, c, i, j] = max of x[n, c, u, v] over  floor(i H / OH) <= u < ceil((i + 1) H / OH),  v likewise

    Only the largest value of a region gets its gradient; of several equal ones, the first in row-major order.

    Parameters
    ----------
    output_size : int or pair of int or None
        OH and OW; None keeps H or W. They may be larger than the image; pixels are then repeated.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW).

    Source
    ------
    He, Zhang, Ren and Sun 2014, Spatial pyramid pooling in deep convolutional networks, arXiv 1406.4729, section 2.2;
    the numbers, including ties, are the same as in torch.nn.AdaptiveMaxPool2d (which, where a region holds several
    NaN, gives the gradient to the last one, not the first).

    Examples
    --------
    >>> x = np.array([[[[1, 5, 2], [3, 3, 8]]]], np.float32)
    >>> AdaptiveMaxPool2d((1, 2))(x)
    array([[[[5., 8.]]]], dtype=float32)
    """

    def __init__(self, output_size: int | OutputSize) -> None:
        self.output_size = parse_output_size(output_size)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        y, argmax = adaptive_max_pool2d(x, (self.output_size[0] or x.shape[2], self.output_size[1] or x.shape[3]))
        self.save_for_backward(x.shape, x.dtype, argmax)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, argmax = self.saved()
        check_grad(self, grad, argmax.shape, dtype)
        return adaptive_max_pool2d_input_grad(grad, argmax, shape)
