"""AdaptiveAvgPool2d: average pooling to a given output size. `regions` in functional/windows.py divides the image."""

import numpy as np

from cnn.core.checks import Pair, check_grad, check_images, check_input
from cnn.functional.windows import OutputSize, parse_output_size, regions
from cnn.kernels import batched
from cnn.module import Array, Module


@batched(1)
def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    """The mean over the rows of each region, then over its columns: (N, C, H, W) -> (N, C, OH, OW)."""
    vertical, horizontal = regions(x.shape[2], output_size[0]), regions(x.shape[3], output_size[1])
    x = x.transpose(0, 2, 3, 1)
    x = np.stack([x[:, rows].mean(axis=1) for rows in vertical], axis=1)
    x = np.stack([x[:, :, columns].mean(axis=2) for columns in horizontal], axis=2)
    return x.transpose(0, 3, 1, 2)


@batched(1)
def adaptive_avg_pool2d_input_grad(grad: Array, shape: tuple[int, ...]) -> Array:
    """Each pixel gets its share from each region that contains it: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    (n, c, oh, ow), (h, w) = grad.shape, shape[2:]
    grad = grad.transpose(0, 2, 3, 1)
    by_column, x = np.zeros((n, oh, w, c), grad.dtype), np.zeros((n, h, w, c), grad.dtype)
    for j, columns in enumerate(regions(w, ow)):
        by_column[:, :, columns] += grad[:, :, j, None] / (columns.stop - columns.start)
    for i, rows in enumerate(regions(h, oh)):
        x[:, rows] += by_column[:, i, None] / (rows.stop - rows.start)
    return x.transpose(0, 3, 1, 2)


class AdaptiveAvgPool2d(Module):
    """Divide the image into a fixed number of regions and take the mean of each, so that images of any size fit the
    layers that follow.

    y[n, c, i, j] = mean of x[n, c, u, v] over  floor(i H / OH) <= u < ceil((i + 1) H / OH),  v likewise

    Each of the m pixels of a region contributes 1/m to its mean, so a pixel gets g / m from each region that contains
    it.

    Parameters
    ----------
    output_size : int or pair of int or None
        OH and OW; None keeps H or W. They may be larger than the image; pixels are then repeated.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW).

    Source
    ------
    With output_size=1, this is the global average pooling of Lin, Chen and Yan 2013, Network in network, arXiv
    1312.4400, section 3.2; the regions are the same as in torch.nn.AdaptiveAvgPool2d.

    Examples
    --------
    >>> x = np.array([[[[1, 5, 2], [3, 3, 8]]]], np.float32)
    >>> AdaptiveAvgPool2d((1, 2))(x)
    array([[[[3. , 4.5]]]], dtype=float32)
    """

    def __init__(self, output_size: int | OutputSize) -> None:
        self.output_size = parse_output_size(output_size)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        y = adaptive_avg_pool2d(x, (self.output_size[0] or x.shape[2], self.output_size[1] or x.shape[3]))
        self.save_for_backward(x.shape, y.shape, x.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, y_shape, dtype = self.saved()
        check_grad(self, grad, y_shape, dtype)
        return adaptive_avg_pool2d_input_grad(grad, shape)
