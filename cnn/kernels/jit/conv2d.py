"""Compiled implementations of the functions in layers/conv2d.py, and of a convolution with the layers around it.

A call has three steps: plan it (everything that depends only on shapes, cached for each shape), pack the weights into
the layout that the kernels read, and run a kernel on the thread pool. The kernels are in engine/convolution*.py,
depthwise.py and winograd_convolution.py; engine/shapes.py chooses among them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels import fits, parallel
from cnn.kernels.jit.conv_plan import Plan, direct_plan, plan_forward
from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import (
    convolution,
    convolution_grads,
    convolution_input_grad,
    thread_pool,
    winograd_convolution,
)
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.layouts import transposed
from cnn.kernels.jit.engine.shapes import NEVER, TRANSFORM_FROM, Convolution, batch_parts, prepare, supports
from cnn.kernels.jit.engine.tile import WIDTH
from cnn.kernels.jit.engine.winograd import POINTS
from cnn.kernels.memory import borrow_scratch, empty, recording, return_scratch


def forward(plan: Plan, x: Array, weight: Array, bias: Array | None, groups: int, moments: bool = False) -> Any:
    """Convolve; then an activation and a pool, as in the plan, or, for a norm, the mean and variance of each image.

    Returns
    -------
    y : ndarray
        (N, K, OH, OW), or the output of the pool.
    choice : ndarray or None
        Index of the largest pixel in each window of the pool, (N, PH, PW, K).
    moments : pair of ndarray or None
        Means and sums of squared deviations, (N, K) each, float64.
    """
    panels, image_moments = pack_weight(weight, plan.conv), None
    arrays = {at.WEIGHT: panels, at.BIAS_VECTOR: pad_bias(bias, plan.conv, len(weight), groups)}
    if moments:
        image_moments = np.empty((len(x), len(weight))), np.empty((len(x), len(weight)))
        arrays |= {at.MEANS: image_moments[0], at.SQUARES: image_moments[1]}
    y, choice, uneven = run_forward(plan, x, arrays)
    return_scratch(panels)
    if uneven is not None:
        x = x[uneven]
        y[uneven], some_choice, some = forward(direct_plan(plan, x), x, weight, bias, groups, moments)
        if choice is not None:
            choice[uneven] = some_choice
        for of_all, of_some in zip(image_moments or (), some or (), strict=True):
            of_all[uneven] = of_some
    return y, choice, image_moments


def pixels(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C), contiguous"""
    n, c, h, w = x.shape
    if c > 1 and h * w > 1 and x.flags.c_contiguous:
        return transposed(x, n, c, h * w, (n, h, w, c))
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def run_forward(
    plan: Plan, x: Array, arrays: dict[int, Array], arguments: Array | None = None
) -> tuple[Array, Array | None, Array | None]:
    """Run the kernel of a plan; the packed weights are in ``arrays``, or their addresses in ``arguments``.

    Return the output, the choices of a pool, and the numbers of the images that must go the direct way, or None.
    """
    y, choice, uneven = empty(plan.shape), None, np.empty(plan.shape[0], np.uint8)
    if plan.pool is not None:
        choice = empty(plan.shape, np.uint8)
        arrays[at.CHOICE] = choice
    arrays[at.X], arrays[at.Y], arrays[at.UNEVEN] = pixels(x), y, uneven
    arguments = plan.arguments if arguments is None else arguments
    ran = thread_pool.run(plan.kernel, arrays, plan.parts, plan.conv.work, arguments, (at.SCRATCH, plan.scratch))
    recorder = recording.get()
    if recorder is not None:
        recorder.keep(plan)
        recorder.flag(at.ANY_UNEVEN)
    return y.transpose(0, 3, 1, 2), choice, np.flatnonzero(uneven) if ran[at.ANY_UNEVEN] else None


