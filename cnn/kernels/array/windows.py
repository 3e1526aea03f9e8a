"""Window matrices (im2col) for a tile of a few images at a time, so that they are still in the cache for the product.

A tile is a block of work: some images, or some output rows of one image.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from cnn.core.checks import Pair
from cnn.kernels.array.parallel_for import Array, Scratch

TILE_BYTES = 2400 * 1024  # of windows and of their outputs
MIN_WINDOWS = 256  # in a tile: with fewer, a product spends its time reading the weights
FEW_CHANNELS = 4

Tile = tuple[slice, slice]  # images, and output rows


class TileSize(NamedTuple):
    """How large a tile is: several images, or some output rows of one."""

    images: int
    rows: int

    @classmethod
    def choose(cls, shape: tuple[int, ...], geometry: Any, outputs: int, itemsize: int) -> "TileSize":
        """Choose a size for images of shape (N, C, H, W) and this number of output channels."""
        n, c, h, w = shape
        oh, ow = geometry.output_size(h, w)
        window_bytes = (math.prod(geometry.size) * c + outputs) * itemsize
        rows = -(-max(TILE_BYTES // window_bytes, MIN_WINDOWS) // ow)
        if rows < oh:
            return cls(1, rows)
        count = max(1, -(-n // (rows // oh)))
        return cls(max(1, -(-n // count)), oh)  # tiles of about the same size

    def tiles(self, n: int, oh: int) -> list[Tile]:
        """Cut n images with ``oh`` output rows each into tiles."""
        return [
            (slice(i, min(i + self.images, n)), slice(j, min(j + self.rows, oh)))
            for i in range(0, n, self.images)
            for j in range(0, oh, self.rows)
        ]


class Windows:
    """The windows of a tile as rows of a matrix, in memory that is used again for each tile.

    Parameters
    ----------
    x : ndarray
        Images (N, C, H, W).
    geometry : WindowGeometry
        How the window moves; negative padding crops.
    size : TileSize
        Size of the largest tile.
    scratch : callable
        Makes arrays for intermediate results.
    groups : int
    corners : bool
        Whether to sort the windows by their corner in pools of 2 x 2 outputs: first the windows of all upper left
        outputs, then of all upper right ones, and so on.
    """

    def __init__(
        self, x: Array, geometry: Any, size: TileSize, scratch: Scratch, groups: int = 1, corners: bool = False
    ) -> None:
        self.x, self.geometry, self.groups, self.corners = x.transpose(0, 2, 3, 1), geometry, groups, corners
        _, c, h, w = x.shape
        (kh, kw), (sh, sw), (dh, dw), ((top, _), (left, _)) = geometry
        self.output_size = geometry.output_size(h, w)
        # With few channels only a few numbers of a window are adjacent in an image, but each of them is in many windows
        self.channels_first = c <= FEW_CHANNELS
        unpadded = top == left == 0 and geometry.needed_padding(self.output_size, h, w) == ((0, 0), (0, 0))
        self.reads_x = unpadded and (self.channels_first or self.x.flags.c_contiguous)
        pointwise = unpadded and geometry.size == geometry.stride == (1, 1) and self.output_size == (h, w)
        self.is_view = pointwise and self.x.flags.c_contiguous and not corners  # the matrix is x itself
        images, rows = size
        self.memory = None if self.is_view else scratch((images * rows * self.output_size[1] * kh * kw * c,), x.dtype)
        if not self.reads_x:
            height, width = sh * (rows - 1) + dh * (kh - 1) + 1, sw * (self.output_size[1] - 1) + dw * (kw - 1) + 1
            if self.channels_first:
                self.padded = scratch((images, c, height, width), x.dtype).transpose(0, 2, 3, 1)
            else:
                self.padded = scratch((images, height, width, c), x.dtype)
            self.inner = slice(max(0, left), max(0, left, min(w + left, width)))
            self.padded[:, :, : self.inner.start] = 0
            self.padded[:, :, self.inner.stop :] = 0
            self.inner_rows = -1, -1  # of the previous tile: where in `padded` the image starts and stops
        # for each size of a tile: the fewer Python steps, the less one thread waits for another
        self.views: dict[Pair, tuple[Array, Array, Array]] = {}

    def padded_tile(self, tile: Tile) -> Array:
        """Return the pixels that a tile needs, padded with zeros; the next tile overwrites them."""
        images, rows = tile
        (kh, _), (sh, _), (dh, _), ((top, _), (left, _)) = self.geometry
        height = sh * (rows.stop - rows.start - 1) + dh * (kh - 1) + 1
        first = sh * rows.start - top  # the image row that is the first here
        if self.reads_x:
            return self.x[images, first : first + height]
        padded = self.padded[: images.stop - images.start, :height]
        start, stop = max(0, first), max(0, first, min(self.x.shape[1], first + height))
        if self.inner_rows != (start - first, stop - first):
            self.inner_rows = start - first, stop - first
            self.padded[:, : self.inner_rows[0]] = 0
            self.padded[:, self.inner_rows[1] :] = 0
        columns = slice(self.inner.start - left, self.inner.stop - left)
        padded[:, start - first : stop - first, self.inner] = self.x[images, start:stop, columns]
        return padded

    def matrix(self, tile: Tile) -> Array:
        """Return the windows of a tile, (groups, windows, KH*KW*C/groups); the next tile overwrites them."""
        if self.memory is None:
            return by_group(self.x[tile], self.groups)
        padded = self.padded_tile(tile)
        size = len(padded), tile[1].stop - tile[1].start
        if size not in self.views or self.reads_x:
            self.views[size] = self.make_views(padded, *size)
        windows, copy, matrix = self.views[size]
        np.copyto(copy, windows)
        return matrix

    def make_views(self, padded: Array, n: int, rows: int) -> tuple[Array, Array, Array]:
        """Return a view of all windows, the memory that they are copied to in the same order, and it as a matrix."""
        assert self.memory is not None
        size, (sh, sw), (dh, dw), _ = self.geometry
        ow, c = self.output_size[1], padded.shape[3] // self.groups
        along_n, along_h, along_w, along_c = padded.strides
        shape = (self.groups, n, rows, ow, *size, c)
        strides = (c * along_c, along_n, sh * along_h, sw * along_w, dh * along_h, dw * along_w, along_c)
        windows = np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)
        if self.corners:
            windows = windows.reshape(self.groups, n, rows // 2, 2, ow // 2, 2, *size, c)
            windows = windows.transpose(0, 3, 5, 1, 2, 4, 6, 7, 8)
        memory, length = self.memory[: windows.size], math.prod(size) * c
        if self.channels_first:
            windows = np.moveaxis(windows, (-3, -2, -1), (1, 2, 3))
            matrix = memory.reshape(self.groups, length, n * rows * ow).transpose(0, 2, 1)
        else:
            matrix = memory.reshape(self.groups, n * rows * ow, length)
        return windows, memory.reshape(windows.shape), matrix


def by_group(x: Array, groups: int) -> Array:
    """View each pixel of images (N, H, W, C) as a row: (groups, N*H*W, C/groups), no copy if they are contiguous."""
    n, h, w, c = x.shape
    return x.reshape(n * h * w, groups, c // groups).transpose(1, 0, 2)


def as_matrix(weight: Array, groups: int) -> Array:
    """Write each channel's weights as one column: (K, C/groups, KH, KW) -> (groups, KH*KW*C/groups, K/groups)."""
    k, c, kh, kw = weight.shape
    weight = weight.reshape(groups, k // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return weight.reshape(groups, kh * kw * c, k // groups)


def pool_corners(images: Array) -> Array:
    """View images (N, OH, OW, K) as the corners of pools of 2 x 2: (2, 2, N, OH/2, OW/2, K)."""
    n, oh, ow, k = images.shape
    return images.reshape(n, oh // 2, 2, ow // 2, 2, k).transpose(2, 4, 0, 1, 3, 5)
