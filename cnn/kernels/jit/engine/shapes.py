"""The setup of a convolution for one shape: sizes, offsets and the algorithm."""

import functools
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.tile import WIDTH
from cnn.kernels.jit.engine.winograd import OUTPUT_TILE, POINTS

NS_PER_MULTIPLY_ADD = 1 / 30  # roughly, on one thread
CHUNK_PIXELS = (
    192  # about this many pixels of the output are computed at a time, so that they stay in the first-level cache
)
FEW_IMAGES = 8  # with fewer, the threads share the lines of an image
MERGED_NUMBERS = 192 * 1024  # of images that add to the gradient of the weights at once: they stay in the cache
CHUNK_TILES = 64  # about this many tiles of the Winograd algorithm are computed at a time
# From how many pixels of the output, of all images, on the Winograd algorithm is used. It reads 36 numbers for each 9
# weights. Where these are transformed for the call, that takes longer than it saves for few pixels; where transformed
# weights are kept, for those of a few tiles.
TRANSFORM_FROM = CHUNK_TILES * OUTPUT_TILE * OUTPUT_TILE
KEPT_FROM = 4 * OUTPUT_TILE * OUTPUT_TILE
NEVER = 1 << 62


class Convolution(NamedTuple):
    """Everything about a convolution that depends only on shapes."""

    algorithm: str
    arguments: Array  # of the kernels, without the addresses of arrays except the next two
    runs: Array
    grad_runs: Array
    output_size: tuple[int, int]
    panels: tuple[int, int]  # number of panels of 16 columns of the packed weights, and of those for the input gradient
    window: int  # elements of a window, in one group
    work: float  # ns on one thread
    packed_size: int  # elements of the packed weights
    scratch: int  # size of the scratch buffer of each thread in the forward pass
    pooled_scratch: int  # the same if a pool follows
    backward_scratch: int


def algorithm(
    shape: tuple[int, ...], weight: tuple[int, ...], geometry: Any, groups: int, winograd_from: int = TRANSFORM_FROM
) -> str:
    """Return the algorithm of a convolution: a fixed choice by shape; with "winograd", uneven images (see
    image_ops.py) are then computed with "direct".

    "depthwise" : one window for each channel
    "winograd" : 3 x 3 windows of stride 1, if channels fill whole panels, images are not tiny, and there are at least
        ``winograd_from`` pixels
    "direct" : everything else
    """
    (n, c, _, _), (k, _, kh, kw) = shape, weight
    if groups == c == k:
        return "depthwise"
    plain = (kh, kw) == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if plain and c % WIDTH == 0 and k % WIDTH == 0:
        down, across = geometry.output_size(*shape[2:])
        if min(down, across) >= OUTPUT_TILE and n * down * across >= winograd_from:
            return "winograd"
    return "direct"


def is_narrow(weight: tuple[int, ...], geometry: Any, groups: int) -> bool:
    """Tell whether the input has so few channels that one panel holds the channels of a whole row of the window."""
    (k, c, _, kw) = weight
    is_dense = geometry.stride == (1, 1) and geometry.dilation[1] == 1
    return is_dense and groups == 1 and 1 < kw <= kw * c <= WIDTH and not c == k == 1


