"""ReplicationPad2d and ReflectionPad2d: a rim of copied pixels around the images."""

import numpy as np

from cnn.core.checks import check_grad, check_images, check_input
from cnn.errors import ShapeError
from cnn.functional.windows import Sides, check_kept, sides
from cnn.module import Array, Module


def copy_pad2d(x: Array, rows: Array, columns: Array) -> Array:
    """Copy each pixel from its row and column: (N, C, H, W) -> (N, C, OH, OW)."""
    return x.transpose(0, 2, 3, 1).take(rows, axis=1).take(columns, axis=2).transpose(0, 3, 1, 2)


def copy_pad2d_input_grad(grad: Array, rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    """Add each gradient to the pixel that was copied: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    grad = grad.transpose(0, 2, 3, 1)
    merged, x = np.zeros((n, len(rows), w, c), grad.dtype), np.zeros((n, h, w, c), grad.dtype)
    for j, column in enumerate(columns):
        merged[:, :, column] += grad[:, :, j]
    for i, row in enumerate(rows):
        x[:, row] += merged[:, i]
    return x.transpose(0, 3, 1, 2)


class CopyPad2d(Module):
    """What both pads share: each row and each column of the result is a copy of one of the image."""

    def __init__(self, padding: int | Sides) -> None:
        self.padding = sides(padding)

    def sources(self, pixels: int, before: int, after: int) -> Array:
        """Return which of the pixels in a line each place shows, the rim included."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        check_input(x)
        check_images(x)
        check_kept(self.padding, x.shape[2], x.shape[3])
        left, right, top, bottom = self.padding
        rows, columns = self.sources(x.shape[2], top, bottom), self.sources(x.shape[3], left, right)
        y = copy_pad2d(x, rows, columns)
        self.save_for_backward(x.shape, x.dtype, rows, columns)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, rows, columns = self.saved()
        check_grad(self, grad, (*shape[:2], len(rows), len(columns)), dtype)
        return copy_pad2d_input_grad(grad, rows, columns, shape)


class ReplicationPad2d(CopyPad2d):
    """Continue the image with its outermost pixels, so that the rim makes no edge that is not in the image.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)],  r(i) = i moved into the image: max(0, min(i, H - 1))

    A pixel that was copied gets the sum of the gradients of its copies.

    Parameters
    ----------
    padding : int or four of int
        How wide the rim is: (left, right, top, bottom), or one number for all. A negative side is cut off.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = H + top + bottom, OW = W + left + right.

    Source
    ------
    Numbers as torch.nn.ReplicationPad2d.

    Examples
    --------
    >>> ReplicationPad2d((1, 2, 0, 0))(np.array([[[[1, 2, 3]]]], np.float32))
    array([[[[1., 1., 2., 3., 3., 3.]]]], dtype=float32)
    """

    def sources(self, pixels: int, before: int, after: int) -> Array:
        """Return for each place the pixel that is nearest to it."""
        return np.arange(-before, pixels + after).clip(0, pixels - 1)


class ReflectionPad2d(CopyPad2d):
    """Continue the image with its mirror image; the outermost pixels are the mirrors and are not repeated.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)],  r(i) = |i| above the image, 2 (H - 1) - i below it

    A pixel that was copied gets the sum of the gradients of its copies.

    Parameters
    ----------
    padding : int or four of int
        How wide the rim is: (left, right, top, bottom), or one number for all; less than the image. A negative side
        is cut off.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = H + top + bottom, OW = W + left + right.

    Source
    ------
    Numbers as torch.nn.ReflectionPad2d.

    Examples
    --------
    >>> ReflectionPad2d((1, 2, 0, 0))(np.array([[[[1, 2, 3]]]], np.float32))
    array([[[[2., 1., 2., 3., 2., 1.]]]], dtype=float32)
    """

    def sources(self, pixels: int, before: int, after: int) -> Array:
        """Return for each place the pixel that the mirrors show there."""
        if max(before, after) >= pixels:
            raise ShapeError(
                f"padding={self.padding} mirrors {max(before, after)} pixels beside the outermost one, but the input "
                f"has only {pixels} in that direction: use a padding of at most {pixels - 1}"
            )
        places = np.abs(np.arange(-before, pixels + after))
        return pixels - 1 - np.abs(pixels - 1 - places)
