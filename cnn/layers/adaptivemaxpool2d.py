"""AdaptiveMaxPool2d: a pool that is told the size of its result. How it cuts images: `regions` in functional/windows.py."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input
from cnn.functional.windows import Sizes, regions, sizes
from cnn.kernels import batched
from cnn.module import Array, Module


@batched(1)
def adaptive_max_pool2d(x: Array, size: Pair) -> tuple[Array, Array]:
    """Largest value of each window, and which pixel of the image that was: (N, C, H, W) -> two of (N, C, OH, OW)."""
    n, c, h, w = x.shape
    x = x.transpose(0, 2, 3, 1)
    y, choice = np.empty((n, *size, c), x.dtype), np.empty((n, *size, c), np.intp)
    for i, rows in enumerate(regions(h, size[0])):
        for j, columns in enumerate(regions(w, size[1])):
            width = columns.stop - columns.start
            seen = x[:, rows, columns].reshape(n, (rows.stop - rows.start) * width, c)
            u, v = np.divmod(seen.argmax(axis=1), width)  # the first of equals; NaN counts as the largest
            y[:, i, j] = seen.max(axis=1)
            choice[:, i, j] = (rows.start + u) * w + columns.start + v
    return y.transpose(0, 3, 1, 2), choice.transpose(0, 3, 1, 2)


@batched(2)
def adaptive_max_pool2d_input_grad(grad: Array, choice: Array, shape: tuple[int, ...]) -> Array:
    """Each gradient goes to the pixel chosen; overlapping windows add up: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    (n, c, oh, ow), (h, w) = grad.shape, shape[2:]
    x = np.zeros((n, h * w, c), grad.dtype)
    samples, channels = np.ogrid[:n, :c]
    for i in range(oh):
        for j in range(ow):
            x[samples, choice[:, :, i, j], channels] += grad[:, :, i, j]
    return x.reshape(n, h, w, c).transpose(0, 3, 1, 2)


class AdaptiveMaxPool2d(Module):
    """Cut the image into a fixed number of regions and keep the strongest answer of each.

    y[n, c, i, j] = max of x[n, c, u, v] over  floor(i H / OH) <= u < ceil((i + 1) H / OH),  v alike

    The largest value of a region alone gets its gradient; of several equal ones, the first in reading order.

    Parameters
    ----------
    output_size : int or pair of int or None
        OH and OW; None keeps H or W. Larger than the image is allowed: pixels then repeat.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW).

    Source
    ------
    He, Zhang, Ren and Sun 2014, Spatial pyramid pooling in deep convolutional networks, arXiv 1406.4729, section 2.2;
    numbers, for ties as well, are those of torch.nn.AdaptiveMaxPool2d (where a region holds several NaN, it gives the
    gradient to the last, not the first).

    Examples
    --------
    >>> x = np.array([[[[1, 5, 2], [3, 3, 8]]]], np.float32)
    >>> AdaptiveMaxPool2d((1, 2))(x)
    array([[[[5., 8.]]]], dtype=float32)
    """

    def __init__(self, output_size: int | Sizes) -> None:
        self.output_size = sizes(output_size)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        check_input(x)
        check_images(x)
        y, choice = adaptive_max_pool2d(x, (self.output_size[0] or x.shape[2], self.output_size[1] or x.shape[3]))
        self.save_for_backward(x.shape, x.dtype, choice)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, choice = self.saved()
        check_grad(self, grad, choice.shape, dtype)
        return adaptive_max_pool2d_input_grad(grad, choice, shape)
