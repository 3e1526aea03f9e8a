"""Twins of the functions in layers/conv2d.py; and what groups of layers call: a convolution with what follows it."""

import functools
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import convolution, convolution_grads, thread_pool, winograd_convolution
from cnn.kernels.jit.engine.arrays import Array, address, channels_first, channels_last
from cnn.kernels.jit.engine.packing import Ready, packed, padded, unpacked
from cnn.kernels.jit.engine.shapes import Convolution, parts_of, pool_way, prepared, supports
from cnn.kernels.jit.engine.winograd import POINTS
from cnn.kernels.memory import borrow_scratch, empty, return_scratch
from cnn.kernels.parallel import get_num_threads


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Any,
    groups: int,
    relu: bool = False,
    pool: Any = None,
    moments: bool = False,
) -> tuple[Array, Array | None, tuple[Array, Array] | None]:
    """Convolve; then ReLU and a pool, or, for a norm, the moments of each image.

    Returns
    -------
    y : ndarray
        (N, K, OH, OW), or what the pool makes of it.
    choice : ndarray or None
        Which pixel of each window the pool chose, (N, PH, PW, K).
    moments : pair of ndarray or None
        Means and sums of squared deviations, (N, K) each, float64.
    """
    plan = planned(x.shape, weight.shape, geometry, groups, relu, pool, moments, get_num_threads())
    a, found = plan.row.copy(), None
    panels, biases = packed(weight, plan.known, a), padded(bias, plan.known, len(weight), groups)
    if moments:
        found = np.empty((len(x), len(weight))), np.empty((len(x), len(weight)))
        a[at.MEANS], a[at.SQUARES] = address(found[0]), address(found[1])
    a[at.WEIGHT], a[at.BIAS_VECTOR] = address(panels), address(biases)
    y, choice = _run(plan, a, x)
    return_scratch(panels)
    return y, choice, found


def _run(plan: "Plan", a: Array, x: Array) -> tuple[Array, Array | None]:
    """Convolve with arguments in which only input, output and room are missing."""
    x, y, scratch, choice = channels_last(x), empty(plan.shape), borrow_scratch(plan.room), None
    if plan.way is not None:
        choice = empty(plan.shape, np.uint8)
        a[at.CHOICE] = address(choice)
    a[at.X], a[at.Y], a[at.SCRATCH] = address(x), address(y), address(scratch)
    thread_pool.run(plan.kernel, a, plan.parts, plan.known.work, plan.threads)
    return_scratch(scratch)
    return channels_first(y), choice


class Plan(NamedTuple):
    """A forward pass of one shape: all but where the arrays are."""

    known: Convolution
    row: Array  # arguments of the kernel
    way: Array | None  # of the pool, whose address is in the row
    shape: tuple[int, ...]  # of the result, channels last
    parts: int
    threads: int
    room: int  # numbers that all threads together need room for
    kernel: int


