"""Twins of the functions in layers/conv2d.py, and what fused groups of layers call: a convolution with what follows it."""

import functools
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels import parallel
from cnn.kernels.jit import convolution, convolution_grads, crew
from cnn.kernels.jit import places as at
from cnn.kernels.jit.arrays import Array, address, channels_first, channels_last
from cnn.kernels.jit.tile import WIDTH

NANOSECONDS = 1 / 30  # about what one multiplication and addition takes one thread


class Convolution(NamedTuple):
    """What a convolution of one shape needs to know, worked out once."""

    numbers: Array  # the arguments, with the places of arrays empty
    runs: Array
    grad_runs: Array
    places: tuple[int, int]
    window: int  # numbers of a packed window, for all output channels
    turned: int  # the same for the window of the input gradient
    work: float  # ns of one thread


@functools.lru_cache(maxsize=1024)
def prepared(shape: tuple[int, ...], weight: tuple[int, ...], slide: Any, groups: int) -> Convolution:
    """Work out sizes and where the runs of a window start."""
    (n, c, h, w), (k, cg, kh, kw) = shape, weight
    (sh, sw), (dh, dw), ((top, _), (left, _)) = slide.stride, slide.dilation, slide.pads
    oh, ow = slide.places(h, w)
    (_, bottom), (_, right) = slide.reach((oh, ow), h, w)
    hp, wp = top + h + bottom, left + w + right
    span_h, span_w = ((kh - 1) * dh, (kw - 1) * dw)
    if sh > 1:
        span_h = -(-kh // sh) - 1
    if sw > 1:
        span_w = -(-kw // sw) - 1
    gh = max(oh + 2 * span_h, (h - 1 + top) // sh + 1 + span_h)
    gw = max(ow + 2 * span_w, (w - 1 + left) // sw + 1 + span_w)
    joined = dw == 1 and groups == 1
    taps = [(u * dh, 0) for u in range(kh)] if joined else [(u * dh, v * dw) for u in range(kh) for v in range(kw)]
    runs = [(u * wp + v) * c for u, v in taps] + [r * sh * wp * c for r in range(oh)]
    grad_runs = np.zeros((sh * sw, kh * kw), np.int64)
    step_h, step_w = dh if sh == 1 else 1, dw if sw == 1 else 1
    for phase in range(sh * sw):
        high, wide = max(0, -(-(kh - phase // sw) // sh)), max(0, -(-(kw - phase % sw) // sw))
        steps = [(t * step_h, 0) for t in range(high)] if joined else []
        steps = steps or [(t * step_h, s * step_w) for t in range(high) for s in range(wide)]
        for i, (t, s) in enumerate(steps):
            grad_runs[phase, i] = (t * gw + s) * k
    numbers = np.zeros(at.COUNT, np.int64)
    numbers[: at.HP] = n, c, h, w, k, oh, ow, kh, kw, sh, sw, dh, dw, top, left, groups
    numbers[at.HP : at.RUNS] = hp, wp, gh, gw, span_h, span_w
    kept = np.array(runs, np.int64)
    numbers[at.RUNS], numbers[at.G_RUNS] = address(kept), address(grad_runs)
    window = groups * -(-(k // groups) // WIDTH) * kh * kw * cg * WIDTH
    turned = groups * -(-cg // WIDTH) * kh * kw * (k // groups) * WIDTH
    return Convolution(numbers, kept, grad_runs, (oh, ow), window, turned, n * oh * ow * k * cg * kh * kw * NANOSECONDS)


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    slide: Any,
    groups: int,
    relu: bool = False,
    pool: Any = None,
    moments: bool = False,
) -> tuple[Array, Array | None, tuple[Array, Array] | None]:
    """Convolve; then ReLU and a pool, or, for a norm, the moments of each picture.

    Returns
    -------
    y : ndarray
        (N, K, OH, OW), or what the pool makes of it.
    choice : ndarray or None
        Which pixel of each window the pool chose, (N, PH, PW, K).
    moments : pair of ndarray or None
        Means and sums of squared deviations, (N, K) each, float64.
    """
    x = channels_last(x)
    n, h, w, c = x.shape
    known = prepared((n, c, h, w), weight.shape, slide, groups)
    k, (oh, ow) = len(weight), known.places
    a = known.numbers.copy()
    biases = np.zeros((groups, -(-(k // groups) // WIDTH) * WIDTH), np.float32)
    if groups == c == k:  # depthwise
        panels, biases = taps_first(weight), biases[:, 0].copy()
    else:
        panels = np.empty(known.window, np.float32)
        a[at.WEIGHT], a[at.Y] = address(weight), address(panels)
        crew.run(convolution.pack, a, known.window // (weight[0].size * WIDTH), weight.size)
    if bias is not None:
        biases.reshape(groups, -1)[:, : k // groups] = bias.reshape(groups, -1)
    parts = parts_of(n)
    size = int(a[at.HP] * a[at.WP] * c) + max(k, oh * ow * k if pool is not None else 0)
    scratch = np.empty((parts, size), np.float32)
    choice = found = None
    shape = (n, oh, ow, k)
    if pool is not None:
        shape = (n, *pool.places(oh, ow), k)
        choice = np.empty(shape, np.uint8)
        way = pool_way(pool)
        a[at.PH], a[at.PW], a[at.POOL] = *shape[1:3], address(way)
        a[at.CHOICE] = address(choice)
    if moments:
        found = np.empty((n, k)), np.empty((n, k))
        a[at.MEANS], a[at.SQUARES] = address(found[0]), address(found[1])
    y = np.empty(shape, np.float32)
    a[at.X], a[at.WEIGHT], a[at.BIAS_VECTOR], a[at.Y] = address(x), address(panels), address(biases), address(y)
    a[at.RELU], a[at.SCRATCH], a[at.SCRATCH_SIZE], a[at.PARTS] = relu, address(scratch), size, parts
    crew.run(convolution.forward, a, parts, known.work)
    return channels_first(y), choice, found


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
    grad: Array, x_shape: tuple[int, ...], weight: Array, slide: Any, groups: int, came: Came
) -> tuple[Array, Array]:
    """Return the sums of the gradient and of gradient times output over each picture, (N, K) each, float64."""
    grad = channels_last(grad)
    known = prepared(x_shape, weight.shape, slide, groups)
    a = known.numbers.copy()
    n, k, (oh, ow) = len(grad), len(weight), known.places
    parts = parts_of(n)
    scratch = np.empty((parts, oh * ow * k), np.float32)
    sums = np.empty((n, k)), np.empty((n, k))
    _set_came(a, grad, came)
    a[at.MEANS], a[at.SQUARES] = address(sums[0]), address(sums[1])
    a[at.SCRATCH], a[at.SCRATCH_SIZE], a[at.PARTS] = address(scratch), oh * ow * k, parts
    crew.run(convolution_grads.grad_sums, a, parts, n * oh * ow * k * 0.5)
    return sums


def backward(
    grad: Array,
    x: Array | None,
    x_shape: tuple[int, ...],
    weight: Array,
    slide: Any,
    groups: int,
    came: Came = Came(),  # noqa: B008  # it cannot be changed
    norm: tuple[Array, Array, Array] | None = None,
    needs_input_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of input, weight and bias; without ``x`` that of the input alone.

    ``norm`` are three vectors (of_grad, of_output, constant): through a norm, g becomes of_grad g + of_output output +
    constant.
    """
    grad = channels_last(grad)
    x_grad = w_grad = b_grad = None
    known = prepared(x_shape, weight.shape, slide, groups)
    a = known.numbers.copy()
    (n, c, h, w), k = x_shape, len(weight)
    is_depthwise = groups == c == k
    if needs_input_grad:
        if is_depthwise:
            panels = taps_first(weight)
        else:
            panels = np.empty(known.turned, np.float32)
            a[at.WEIGHT], a[at.Y] = address(weight), address(panels)
            crew.run(convolution_grads.pack_turned, a, groups * -(-(c // groups) // WIDTH), weight.size)
        x_grad = np.empty((n, h, w, c), np.float32)
        a[at.WEIGHT], a[at.X_GRAD] = address(panels), address(x_grad)
    if is_depthwise or not needs_input_grad:
        a[at.GH], a[at.GW], a[at.GTOP], a[at.GLEFT] = *known.places, 0, 0
    parts = parts_of(n) if x is None else min(parallel.get_num_threads(), max(n, 1))
    size = int(a[at.HP] * a[at.WP] * c + a[at.GH] * a[at.GW] * k) + 2 * WIDTH
    scratch = np.empty((parts, size), np.float32)
    _set_came(a, grad, came)
    if x is not None:
        x = channels_last(x)
        window = weight.size if is_depthwise else known.window
        partial, sums = np.empty((parts, window), np.float32), np.empty((parts, k))
        a[at.X], a[at.W_GRAD], a[at.SUMS] = address(x), address(partial), address(sums)
    if norm is not None:
        a[at.OF_GRAD], a[at.OF_OUTPUT], a[at.CONSTANT] = (address(vector) for vector in norm)
    a[at.SCRATCH], a[at.SCRATCH_SIZE], a[at.PARTS] = address(scratch), size, parts
    crew.run(convolution_grads.backward, a, parts, known.work * (1 + needs_input_grad))
    if x is not None:
        if is_depthwise:
            w_grad = np.ascontiguousarray(partial.sum(axis=0).reshape(-1, c).T).reshape(weight.shape)
        else:
            w_grad = np.empty(weight.shape, np.float32)
            a[at.Y] = address(w_grad)
            crew.run(convolution_grads.unpack, a, known.window // (weight[0].size * WIDTH), weight.size * parts)
        b_grad = sums.sum(axis=0).astype(np.float32)
    return None if x_grad is None else channels_first(x_grad), w_grad, b_grad


def taps_first(weight: Array) -> Array:
    """Lay out the windows of a depthwise convolution: (C, 1, KH, KW) -> (KH KW, C)"""
    return np.ascontiguousarray(weight.reshape(len(weight), -1).T)


def parts_of(n: int) -> int:
    """How many parts a batch is cut into: several for each thread, so that none waits long for another."""
    threads = parallel.get_num_threads()
    return min(n, 1 if threads == 1 else 4 * threads)


def pool_way(pool: Any) -> Array:
    """How the window of a pool moves, as kernels read it."""
    (top, _), (left, _) = pool.pads
    return np.array([*pool.size, *pool.stride, *pool.dilation, top, left], np.int64)


def _set_came(a: Array, grad: Array, came: Came) -> None:
    a[at.GRAD], a[at.RELU] = address(grad), came.relu
    if came.way is not None and came.choice is not None:
        a[at.PH], a[at.PW], a[at.POOL] = *came.choice.shape[1:3], address(came.way)
        a[at.CHOICE] = address(came.choice)
    if came.output is not None:
        a[at.OUTPUT] = address(came.output)
    if came.center is not None and came.scale is not None and came.shift is not None:
        a[at.CENTER], a[at.SCALE], a[at.SHIFT] = address(came.center), address(came.scale), address(came.shift)


def serves(slide: Any) -> bool:
    """Tell whether this is a walk that the kernels know: dilated windows move one pixel at a time."""
    (sh, sw), (dh, dw), ((top, bottom), (left, right)) = slide.stride, slide.dilation, slide.pads
    return (sh == 1 or dh == 1) and (sw == 1 or dw == 1) and min(top, bottom, left, right) >= 0


# The twins


def conv2d(x: Array, weight: Array, bias: Array | None, slide: Any, groups: int) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    if not serves(slide):
        return NotImplemented
    return forward(x, weight, bias, slide, groups)[0]


def conv2d_input_grad(grad: Array, weight: Array, shape: tuple[int, ...], slide: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (N, C, H, W)"""
    if not serves(slide):
        return NotImplemented
    return backward(grad, None, shape, weight, slide, groups)[0]  # type: ignore[return-value]


def conv2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], slide: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (K, C/groups, KH, KW)"""
    if not serves(slide):
        return NotImplemented
    weight = np.broadcast_to(np.float32(0), shape)
    return backward(grad, x, x.shape, weight, slide, groups, needs_input_grad=False)[1]  # type: ignore[return-value]
