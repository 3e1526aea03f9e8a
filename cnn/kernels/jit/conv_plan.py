"""The plan of a compiled convolution's forward pass: everything that depends only on shapes, made once for each."""

import functools
from typing import Any, NamedTuple

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import convolution, winograd_convolution
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.shapes import Convolution, batch_parts, pool_geometry, prepare


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
    direct: bool = False,
) -> Plan:
    """Plan a forward pass; ``pool`` is the geometry of a pool that follows, or None; ``direct``: without Winograd.

    ``relu`` is 0, 1 for ReLU, or 6 for ReLU6, after which no pool may follow.
    """
    merged_to = 0 if pool is not None or moments else 4 * threads
    conv = prepare(shape, weight, geometry, groups, pooled=pool is not None, merged_to=merged_to, direct=direct)
    a, output_size = conv.arguments.copy(), conv.output_size
    n = int(a[at.N])
    parts, pool_row, size = batch_parts(n, threads), None, conv.scratch
    if pool is not None:
        output_size, pool_row, size = pool.output_size(*output_size), pool_geometry(pool), conv.pooled_scratch
        a[at.PH : at.PW + 1], a[at.POOL] = output_size, pool_row.ctypes.data
    is_winograd = conv.algorithm == "winograd"
    if n < threads and not moments and (pool is None or (pool.pads[0][0] == 0 and not is_winograd)):
        rows = int(a[at.TILE_ROWS if is_winograd else at.OH]) if pool is None else output_size[0]
        # each band of a Winograd convolution reads all weights: no more bands than there are threads
        a[at.BANDS] = min(threads // n if is_winograd else threads, rows)
        parts = n * int(a[at.BANDS])
    a[at.RELU], a[at.SCRATCH_SIZE], a[at.PARTS] = relu, size, parts
    kernel = winograd_convolution.forward if is_winograd else convolution.forward
    settings = weight, geometry, groups, relu, pool, moments, threads
    return Plan(conv, a, pool_row, (shape[0], *output_size, weight[0]), parts, size, kernel, settings)


def direct_plan(plan: Plan, x: Array) -> Plan:
    """Return the plan for some of the images that does not use the Winograd algorithm."""
    return plan_forward(x.shape, *plan.settings, direct=True)