def _merge_or_split(n: int, height: int, width: int, min_lines: int) -> tuple[int, int, int]:
    """Treat the images of a 1 x 1 convolution as lines of about `CHUNK_PIXELS` pixels, which is fastest.

    Small images are merged, into at least ``min_lines`` lines; 0: they are not merged. Return (N, H, W).
    """
    pixels = height * width
    most = CHUNK_PIXELS if n >= FEW_IMAGES else pixels // FEW_IMAGES  # threads share few images line by line
    longest = next((d for d in range(min(most, pixels), width, -1) if pixels % d == 0), width)
    if min_lines and pixels < CHUNK_PIXELS:
        most = min(CHUNK_PIXELS, n * pixels // min_lines)
        merged = next((d for d in range(most, pixels, -1) if n * pixels % d == 0), 0)
        if merged:
            return n * pixels // merged, 1, merged
    return n, pixels // longest, longest


@functools.lru_cache(maxsize=1024)
def prepare(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: Any,
    groups: int,
    needs_input_grad: bool = True,
    pooled: bool = False,
    merged_to: int = 0,
    winograd_from: int = TRANSFORM_FROM,
) -> Convolution:
    """Set up a convolution; ``pooled`` if a pool follows, which needs the positions of the pixels.

    If images need not be kept separate, small ones may be merged, into at least ``merged_to``; the arguments then hold
    the number of merged images. ``winograd_from`` is that of `algorithm`.
    """
    (n, c, h, w), (k, cg, kh, kw) = shape, weight
    (sh, sw), (dh, dw), ((top, _), (left, _)) = geometry.stride, geometry.dilation, geometry.pads
    output_size = geometry.output_size(h, w)
    if (sh, sw, kh, kw, *geometry.pads[0], *geometry.pads[1], groups) == (1, 1, 1, 1, 0, 0, 0, 0, 1) and not pooled:
        n, h, w = _merge_or_split(n, h, w, merged_to)
    oh, ow = geometry.output_size(h, w)
    (_, bottom), (_, right) = geometry.needed_padding((oh, ow), h, w)
    hp, wp = top + h + bottom, left + w + right
    name = algorithm(shape, weight, geometry, groups, winograd_from)
    g_top = (kh - 1) * dh if sh == 1 else -(-kh // sh) - 1
    g_left = (kw - 1) * dw if sw == 1 else -(-kw // sw) - 1
    gh = max(oh + 2 * g_top, (h - 1 + top) // sh + 1 + g_top)
    gw = max(ow + 2 * g_left, (w - 1 + left) // sw + 1 + g_left)
    if name == "depthwise" or not needs_input_grad:
        gh, gw, g_top, g_left = oh, ow, 0, 0
    narrow = is_narrow(weight, geometry, groups)
    if narrow:  # each gradient is then spread over a row of the window, not gathered from it
        gw, g_left = ow, 0
    tiles = [-(-size // OUTPUT_TILE) for size in (oh, ow, h, w)]
    if name == "winograd":
        hp, wp = OUTPUT_TILE * tiles[0] + 2, OUTPUT_TILE * tiles[1] + 2
        gh, gw = (max(a, g + OUTPUT_TILE * t) for a, g, t in ((gh, g_top, tiles[0]), (gw, g_left, tiles[1])))
        if needs_input_grad:
            gh, gw = max(gh, top + OUTPUT_TILE * tiles[2] + 2), max(gw, left + OUTPUT_TILE * tiles[3] + 2)
    if name == "winograd":
        chunk_images = min(n, max(1, CHUNK_TILES // max(tiles[0] * tiles[1], 1)))
    else:
        numbers = hp * wp * c + gh * gw * k
        chunk_images = max(1, min(n, CHUNK_PIXELS // max(oh * ow, 1), MERGED_NUMBERS // max(numbers, 1)))
    arguments = np.zeros(at.COUNT, np.int64)
    arguments[: at.HP] = n, c, h, w, k, oh, ow, kh, kw, sh, sw, dh, dw, top, left, groups
    arguments[at.HP : at.RUNS] = hp, wp, gh, gw, g_top, g_left
    arguments[at.TILE_ROWS : at.UNEVEN] = *tiles, chunk_images, narrow
    runs, grad_runs = _runs(arguments)
    arguments[at.RUNS], arguments[at.G_RUNS] = address(runs), address(grad_runs)
    panels = groups * -(-(k // groups) // WIDTH), groups * -(-cg // WIDTH)
    work = n * oh * ow * k * cg * kh * kw * NS_PER_MULTIPLY_ADD
    packed = panels[0] * kh * kw * cg * WIDTH
    sizes = (_scratch(arguments, name, pooled, back) for pooled, back in ((False, False), (True, False), (False, True)))
    return Convolution(name, arguments, runs, grad_runs, output_size, panels, kh * kw * cg, work, packed, *sizes)


def _runs(arguments: Array) -> tuple[Array, Array]:
    """Return the offsets of the runs of a window and of each output row, and those of the window of each phase."""
    k, c, oh, kh, kw = (int(arguments[index]) for index in (at.K, at.C, at.OH, at.KH, at.KW))
    sh, sw, dh, dw = (int(arguments[index]) for index in (at.SH, at.SW, at.DH, at.DW))
    wp, gw = int(arguments[at.WP]), int(arguments[at.GW])
    joined = dw == 1 and arguments[at.GROUPS] == 1  # a row of the window is one run
    runs = [(u * dh * wp + v * dw) * c for u in range(kh) for v in range(1 if joined else kw)]
    rows = np.arange(oh, dtype=np.int64) * (sh * wp * c)  # not a list: too many raise a MemoryError at once
    images = np.arange(arguments[at.CHUNK_IMAGES]) * (arguments[at.HP] * wp * c)
    rows = np.add.outer(images, rows).ravel()
    phase_runs = np.zeros((sh * sw, kh * kw), np.int64)
    step_down, step_across = dh if sh == 1 else 1, dw if sw == 1 else 1
    for phase in range(sh * sw):
        high, wide = max(0, -(-(kh - phase // sw) // sh)), max(0, -(-(kw - phase % sw) // sw))
        steps = [(t * step_down * gw + s * step_across) * k for t in range(high) for s in range(1 if joined else wide)]
        phase_runs[phase, : len(steps)] = steps
    return np.concatenate((np.array(runs, np.int64), rows)), phase_runs


def _scratch(a: Array, name: str, pooled: bool, backward: bool) -> int:
    """Return the size of the scratch buffer that each thread needs."""
    c, k, tiles = int(a[at.C]), int(a[at.K]), int(a[at.CHUNK_IMAGES] * a[at.TILE_ROWS] * a[at.TILE_COLUMNS])
    size = int(a[at.HP] * a[at.WP]) * c + 2 * WIDTH
    if backward:
        size += int(a[at.GH] * a[at.GW]) * k + k
        if name == "direct":
            size += int(a[at.CHUNK_IMAGES] - 1) * int(a[at.HP] * a[at.WP] * c + a[at.GH] * a[at.GW] * k)
            # columns, or the gradients of one row of the output
            size += 2 * WIDTH * max(CHUNK_PIXELS, int(a[at.OW] + a[at.KW]))
        if name == "winograd":
            max_tiles = max(tiles, int(a[at.CHUNK_IMAGES] * a[at.X_TILE_ROWS] * a[at.X_TILE_COLUMNS]))
            size += POINTS * (max_tiles * (c + 2 * k) + 3 * WIDTH) + OUTPUT_TILE * OUTPUT_TILE * c + k
        return size
    if name == "winograd":
        size += POINTS * (tiles * (c + k) + 2 * WIDTH) + OUTPUT_TILE * OUTPUT_TILE * k
    return size + max(k, int(a[at.OH] * a[at.OW]) * k if pooled else 0)


def supports(geometry: Any) -> bool:
    """Tell whether the kernels support a window geometry: dilation only with stride 1, and no negative padding."""
    (sh, sw), (dh, dw), ((top, bottom), (left, right)) = geometry.stride, geometry.dilation, geometry.pads
    return (sh == 1 or dh == 1) and (sw == 1 or dw == 1) and min(top, bottom, left, right) >= 0


def batch_parts(n: int, threads: int) -> int:
    """Return how many parts a batch is divided into: several for each thread, so that none waits long for another."""
    return min(n, 1 if threads == 1 else 4 * threads)


@functools.lru_cache(maxsize=256)
def pool_geometry(pool: Any) -> Array:
    """Return the window geometry of a pool as an array for kernels: size, stride, dilation, top and left padding."""
    (top, _), (left, _) = pool.pads
    return np.array([*pool.size, *pool.stride, *pool.dilation, top, left], np.int64)