@functools.lru_cache(maxsize=1024)
def planned(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: Any,
    groups: int,
    relu: bool,
    pool: Any,
    moments: bool,
    threads: int,
) -> Plan:
    """Work it out."""
    apart = pool is not None or moments
    known = prepared(shape, weight, geometry, groups, pooled=pool is not None, merged_to=0 if apart else 4 * threads)
    a, places = known.numbers.copy(), known.places
    n = int(a[at.N])
    parts, way, size = parts_of(n, threads), None, known.room
    if pool is not None:
        places, way, size = pool.output_size(*places), pool_way(pool), known.pooled_room
        a[at.PH : at.PW + 1], a[at.POOL] = places, address(way)
    is_winograd = known.algorithm == "winograd"
    if n < threads and not moments and (pool is None or (pool.pads[0][0] == 0 and not is_winograd)):
        rows = int(a[at.DOWN if is_winograd else at.OH]) if pool is None else places[0]
        # each band of Winograd's reads the weights' values at all points: no more of them than threads have use for
        a[at.BANDS] = min(threads // n if is_winograd else threads, rows)
        parts = n * int(a[at.BANDS])
    a[at.RELU], a[at.SCRATCH_SIZE], a[at.PARTS] = relu, size, parts
    kernel = winograd_convolution.forward if is_winograd else convolution.forward
    return Plan(known, a, way, (shape[0], *places, weight[0]), parts, threads, threads * size, kernel)


class Call(NamedTuple):
    """Inference of one shape: all but where input and output are."""

    plan: Plan
    row: Array
    ready: Ready  # which the row has the addresses of

    def __call__(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, K, OH, OW), or what the pool makes of it"""
        return _run(self.plan, self.row.copy(), x)[0]


def call(plan: Plan, ready: Ready) -> Call:
    """Put weights that are ready into a plan of the same algorithm."""
    row = plan.row.copy()
    row[at.WEIGHT], row[at.BIAS_VECTOR] = address(ready.panels), address(ready.biases)
    return Call(plan, row, ready)


class Came(NamedTuple):
    """How the gradient of what follows a convolution becomes that of the convolution."""

    relu: bool = False
    way: Array | None = None  # of a pool, see `pool_way`
    choice: Array | None = None  # which pixels it chose
    output: Array | None = None  # of the convolution (with ReLU alone: of ReLU), (N, OH, OW, K)
    center: Array | None = None  # ReLU saw scale (output - center) + shift
    scale: Array | None = None
    shift: Array | None = None


def gradient_sums(
    grad: Array, x_shape: tuple[int, ...], weight: Array, geometry: Any, groups: int, came: Came
) -> tuple[Array, Array]:
    """Return the sums of the gradient and of gradient times output over each image, (N, K) each, float64."""
    grad = channels_last(grad)
    known = prepared(x_shape, weight.shape, geometry, groups, pooled=came.way is not None)
    a = known.numbers.copy()
    n, k, (oh, ow) = len(grad), len(weight), known.places
    threads = get_num_threads()
    parts = parts_of(n, threads)
    scratch = borrow_scratch(threads * oh * ow * k)
    sums = np.empty((n, k)), np.empty((n, k))
    _set_came(a, grad, came)
    a[at.MEANS], a[at.SQUARES] = address(sums[0]), address(sums[1])
    a[at.SCRATCH], a[at.SCRATCH_SIZE], a[at.PARTS] = address(scratch), oh * ow * k, parts
    thread_pool.run(convolution_grads.grad_sums, a, parts, n * oh * ow * k * 0.5, threads)
    return_scratch(scratch)
    return sums


def backward(
    grad: Array,
    x: Array | None,
    x_shape: tuple[int, ...],
    weight: Array,
    geometry: Any,
    groups: int,
    came: Came = Came(),  # noqa: B008  # it cannot be changed
    norm: tuple[Array, Array, Array] | None = None,
    needs_input_grad: bool = True,
    has_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of input, weight and bias; without ``x`` that of the input alone.

    ``norm`` are three vectors (of_grad, of_output, constant): through a norm, g becomes of_grad g + of_output output +
    constant.
    """
    grad = channels_last(grad)
    x_grad = w_grad = b_grad = None
    threads, pooled = get_num_threads(), came.way is not None
    known = prepared(x_shape, weight.shape, geometry, groups, needs_input_grad, pooled, 0 if pooled else 4 * threads)
    a = known.numbers.copy()
    (n, c, h, w), k = x_shape, len(weight)
    if needs_input_grad:
        panels, zeros = packed(weight, known, a, turned=True), np.zeros(c, np.float32)
        x_grad = empty((n, h, w, c))
        a[at.WEIGHT], a[at.X_GRAD], a[at.BIAS_VECTOR] = address(panels), address(x_grad), address(zeros)
    size, n = known.backward_room, int(a[at.N])
    parts = parts_of(n, threads) if x is None else min(threads, max(n, 1))
    scratch = borrow_scratch(threads * size)
    _set_came(a, grad, came)
    if x is not None:
        x = channels_last(x)
        numbers = {"direct": known.packed(), "winograd": POINTS * c * k, "depthwise": weight.size}[known.algorithm]
        partial = borrow_scratch(parts * numbers)
        a[at.X], a[at.W_GRAD] = address(x), address(partial)
        if has_bias:
            sums = np.empty((parts, k))
            a[at.SUMS] = address(sums)
    if norm is not None:
        a[at.OF_GRAD], a[at.OF_OUTPUT], a[at.CONSTANT] = (address(vector) for vector in norm)
    a[at.SCRATCH], a[at.SCRATCH_SIZE], a[at.PARTS] = address(scratch), size, parts
    kernel = winograd_convolution.backward if known.algorithm == "winograd" else convolution_grads.backward
    thread_pool.run(kernel, a, parts, known.work * (1 + needs_input_grad), threads)
    return_scratch(scratch)
    if needs_input_grad:
        return_scratch(panels)
    if x is not None:
        w_grad = unpacked(partial, parts, weight.shape, known, a)
        return_scratch(partial)
        b_grad = sums.sum(axis=0).astype(np.float32) if has_bias else None
    return None if x_grad is None else channels_first(x_grad), w_grad, b_grad


def _set_came(a: Array, grad: Array, came: Came) -> None:
    a[at.GRAD], a[at.RELU] = address(grad), came.relu
    if came.way is not None and came.choice is not None:
        _, a[at.PH], a[at.PW], _ = came.choice.shape
        a[at.POOL] = address(came.way)
        a[at.CHOICE] = address(came.choice)
    if came.output is not None:
        a[at.OUTPUT] = address(came.output)
    if came.center is not None and came.scale is not None and came.shift is not None:
        a[at.CENTER], a[at.SCALE], a[at.SHIFT] = address(came.center), address(came.scale), address(came.shift)


# The twins


def conv2d(x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    if not supports(geometry):
        return NotImplemented
    return forward(x, weight, bias, geometry, groups)[0]


def conv2d_input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (N, C, H, W)"""
    if not supports(geometry):
        return NotImplemented
    return backward(grad, None, shape, weight, geometry, groups)[0]  # type: ignore[return-value]


def conv2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (K, C/groups, KH, KW)"""
    if not supports(geometry):
        return NotImplemented
    weight = np.broadcast_to(np.float32(0), shape)
    found = backward(grad, x, x.shape, weight, geometry, groups, needs_input_grad=False, has_bias=False)
    return found[1]  # type: ignore[return-value]
