"""What windows see, a tile of a few images at a time, so that it is still in the cache when it is multiplied."""

import math
from typing import Any, NamedTuple

import numpy as np

from cnn.core.checks import Pair
from cnn.kernels.array.shared import Array, Scratch

TILE_BYTES = 2400 * 1024  # of windows and of what is made of them
LEAST_PLACES = 256  # windows in a tile: with fewer, a product is busy with reading the weights
FEW_CHANNELS = 4

Tile = tuple[slice, slice]  # images, and lines of places


class Size(NamedTuple):
    """How large a tile is: several images, or some lines of places of one."""

    images: int
    lines: int

    @classmethod
    def of(cls, shape: tuple[int, ...], geometry: Any, outputs: int, itemsize: int) -> "Size":
        """Choose a size for images of shape (N, C, H, W) and so many output channels."""
        n, c, h, w = shape
        down, across = geometry.output_size(h, w)
        place = (math.prod(geometry.size) * c + outputs) * itemsize
        lines = -(-max(TILE_BYTES // place, LEAST_PLACES) // across)
        if lines < down:
            return cls(1, lines)
        count = max(1, -(-n // (lines // down)))
        return cls(max(1, -(-n // count)), down)  # tiles of about the same size

    def tiles(self, n: int, down: int) -> list[Tile]:
        """Cut n images with so many lines of places into tiles."""
        return [
            (slice(i, min(i + self.images, n)), slice(j, min(j + self.lines, down)))
            for i in range(0, n, self.images)
            for j in range(0, down, self.lines)
        ]


class Windows:
    """The windows of a tile as rows of a matrix, in memory that serves for one tile after the other.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    geometry : WindowGeometry
        How the window moves; a negative rim cuts.
    size : Size
        That of the largest tile.
    room : callable
        Makes arrays for intermediate results.
    groups : int
    corners : bool
        Whether the four corners of each pool of 2 x 2 places lie apart: first all of the upper left, and so on.
    """

    def __init__(
        self, x: Array, geometry: Any, size: Size, scratch: Scratch, groups: int = 1, corners: bool = False
    ) -> None:
        self.x, self.geometry, self.groups, self.corners = x.transpose(0, 2, 3, 1), geometry, groups, corners
        _, c, h, w = x.shape
        (kh, kw), (sh, sw), (dh, dw), ((top, _), (left, _)) = geometry
        self.places = geometry.output_size(h, w)
        # Of few channels only a few numbers of a window lie together in an image, but each of them in many places
        self.as_columns = c <= FEW_CHANNELS
        bare = top == left == 0 and geometry.needed_padding(self.places, h, w) == ((0, 0), (0, 0))
        self.is_ready = bare and (self.as_columns or self.x.flags.c_contiguous)
        just_pixels = bare and geometry.size == geometry.stride == (1, 1) and self.places == (h, w)
        self.are_pixels = just_pixels and self.x.flags.c_contiguous and not corners
        images, lines = size
        self.memory = None if self.are_pixels else scratch((images * lines * self.places[1] * kh * kw * c,), x.dtype)
        if not self.is_ready:
            height, width = sh * (lines - 1) + dh * (kh - 1) + 1, sw * (self.places[1] - 1) + dw * (kw - 1) + 1
            if self.as_columns:
                self.padded = scratch((images, c, height, width), x.dtype).transpose(0, 2, 3, 1)
            else:
                self.padded = scratch((images, height, width, c), x.dtype)
            self.inner = slice(max(0, left), max(0, left, min(w + left, width)))
            self.padded[:, :, : self.inner.start] = 0
            self.padded[:, :, self.inner.stop :] = 0
            self.rim = -1, -1  # lines of the tile before: where the image starts and stops
        # of tiles of the same size; the fewer steps of Python, the less one thread waits for the other
        self.views: dict[Pair, tuple[Array, Array, Array]] = {}

    def surrounded(self, tile: Tile) -> Array:
        """Return what a tile needs of its images, in the middle of zeros; the next tile overwrites it."""
        images, lines = tile
        (kh, _), (sh, _), (dh, _), ((top, _), (left, _)) = self.geometry
        height = sh * (lines.stop - lines.start - 1) + dh * (kh - 1) + 1
        first = sh * lines.start - top  # the line of the image that is the first here
        if self.is_ready:
            return self.x[images, first : first + height]
        padded = self.padded[: images.stop - images.start, :height]
        start, stop = max(0, first), max(0, first, min(self.x.shape[1], first + height))
        if self.rim != (start - first, stop - first):
            self.rim = start - first, stop - first
            self.padded[:, : self.rim[0]] = 0
            self.padded[:, self.rim[1] :] = 0
        columns = slice(self.inner.start - left, self.inner.stop - left)
        padded[:, start - first : stop - first, self.inner] = self.x[images, start:stop, columns]
        return padded

    def rows(self, tile: Tile) -> Array:
        """Return what the windows of a tile see, (groups, places, KH*KW*C/groups); the next tile overwrites it."""
        if self.memory is None:
            return by_group(self.x[tile], self.groups)
        padded = self.surrounded(tile)
        size = len(padded), tile[1].stop - tile[1].start
        if size not in self.views or self.is_ready:
            self.views[size] = self.look(padded, *size)
        seen, copy, rows = self.views[size]
        np.copyto(copy, seen)
        return rows

    def look(self, padded: Array, n: int, lines: int) -> tuple[Array, Array, Array]:
        """Return what the windows see, the memory that it is copied to in the same order, and that memory as rows."""
        assert self.memory is not None
        size, (sh, sw), (dh, dw), _ = self.geometry
        across, c = self.places[1], padded.shape[3] // self.groups
        along_n, along_h, along_w, along_c = padded.strides
        shape = (self.groups, n, lines, across, *size, c)
        strides = (c * along_c, along_n, sh * along_h, sw * along_w, dh * along_h, dw * along_w, along_c)
        seen = np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)
        if self.corners:
            seen = seen.reshape(self.groups, n, lines // 2, 2, across // 2, 2, *size, c)
            seen = seen.transpose(0, 3, 5, 1, 2, 4, 6, 7, 8)
        memory, length = self.memory[: seen.size], math.prod(size) * c
        if self.as_columns:
            seen = np.moveaxis(seen, (-3, -2, -1), (1, 2, 3))
            rows = memory.reshape(self.groups, length, n * lines * across).transpose(0, 2, 1)
        else:
            rows = memory.reshape(self.groups, n * lines * across, length)
        return seen, memory.reshape(seen.shape), rows


def by_group(x: Array, groups: int) -> Array:
    """See each pixel of images (N, H, W, C) as a row: (groups, N*H*W, C/groups), no copy if they are in one piece."""
    n, h, w, c = x.shape
    return x.reshape(n * h * w, groups, c // groups).transpose(1, 0, 2)


def as_matrix(weight: Array, groups: int) -> Array:
    """Write each channel's weights as one column: (K, C/groups, KH, KW) -> (groups, KH*KW*C/groups, K/groups)."""
    k, c, kh, kw = weight.shape
    weight = weight.reshape(groups, k // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return weight.reshape(groups, kh * kw * c, k // groups)


def corners_of(spread: Array) -> Array:
    """See images (N, OH, OW, K) as the corners of pools, (2, 2, N, OH/2, OW/2, K)."""
    n, down, across, k = spread.shape
    return spread.reshape(n, down // 2, 2, across // 2, 2, k).transpose(2, 4, 0, 1, 3, 5)
