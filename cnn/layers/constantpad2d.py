"""ConstantPad2d and ZeroPad2d: padding with one value around the images."""

import numpy as np

from cnn.core.checks import check_grad, check_images, check_input, is_finite
from cnn.functional.windows import PadSides, check_crop, pad_images, parse_pad_sides
from cnn.module import Array, Module


def constant_pad2d(x: Array, padding: PadSides, value: float) -> Array:
    """Crop the negative sides and pad the others: (N, C, H, W) -> (N, C, OH, OW)."""
    left, right, top, bottom = padding
    rows = slice(max(0, -top), x.shape[2] - max(0, -bottom))
    columns = slice(max(0, -left), x.shape[3] - max(0, -right))
    pads = ((max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    return pad_images(x.transpose(0, 2, 3, 1)[:, rows, columns], pads, value).transpose(0, 3, 1, 2)


class ConstantPad2d(Module):
    """Pad the image with one value on all sides.

    y[n, c, i, j] = x[n, c, i - top, j - left], and ``value`` outside the image

    Values only move, so the gradient is g without the padding.

    Parameters
    ----------
    padding : int or four of int
        Width of the padding: (left, right, top, bottom), or one number for all four. A negative side is cropped.
    value : float
        The value of the padding.

    Shape
    -----
    (N, C, H, W) -> (N, C, OH, OW), OH = H + top + bottom, OW = W + left + right.

    Raises
    ------
    ValueError
        If ``value`` is not a number.

    Source
    ------
    torch.nn.ConstantPad2d, including the order of the four sides.

    Examples
    --------
    >>> ConstantPad2d((1, 2, 0, 0), 9)(np.ones((1, 1, 1, 1), np.float32))
    array([[[[9., 1., 9., 9.]]]], dtype=float32)
    """

    def __init__(self, padding: int | PadSides, value: float) -> None:
        self.padding = parse_pad_sides(padding)
        too_large = isinstance(value, int) and not is_finite(value)
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or too_large:
            raise ValueError(f"value must be a number, got {value!r}")
        self.value = float(value)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        x = check_input(x)
        check_images(x)
        check_crop(self.padding, x.shape[2], x.shape[3])
        y = constant_pad2d(x, self.padding, self.value)
        self.save_for_backward(y.shape, y.dtype)
        return y

    def backward(self, grad: Array) -> Array | None:
        """(N, C, OH, OW) -> (N, C, H, W)"""
        check_grad(self, grad, *self.saved())
        left, right, top, bottom = self.padding
        return constant_pad2d(grad, (-left, -right, -top, -bottom), 0)


class ZeroPad2d(ConstantPad2d):
    """Pad the image with zeros on all sides: `ConstantPad2d` with the value 0, as torch.nn.ZeroPad2d.

    Parameters
    ----------
    padding : int or four of int
        Width of the padding: (left, right, top, bottom), or one number for all four. A negative side is cropped.

    Examples
    --------
    >>> ZeroPad2d(1)(np.ones((2, 3, 28, 28), np.float32)).shape
    (2, 3, 30, 30)
    """

    def __init__(self, padding: int | PadSides) -> None:
        super().__init__(padding, 0.0)
