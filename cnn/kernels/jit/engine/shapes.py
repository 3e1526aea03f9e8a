"""What a convolution of one shape needs to know: sizes, where things are, and by which algorithm it is done."""

import functools
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine.arrays import Array, address
from cnn.kernels.jit.engine.tile import WIDTH
from cnn.kernels.jit.engine.winograd import POINTS, RESULTS

NANOSECONDS = 1 / 30  # about what one multiplication and addition takes one thread
LINE = 192  # about this many pixels of the output are computed at a time, so that they stay in the first-level cache
FEW_IMAGES = 8
TILES = 64  # of Winograd's, about so many are worked on at a time


class Convolution(NamedTuple):
    """What is worked out once for a shape."""

    algorithm: str
    numbers: Array  # the arguments, without the addresses of arrays
    runs: Array  # which these have the addresses of
    grad_runs: Array
    output_size: tuple[int, int]
    panels: tuple[int, int]  # how many panels of 16 columns the packed weights are, and those of the input gradient
    window: int  # numbers of a window, in one group
    work: float  # ns of one thread
    packed: int  # how many numbers the packed weights are
    scratch: int  # size of the buffer that each thread of the forward pass needs
    pooled_scratch: int  # the same if a pool follows
    backward_scratch: int


def algorithm(shape: tuple[int, ...], weight: tuple[int, ...], geometry: Any, groups: int) -> str:
    """Return how a convolution is done: a fixed choice by shape.

    "depthwise" : a window for each channel
    "winograd" : 3 x 3 windows that move by one pixel, where channels fill whole panels, images are not tiny, and
        there are enough of them to share the weights' values at the points
    "direct" : all others
    """
    (n, c, _, _), (k, _, kh, kw) = shape, weight
    if groups == c == k:
        return "depthwise"
    plain = (kh, kw) == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if plain and c % WIDTH == 0 and k % WIDTH == 0:
        down, across = geometry.output_size(*shape[2:])
        if min(down, across) >= RESULTS and n * down * across >= TILES * RESULTS * RESULTS:
            return "winograd"
    return "direct"


def is_narrow(weight: tuple[int, ...], geometry: Any, groups: int) -> bool:
    """Tell whether the input has so few channels that one panel holds those of a whole row of the window."""
    (k, c, _, kw) = weight
    moves_by_one = geometry.stride == (1, 1) and geometry.dilation[1] == 1
    return moves_by_one and groups == 1 and 1 < kw <= kw * c <= WIDTH and not c == k == 1


