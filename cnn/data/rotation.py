"""Rotation: images turned a little, as they may stand in the world."""

import math
from dataclasses import dataclass

import numpy as np

from cnn.core.parameter import Array
from cnn.data.draws import Draws
from cnn.data.levels import as_levels, working_dtype
from cnn.data.transforms import check_batch, number, with_border


@dataclass
class Rotation:
    """Turn each image about its centre by a random angle; what comes in at the corners is 0.

    A pixel is the mean of the four that surround the place it comes from, weighted by how near they are.

    Parameters
    ----------
    degrees : float
        Angles are spread evenly from -degrees to degrees, 0 to 180.

    Examples
    --------
    >>> x = np.full((1, 1, 3, 3), 100, dtype=np.uint8)
    >>> Rotation(degrees=10)(x, np.array([0]), Draws(seed=0, epoch=1, samples=[0]))[0][0, 0]
    array([[ 87, 100,  87],
           [100, 100, 100],
           [ 87, 100,  87]], dtype=uint8)
    """

    degrees: float

    def __post_init__(self) -> None:
        self.degrees = number(self.degrees, "degrees", 0, 180)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        angle = math.radians(self.degrees) * (2 * draws.uniform() - 1)
        return rotate(x, angle, math.radians(self.degrees)), y


def rotate(x: Array, angle: Array, largest: float) -> Array:
    """Turn images (N, C, H, W) against the clock by angles (N,) in radians, none beyond ``largest``."""
    n, c, h, w = x.shape
    work = working_dtype(x.dtype)
    cos, sin = (f(angle).astype(work)[:, None] for f in (np.cos, np.sin))
    # so far out may lie what is looked up, and one pixel more each for rounding and for the neighbour
    turn = math.sin(min(largest, math.pi / 2))
    border_y, border_x = (math.ceil((side - 1) / 2 * turn) + 2 for side in (w, h))
    padded = with_border(x.astype(work, copy=False), border_y, border_x)
    size_y, size_x = padded.shape[2:]
    y, x_ = (np.arange(side, dtype=work) - (side - 1) / 2 for side in (h, w))
    # where each pixel comes from: its place, turned back; (N, H, W)
    from_y = (y * cos + (size_y - 1) / 2)[:, :, None] + (x_ * sin)[:, None, :]
    from_x = (x_ * cos + (size_x - 1) / 2)[:, None, :] - (y * sin)[:, :, None]
    row, column = np.floor(from_y), np.floor(from_x)
    from_y -= row
    from_x -= column
    row *= size_x
    row += column
    first = np.arange(n * c).reshape(n, c, 1, 1) * (size_y * size_x)
    place = np.add(row[:, None], first, dtype=np.intp, casting="unsafe")  # converts and adds in one walk
    flat = padded.reshape(-1)
    right, down = from_x[:, None], from_y[:, None]
    above = between(flat.take(place), flat[1:].take(place), right)
    below = between(flat[size_x:].take(place), flat[size_x + 1 :].take(place), right)
    return as_levels(between(above, below, down), x.dtype)


def between(a: Array, b: Array, share: Array) -> Array:
    """Return a + share (b - a), in the memory of b."""
    b -= a
    b *= share
    b += a
    return b