class FollowingLayers(NamedTuple):
    """The layers that were fused with a convolution, and what the backward pass through them needs."""

    relu: int = 0  # 1: ReLU; 6: ReLU6
    pool: Array | None = None  # its geometry, see `pool_geometry`
    choice: Array | None = None  # which pixels it chose
    output: Array | None = None  # of the convolution (with ReLU alone: of ReLU), (N, OH, OW, K)
    center: Array | None = None  # the input of ReLU was scale (output - center) + shift
    scale: Array | None = None
    shift: Array | None = None

    def of(self, images: Array) -> "FollowingLayers":
        """Return the same for some of the images."""
        choice, output = (None if array is None else array[images] for array in (self.choice, self.output))
        return self._replace(choice=choice, output=output)

    def arguments(self, grad: Array) -> dict[int, Any]:
        """Return the arguments of the kernels."""
        arguments: dict[int, Any] = {at.GRAD: grad, at.RELU: self.relu}
        if self.pool is not None and self.choice is not None:
            _, height, width, _ = self.choice.shape
            arguments |= {at.PH: height, at.PW: width, at.POOL: self.pool, at.CHOICE: self.choice}
        if self.output is not None:
            arguments[at.OUTPUT] = self.output
        if self.center is not None:
            arguments |= {at.CENTER: self.center, at.SCALE: self.scale, at.SHIFT: self.shift}
        return arguments


