"""The plan of a compiled convolution's forward pass: everything that depends only on shapes, made once for each."""

import functools
from typing import Any, NamedTuple

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import convolution, winograd_convolution
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.shapes import (
    NEVER,
    TRANSFORM_FROM,
    Convolution,
    batch_parts,
    pool_geometry,
    prepare,
)
from cnn.kernels.jit.engine.tile import PANELS
from cnn.kernels.jit.engine.winograd import OUTPUT_TILE

BAND_BYTES = 256 * 1024  # of the padded image
FEW_ROWS = 8  # with fewer for each thread, an uneven number of rows makes one thread wait for another


class Plan(NamedTuple):
    """A forward pass for one input shape: everything except the arrays."""

    conv: Convolution
    arguments: Array  # of the kernel
    pool: Array | None  # geometry of the pool, whose address is in the arguments
    shape: tuple[int, ...]  # of the output, channels last
    parts: int
    scratch: int  # size of the buffer that each thread needs
    kernel: int
    settings: tuple[Any, ...]  # from which it was made, without the shape of the input


@functools.lru_cache(maxsize=1024)
def plan_forward(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: Any,
    groups: int,
    relu: int,
    pool: Any,
    moments: bool,
    threads: int,
    winograd_from: int = TRANSFORM_FROM,
) -> Plan:
    """Plan a forward pass; ``pool`` is the geometry of a pool that follows, or None.

    ``relu`` is 0, 1 for ReLU, or 6 for ReLU6, after which no pool may follow. ``winograd_from`` is that of `algorithm`.
    """
    merged_to = 0 if pool is not None or moments else 4 * threads
    conv = prepare(
        shape, weight, geometry, groups, pooled=pool is not None, merged_to=merged_to, winograd_from=winograd_from
    )
    a, output_size = conv.arguments.copy(), conv.output_size
    n = int(a[at.N])
    parts, pool_row, size = batch_parts(n, threads), None, conv.scratch
    if pool is not None:
        output_size, pool_row, size = pool.output_size(*output_size), pool_geometry(pool), conv.pooled_scratch
        a[at.PH : at.PW + 1], a[at.POOL] = output_size, pool_row.ctypes.data
    is_winograd = conv.algorithm == "winograd"
    bands, by_channels = (1, False) if moments else count_bands(conv, pool, n, threads)
    if bands > 1:
        a[at.BANDS], a[at.BY_CHANNELS], parts = bands, by_channels, n * bands
    a[at.RELU], a[at.SCRATCH_SIZE], a[at.PARTS] = relu, size, parts
    kernel = winograd_convolution.forward if is_winograd else convolution.forward
    settings = weight, geometry, groups, relu, pool, moments, threads
    return Plan(conv, a, pool_row, (shape[0], *output_size, weight[0]), parts, size, kernel, settings)


def count_bands(conv: Convolution, pool: Any, n: int, threads: int) -> tuple[int, bool]:
    """Return how many bands each image is cut into, and whether these are of output channels instead of rows.

    There are bands so that each thread has some, and so that the padded copy of a band stays in the cache.
    """
    a = conv.arguments
    if conv.algorithm == "winograd":  # each band reads all weights: no more bands than there are threads
        is_possible = pool is None or fits_tiles(pool)
        return (min(threads // n, int(a[at.TILE_ROWS])) if is_possible else 1), False
    rows = int(a[at.OH]) if pool is None else pool.output_size(*conv.output_size)[0]
    bands, is_padded = threads if n < threads else 1, a[at.HP] != a[at.H] or a[at.WP] != a[at.W]
    blocks = conv.panels[0] // PANELS
    if pool is None and 1 < bands <= blocks and rows % bands and rows < FEW_ROWS * bands and conv.algorithm == "direct":
        return bands, True
    if pool is None and is_padded:
        bands = max(bands, int(4 * a[at.HP] * a[at.WP] * a[at.C]) // BAND_BYTES)
    return min(bands, rows), False


def fits_tiles(pool: Any) -> bool:
    """Tell whether no window of a pool reaches from one row of tiles of the Winograd algorithm to the next."""
    size, stride = pool.size[0], pool.stride[0]
    return pool.pads[0][0] == 0 and pool.dilation[0] == 1 and size == stride and OUTPUT_TILE % stride == 0


def direct_plan(plan: Plan, x: Array) -> Plan:
    """Return the plan for some of the images that does not use the Winograd algorithm."""
    return plan_forward(x.shape, *plan.settings, winograd_from=NEVER)
