"""Rotation: a transform that rotates images by random angles."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from cnn.core.explain import explain_init
from cnn.core.parameter import Array
from cnn.data.intensity import as_pixels, compute_dtype
from cnn.data.pixels import check_batch, fill_with_nearest, number_in_range, pad
from cnn.data.sample_rng import SampleRNG
from cnn.data.targets import as_mask_fill, move_targets, outside_value


@explain_init
@dataclass
class Rotation:
    """Rotate each image about its centre by a random angle.

    The interpolation is bilinear, except that each pixel of an integer mask gets the label of the nearest pixel.

    Parameters
    ----------
    degrees : float
        From 0 to 180. Angles are uniformly distributed from -degrees to degrees.
    edge : {"zero", "nearest"}
        What comes into the image from outside: zeros, which are black before `Normalize`; or the nearest pixel of the
        image, which suits photographs, and drawings on a light background. Masks get the same, but not zeros.
    mask_fill : float, optional
        What masks get for pixels from outside the image, with ``edge="zero"``; keyword-only. By default -100 in integer
        masks, which CrossEntropyLoss ignores (``ignore_index``), so that no label is invented; 0 in floating-point
        masks.

    Raises
    ------
    ValueError
        If ``edge`` is neither of the two.

    Examples
    --------
    >>> x = np.full((1, 1, 3, 3), 100, dtype=np.uint8)
    >>> Rotation(degrees=10)(x, np.array([0]), SampleRNG(seed=0, epoch=1, indices=[0]))[0][0, 0]
    array([[ 87, 100,  87],
           [100, 100, 100],
           [ 87, 100,  87]], dtype=uint8)
    """

    moves_pixels: ClassVar[bool] = True
    mixes_samples: ClassVar[bool] = False

    degrees: float
    edge: str = "zero"
    _: KW_ONLY
    mask_fill: float | None = None

    def __post_init__(self) -> None:
        self.degrees = number_in_range(self.degrees, "degrees", 0, 180)
        if self.edge not in ("zero", "nearest"):
            raise ValueError(f'edge must be "zero" or "nearest", got {self.edge!r}')
        self.mask_fill = as_mask_fill(self.mask_fill)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, rng)
        angle, largest = self._angle(rng), math.radians(self.degrees)
        if self.edge == "nearest":
            return rotate(x, angle, largest, None), move_targets(
                y, x, lambda masks: rotate_masks(masks, angle, largest, None)
            )
        return rotate(x, angle, largest), move_targets(
            y, x, lambda masks: rotate_masks(masks, angle, largest, outside_value(masks, self.mask_fill))
        )

    def move_points(self, points: Array, size: tuple[int, int], rng: SampleRNG) -> Array:
        """(N, P, 2) -> the same"""
        angle = self._angle(rng)[:, None]
        cos, sin = np.cos(angle), np.sin(angle)
        centre = (size[1] - 1) / 2, (size[0] - 1) / 2
        x, y = points[..., 0] - centre[0], points[..., 1] - centre[1]
        rotated = np.stack([centre[0] + x * cos + y * sin, centre[1] + y * cos - x * sin], axis=-1)
        return rotated.astype(points.dtype)

    def _angle(self, rng: SampleRNG) -> Array:
        return math.radians(self.degrees) * (2 * rng.uniform() - 1)

    def __repr__(self) -> str:
        more = "" if self.edge == "zero" else f", edge={self.edge!r}"
        more += "" if self.mask_fill is None else f", mask_fill={self.mask_fill!r}"
        return f"Rotation(degrees={self.degrees!r}{more})"


def rotate(x: Array, angle: Array, max_angle: float, fill: float | None = 0) -> Array:
    """Rotate images (N, C, H, W) counterclockwise by angles (N,) in radians, none larger than ``max_angle``.

    Pixels from outside the image are ``fill``, or if that is None, the nearest pixel of the image.
    """
    n, c = x.shape[:2]
    dtype = compute_dtype(x.dtype)
    padded, from_y, from_x = sources(x.astype(dtype, copy=False), angle, max_angle, fill, dtype)
    size_y, size_x = padded.shape[2:]
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


def rotate_masks(masks: Array, angle: Array, max_angle: float, fill: float | None) -> Array:
    """Rotate masks (N, C, H, W) as `rotate` rotates images; the pixels of integer masks are not mixed."""
    if masks.dtype.kind == "f":
        return rotate(masks, angle, max_angle, fill)
    padded, from_y, from_x = sources(masks, angle, max_angle, fill, np.dtype(np.float64))
    row, column = (np.rint(position).astype(np.intp)[:, None] for position in (from_y, from_x))
    sample, channel = np.arange(len(masks))[:, None, None, None], np.arange(masks.shape[1])[None, :, None, None]
    return padded[sample, channel, row, column]


def sources(
    x: Array, angle: Array, max_angle: float, fill: float | None, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array]:
    """Return padded images, and the row and column in them from which each rotated pixel comes, (N, H, W) each."""
    h, w = x.shape[2:]
    cos, sin = (f(angle).astype(dtype)[:, None] for f in (np.cos, np.sin))
    # The largest distance from the image at which pixels are read, plus one pixel each for rounding and interpolation
    max_sin = math.sin(min(max_angle, math.pi / 2))
    border_y, border_x = (math.ceil((side - 1) / 2 * max_sin) + 2 for side in (w, h))
    padded = pad(x, border_y, border_x, fill or 0)
    if fill is None:
        fill_with_nearest(padded, border_y, border_x)
    size_y, size_x = padded.shape[2:]
    y, x_ = (np.arange(side, dtype=dtype) - (side - 1) / 2 for side in (h, w))
    # The source position of each pixel: its own position, rotated back
    from_y = (y * cos + (size_y - 1) / 2)[:, :, None] + (x_ * sin)[:, None, :]
    from_x = (x_ * cos + (size_x - 1) / 2)[:, None, :] - (y * sin)[:, :, None]
    return padded, from_y, from_x


def lerp(a: Array, b: Array, weight: Array) -> Array:
    """Interpolate linearly, a + weight (b - a), in place: the result overwrites b."""
    b -= a
    b *= weight
    b += a
    return b