def backward(
    grad: Array,
    x: Array | None,
    x_shape: tuple[int, ...],
    weight: Array,
    geometry: Any,
    groups: int,
    following: FollowingLayers = FollowingLayers(),  # noqa: B008  # it is immutable
    norm: tuple[Array, Array, Array] | None = None,
    needs_input_grad: bool = True,
    has_bias: bool = True,
    direct: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of input, weight and bias; without ``x`` only that of the input.

    ``norm`` are three vectors (grad_factor, output_factor, constant): backpropagated through a norm, g becomes
    grad_factor g + output_factor output + constant. ``direct``: do not use the Winograd algorithm.
    """
    threads, pooled = parallel.num_threads, following.pool is not None
    merged_to = 0 if pooled else 4 * threads
    winograd_from = NEVER if direct else TRANSFORM_FROM
    conv = prepare(x_shape, weight.shape, geometry, groups, needs_input_grad, pooled, merged_to, winograd_from)
    (n, c, h, w), k = x_shape, len(weight)
    arrays = following.arguments(np.ascontiguousarray(grad.transpose(0, 2, 3, 1)))
    x_grad = w_grad = b_grad = panels = partial = sums = None
    if needs_input_grad:
        panels, x_grad = pack_weight(weight, conv, rotated=True), empty((n, h, w, c))
        arrays |= {at.WEIGHT: panels, at.X_GRAD: x_grad, at.BIAS_VECTOR: np.zeros(c, np.float32)}
    n = int(conv.arguments[at.N])  # number of images after they are cut or merged
    parts = batch_parts(n, threads) if x is None else min(threads, max(n, 1))
    if x is not None:
        size = {"direct": conv.packed_size, "winograd": POINTS * c * k, "depthwise": weight.size}[conv.algorithm]
        partial = borrow_scratch(parts * size)
        arrays |= {at.X: pixels(x), at.W_GRAD: partial}
        if has_bias:
            sums = np.empty((parts, k))
            arrays[at.SUMS] = sums
    if norm is not None:
        arrays[at.GRAD_FACTOR], arrays[at.OUTPUT_FACTOR], arrays[at.CONSTANT] = norm
    uneven = np.empty(len(grad), np.uint8)
    arrays |= {at.SCRATCH_SIZE: conv.backward_scratch, at.PARTS: parts, at.UNEVEN: uneven}
    kernel = winograd_convolution.backward if conv.algorithm == "winograd" else convolution_grads.backward
    work = conv.work * (1 + needs_input_grad)
    ran = thread_pool.run(kernel, arrays, parts, work, conv.arguments, (at.SCRATCH, conv.backward_scratch))
    if panels is not None:
        return_scratch(panels)
    if partial is not None:
        w_grad = unpack_weight_grad(partial, parts, weight.shape, conv)
        return_scratch(partial)
        b_grad = None if sums is None else sums.sum(axis=0).astype(np.float32)
    if x_grad is not None:
        x_grad = x_grad.transpose(0, 3, 1, 2)
    if ran[at.ANY_UNEVEN]:  # the kernel left these images out of the gradient of the weights
        some = np.flatnonzero(uneven)
        some_x, some_shape = None if x is None else x[some], (len(some), *x_shape[1:])
        of_some = following.of(some), norm, needs_input_grad, False, True
        again = backward(grad[some], some_x, some_shape, weight, geometry, groups, *of_some)
        if x_grad is not None:
            x_grad[some] = again[0]
        if w_grad is not None:
            w_grad += again[1]
    return x_grad, w_grad, b_grad


# Packed weights, in the layout that the kernels read


def pad_bias(bias: Array | None, conv: Convolution, k: int, groups: int) -> Array:
    """Pad the bias for the kernels, so that each group starts a panel."""
    if conv.algorithm == "depthwise" or (groups == 1 and k % WIDTH == 0):
        return np.zeros(k, np.float32) if bias is None else np.ascontiguousarray(bias)
    biases = np.zeros((groups, conv.panels[0] // groups * WIDTH), np.float32)
    if bias is not None:
        biases[:, : k // groups] = bias.reshape(groups, -1)
    return biases


def pack_weight(
    weight: Array,
    conv: Convolution,
    rotated: bool = False,
    scale: Array | None = None,
    allocate: Callable[[int], Array] = borrow_scratch,
) -> Array:
    """Pack the weights, times a ``scale`` for each channel; ``rotated`` for the gradient of the input."""
    if conv.algorithm == "depthwise":
        panels = allocate(weight.size)
        taps = weight.reshape(len(weight), -1).T  # (KH KW, C)
        panels[: weight.size].reshape(taps.shape)[...] = taps if scale is None else taps * scale
        return panels
    weight = np.ascontiguousarray(weight)
    count, size = conv.panels[rotated], WIDTH * weight.size // (weight.shape[rotated] if rotated else len(weight))
    is_winograd = conv.algorithm == "winograd"
    packed = allocate(POINTS * count * size // 9 if is_winograd else count * size)
    panels = borrow_scratch(count * size) if is_winograd else packed
    kernel = convolution_input_grad.pack_rotated if rotated else convolution.pack
    arrays = {at.WEIGHT: weight, at.Y: panels, at.SCALE: 0 if scale is None else scale}
    thread_pool.run(kernel, arrays, count, 0.5 * weight.size, conv.arguments)
    if is_winograd:
        arrays = {at.C: size // 9 // WIDTH, at.WEIGHT: panels, at.Y: packed, at.PARTS: count}
        thread_pool.run(winograd_convolution.weights, arrays, count, 4 * weight.size, conv.arguments)
        return_scratch(panels)
    return packed


def unpack_weight_grad(partial: Array, parts: int, shape: tuple[int, ...], conv: Convolution) -> Array:
    """Add up the partial gradients of the weights, in the layout of the weights."""
    if conv.algorithm == "depthwise":
        taps = partial[: parts * math.prod(shape)].reshape(parts, -1, shape[0]).sum(axis=0)
        return np.ascontiguousarray(taps.T).reshape(shape)
    panels = None
    if conv.algorithm == "winograd":
        panels = borrow_scratch(conv.packed_size)
        arrays = {at.W_GRAD: partial, at.Y: panels, at.PARTS: parts}
        thread_pool.run(winograd_convolution.gather, arrays, conv.panels[0], 4 * panels.size * parts, conv.arguments)
        partial, parts = panels, 1
    w_grad = empty(shape)
    arrays = {at.W_GRAD: partial, at.Y: w_grad, at.PARTS: parts}
    work, scratch = w_grad.size * parts, (at.SCRATCH, WIDTH)
    thread_pool.run(convolution_grads.unpack, arrays, conv.panels[0], work, conv.arguments, scratch)
    if panels is not None:
        return_scratch(panels)
    return w_grad


# The functions of layers/conv2d.py


def conv2d(x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int) -> Array:
    """(N, C, H, W) -> (N, K, OH, OW)"""
    if not supports(geometry) or not fits.convolution(x.shape, weight.shape, None, geometry, groups):
        return NotImplemented
    if bias is not None and bias.shape != weight.shape[:1]:
        return NotImplemented
    plan = plan_forward(x.shape, weight.shape, geometry, groups, False, None, False, parallel.num_threads)
    return forward(plan, x, weight, bias, groups)[0]


def conv2d_input_grad(grad: Array, weight: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (N, C, H, W)"""
    if not supports(geometry) or not fits.convolution(shape, weight.shape, grad.shape, geometry, groups):
        return NotImplemented
    return backward(grad, None, shape, weight, geometry, groups)[0]  # type: ignore[return-value]


def conv2d_weight_grad(grad: Array, x: Array, shape: tuple[int, ...], geometry: Any, groups: int) -> Array:
    """(N, K, OH, OW) -> shape = (K, C/groups, KH, KW)"""
    if not supports(geometry) or not fits.convolution(x.shape, shape, grad.shape, geometry, groups):
        return NotImplemented
    weight = np.broadcast_to(np.float32(0), shape)
    gradients = backward(grad, x, x.shape, weight, geometry, groups, needs_input_grad=False, has_bias=False)
    return gradients[1]  # type: ignore[return-value]