def _lines(n: int, height: int, width: int, least: int) -> tuple[int, int, int]:
    """Cut images, of which each output pixel reads one input pixel, into lines of the length that kernels like best.

    Small images are merged, to ``least`` lines at the least; 0: not at all.
    """
    pixels = height * width
    most = LINE if n >= FEW_IMAGES else pixels // FEW_IMAGES  # threads share few images line by line
    longest = next((d for d in range(min(most, pixels), width, -1) if pixels % d == 0), width)
    if least and pixels < LINE:
        most = min(LINE, n * pixels // least)
        merged = next((d for d in range(most, pixels, -1) if n * pixels % d == 0), 0)
        if merged:
            return n * pixels // merged, 1, merged
    return n, pixels // longest, longest


@functools.lru_cache(maxsize=1024)
def prepared(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: Any,
    groups: int,
    needs_input_grad: bool = True,
    pooled: bool = False,
    merged_to: int = 0,
) -> Convolution:
    """Work it out; ``pooled`` if a pool comes next, which must know where the pixels are.

    Where images need not be told apart, small ones may be ``merged_to`` so many at the least; how many there are then
    is said by the arguments.
    """
    (n, c, h, w), (k, cg, kh, kw) = shape, weight
    (sh, sw), (dh, dw), ((top, _), (left, _)) = geometry.stride, geometry.dilation, geometry.pads
    output_size = geometry.output_size(h, w)
    if (sh, sw, kh, kw, *geometry.pads[0], *geometry.pads[1], groups) == (1, 1, 1, 1, 0, 0, 0, 0, 1) and not pooled:
        n, h, w = _lines(n, h, w, merged_to)
    oh, ow = geometry.output_size(h, w)
    (_, bottom), (_, right) = geometry.needed_padding((oh, ow), h, w)
    hp, wp = top + h + bottom, left + w + right
    chosen = algorithm(shape, weight, geometry, groups)
    g_top = (kh - 1) * dh if sh == 1 else -(-kh // sh) - 1
    g_left = (kw - 1) * dw if sw == 1 else -(-kw // sw) - 1
    gh = max(oh + 2 * g_top, (h - 1 + top) // sh + 1 + g_top)
    gw = max(ow + 2 * g_left, (w - 1 + left) // sw + 1 + g_left)
    if chosen == "depthwise" or not needs_input_grad:
        gh, gw, g_top, g_left = oh, ow, 0, 0
    narrow = is_narrow(weight, geometry, groups)
    if narrow:  # the window lies beside each place then, not around it
        gw, g_left = ow, 0
    tiles = [-(-size // RESULTS) for size in (oh, ow, h, w)]
    if chosen == "winograd":
        hp, wp = RESULTS * tiles[0] + 2, RESULTS * tiles[1] + 2
        gh, gw = (max(a, g + RESULTS * t) for a, g, t in ((gh, g_top, tiles[0]), (gw, g_left, tiles[1])))
        if needs_input_grad:
            gh, gw = max(gh, top + RESULTS * tiles[2] + 2), max(gw, left + RESULTS * tiles[3] + 2)
    some = min(n, max(1, TILES // max(tiles[0] * tiles[1], 1)))
    numbers = np.zeros(at.COUNT, np.int64)
    numbers[: at.HP] = n, c, h, w, k, oh, ow, kh, kw, sh, sw, dh, dw, top, left, groups
    numbers[at.HP : at.RUNS] = hp, wp, gh, gw, g_top, g_left
    numbers[at.DOWN : at.COUNT] = *tiles, some, narrow
    runs, grad_runs = _runs(numbers)
    numbers[at.RUNS], numbers[at.G_RUNS] = address(runs), address(grad_runs)
    panels = groups * -(-(k // groups) // WIDTH), groups * -(-cg // WIDTH)
    work = n * oh * ow * k * cg * kh * kw * NANOSECONDS
    packed = panels[0] * kh * kw * cg * WIDTH
    sizes = (_scratch(numbers, chosen, pooled, back) for pooled, back in ((False, False), (True, False), (False, True)))
    return Convolution(chosen, numbers, runs, grad_runs, output_size, panels, kh * kw * cg, work, packed, *sizes)


def _runs(numbers: Array) -> tuple[Array, Array]:
    """Where the runs of a window start, and the windows of each row; and the runs of the window of each phase."""
    k, c, oh, kh, kw = (int(numbers[place]) for place in (at.K, at.C, at.OH, at.KH, at.KW))
    sh, sw, dh, dw = (int(numbers[place]) for place in (at.SH, at.SW, at.DH, at.DW))
    wp, gw = int(numbers[at.WP]), int(numbers[at.GW])
    joined = dw == 1 and numbers[at.GROUPS] == 1  # a row of the window is one run
    runs = [(u * dh * wp + v * dw) * c for u in range(kh) for v in range(1 if joined else kw)]
    runs += [r * sh * wp * c for r in range(oh)]
    of_phases = np.zeros((sh * sw, kh * kw), np.int64)
    step_down, step_across = dh if sh == 1 else 1, dw if sw == 1 else 1
    for phase in range(sh * sw):
        high, wide = max(0, -(-(kh - phase // sw) // sh)), max(0, -(-(kw - phase % sw) // sw))
        steps = [(t * step_down * gw + s * step_across) * k for t in range(high) for s in range(1 if joined else wide)]
        of_phases[phase, : len(steps)] = steps
    return np.array(runs, np.int64), of_phases


def _scratch(a: Array, chosen: str, pooled: bool, backward: bool) -> int:
    """Return the size of the buffer that each thread needs."""
    c, k, tiles = int(a[at.C]), int(a[at.K]), int(a[at.SOME] * a[at.DOWN] * a[at.ACROSS])
    size = int(a[at.HP] * a[at.WP]) * c + 2 * WIDTH
    if backward:
        size += int(a[at.GH] * a[at.GW]) * k + k
        if chosen == "direct":
            size += (
                2 * WIDTH * max(LINE, int(a[at.OW] + a[at.KW]))
            )  # columns, or the gradients of one row of the output
        if chosen == "winograd":
            most = max(tiles, int(a[at.SOME] * a[at.X_DOWN] * a[at.X_ACROSS]))
            size += POINTS * (most * (c + 2 * k) + 3 * WIDTH) + RESULTS * RESULTS * c + k
        return size
    if chosen == "winograd":
        size += POINTS * (tiles * (c + k) + 2 * WIDTH) + RESULTS * RESULTS * k
    return size + max(k, int(a[at.OH] * a[at.OW]) * k if pooled else 0)


def supports(geometry: Any) -> bool:
    """Tell whether this is a walk that the kernels know: dilated windows move one pixel at a time."""
    (sh, sw), (dh, dw), ((top, bottom), (left, right)) = geometry.stride, geometry.dilation, geometry.pads
    return (sh == 1 or dh == 1) and (sw == 1 or dw == 1) and min(top, bottom, left, right) >= 0


def parts_of(n: int, threads: int) -> int:
    """How many parts a batch is cut into: several for each thread, so that none waits long for another."""
    return min(n, 1 if threads == 1 else 4 * threads)


@functools.lru_cache(maxsize=256)
def pool_geometry(pool: Any) -> Array:
    """Return the window geometry of a pool as kernels read it."""
    (top, _), (left, _) = pool.pads
    return np.array([*pool.size, *pool.stride, *pool.dilation, top, left], np.int64)
