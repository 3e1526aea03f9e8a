"""ReplicationPad2d and ReflectionPad2d: padding with copied pixels around the images."""

import numpy as np

from cnn.core.checks import check_grad, check_images, check_input
from cnn.errors import ShapeError
from cnn.functional.windows import PadSides, check_crop, parse_pad_sides
from cnn.module import Array, Module


def copy_pad2d(x: Array, rows: Array, columns: Array) -> Array:
    """Copy each output pixel from its source row and column: (N, C, H, W) -> (N, C, OH, OW)."""
    return x.transpose(0, 2, 3, 1).take(rows, axis=1).take(columns, axis=2).transpose(0, 3, 1, 2)


def copy_pad2d_input_grad(grad: Array, rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    """Add the gradient of each copy to the pixel that it was copied from: (N, C, OH, OW) -> shape = (N, C, H, W)."""
    n, c, h, w = shape
    grad = grad.transpose(0, 2, 3, 1)
    merged, x = np.zeros((n, len(rows), w, c), grad.dtype), np.zeros((n, h, w, c), grad.dtype)
    for j, column in enumerate(columns):
        merged[:, :, column] += grad[:, :, j]
    for i, row in enumerate(rows):
        x[:, row] += merged[:, i]
    return x.transpose(0, 3, 1, 2)


class CopyPad2d(Module):
    """What both layers share: each row and each column of the output is a copy of one of the image."""

    def __init__(self, padding: int | PadSides) -> None:
        self.padding = parse_pad_sides(padding)

    def source_indices(self, pixels: int, before: int, after: int) -> Array:
        """Return for each output position along an axis, padding included, the index of the pixel that it copies."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        check_crop(self.padding, x.shape[2], x.shape[3])
        left, right, top, bottom = self.padding
        rows, columns = self.source_indices(x.shape[2], top, bottom), self.source_indices(x.shape[3], left, right)
        y = copy_pad2d(x, rows, columns)
        self.save_for_backward(x.shape, x.dtype, rows, columns)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        shape, dtype, rows, columns = self.saved()
        check_grad(self, grad, (*shape[:2], len(rows), len(columns)), dtype)
        return copy_pad2d_input_grad(grad, rows, columns, shape)


class ReplicationPad2d(CopyPad2d):
    """Pad the image by repeating its outermost pixels, so that the padding adds no edge that is not in the image.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)],  r(i) = i clipped to the image: max(0, min(i, H - 1))

    A pixel that was copied gets the sum of the gradients of its copies.

    Parameters
    ----------
    padding : int or four of int
        Width of the padding: (left, right, top, bottom), or one number for all four. A negative side is cropped.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = H + top + bottom, OW = W + left + right.

    Source
    ------
    The numbers are the same as in torch.nn.ReplicationPad2d.

    Examples
    --------
    >>> ReplicationPad2d((1, 2, 0, 0))(np.array([[[[1, 2, 3]]]], np.float32))
    array([[[[1., 1., 2., 3., 3., 3.]]]], dtype=float32)
    """

    def source_indices(self, pixels: int, before: int, after: int) -> Array:
        """Return for each output position the nearest pixel."""
        return np.arange(-before, pixels + after).clip(0, pixels - 1)


class ReflectionPad2d(CopyPad2d):
    """Pad the image with its mirror image; the outermost pixels are the mirror axes and are not repeated.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)],  r(i) = |i| above the image, 2 (H - 1) - i below it

    A pixel that was copied gets the sum of the gradients of its copies.

    Parameters
    ----------
    padding : int or four of int
        Width of the padding: (left, right, top, bottom), or one number for all four; less than the size of the image.
        A negative side is cropped.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = H + top + bottom, OW = W + left + right.

    Raises
    ------
    ShapeError
        If the padding is not smaller than the image.

    Source
    ------
    The numbers are the same as in torch.nn.ReflectionPad2d.

    Examples
    --------
    >>> ReflectionPad2d((1, 2, 0, 0))(np.array([[[[1, 2, 3]]]], np.float32))
    array([[[[2., 1., 2., 3., 2., 1.]]]], dtype=float32)
    """

    def source_indices(self, pixels: int, before: int, after: int) -> Array:
        """Return for each output position the pixel that is mirrored there."""
        if max(before, after) >= pixels:
            raise ShapeError(
                f"padding={self.padding} mirrors {max(before, after)} pixels next to the outermost one, but the input "
                f"has only {pixels} in that direction: use a padding of at most {pixels - 1}"
            )
        mirrored = np.abs(np.arange(-before, pixels + after))
        return pixels - 1 - np.abs(pixels - 1 - mirrored)
