"""Rotation: a transform that rotates images by random angles."""

import math
from dataclasses import dataclass

import numpy as np

from cnn.core.parameter import Array
from cnn.data.intensity import as_pixels, compute_dtype
from cnn.data.sample_rng import SampleRNG
from cnn.data.transforms import check_batch, number_in_range, zero_pad


@dataclass
class Rotation:
    """Rotate each image about its centre by a random angle; pixels from outside the image are 0.

    The interpolation is bilinear.

    Parameters
    ----------
    degrees : float
        From 0 to 180. Angles are uniformly distributed from -degrees to degrees.

    Examples
    --------
    >>> x = np.full((1, 1, 3, 3), 100, dtype=np.uint8)
    >>> Rotation(degrees=10)(x, np.array([0]), SampleRNG(seed=0, epoch=1, indices=[0]))[0][0, 0]
    array([[ 87, 100,  87],
           [100, 100, 100],
           [ 87, 100,  87]], dtype=uint8)
    """

    degrees: float

    def __post_init__(self) -> None:
        self.degrees = number_in_range(self.degrees, "degrees", 0, 180)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, rng)
        angle = math.radians(self.degrees) * (2 * rng.uniform() - 1)
        return rotate(x, angle, math.radians(self.degrees)), y


def rotate(x: Array, angle: Array, max_angle: float) -> Array:
    """Rotate images (N, C, H, W) counterclockwise by angles (N,) in radians, none larger than ``max_angle``."""
    n, c, h, w = x.shape
    dtype = compute_dtype(x.dtype)
    cos, sin = (f(angle).astype(dtype)[:, None] for f in (np.cos, np.sin))
    # The largest distance from the image at which pixels are read, plus one pixel each for rounding and interpolation
    max_sin = math.sin(min(max_angle, math.pi / 2))
    border_y, border_x = (math.ceil((side - 1) / 2 * max_sin) + 2 for side in (w, h))
    padded = zero_pad(x.astype(dtype, copy=False), border_y, border_x)
    size_y, size_x = padded.shape[2:]
    y, x_ = (np.arange(side, dtype=dtype) - (side - 1) / 2 for side in (h, w))
    # The source position of each pixel: its own position, rotated back; (N, H, W)
    from_y = (y * cos + (size_y - 1) / 2)[:, :, None] + (x_ * sin)[:, None, :]
    from_x = (x_ * cos + (size_x - 1) / 2)[:, None, :] - (y * sin)[:, :, None]
    row, column = np.floor(from_y), np.floor(from_x)
    from_y -= row
    from_x -= column
    row *= size_x
    row += column
    first = np.arange(n * c).reshape(n, c, 1, 1) * (size_y * size_x)
    index = np.add(row[:, None], first, dtype=np.intp, casting="unsafe")  # converts and adds in one pass
    flat = padded.reshape(-1)
    right, down = from_x[:, None], from_y[:, None]
    above = lerp(flat.take(index), flat[1:].take(index), right)
    below = lerp(flat[size_x:].take(index), flat[size_x + 1 :].take(index), right)
    return as_pixels(lerp(above, below, down), x.dtype)


def lerp(a: Array, b: Array, weight: Array) -> Array:
    """Interpolate linearly, a + weight (b - a), in place: the result overwrites b."""
    b -= a
    b *= weight
    b += a
    return b
