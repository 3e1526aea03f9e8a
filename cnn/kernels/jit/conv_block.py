"""A convolution with the layers that follow it, while an image is in the cache: a norm, ReLU or ReLU6, a pool.

The fused step in containers/fusion/jit.py calls these functions, or, without a norm in training, those of conv2d.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn.kernels import parallel
from cnn.kernels.jit import conv2d
from cnn.kernels.jit.conv2d import FollowingLayers
from cnn.kernels.jit.conv_plan import Plan, direct_plan
from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import convolution_grads, thread_pool
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.normalize import Norm, apply_norm, combine_moments
from cnn.kernels.jit.engine.shapes import batch_parts, pool_geometry, prepare
from cnn.kernels.jit.engine.snapshot import Snapshot
from cnn.kernels.memory import empty, recording

OfAll = Callable[[Array, Array, int], tuple[Array, Array, int]]  # two sums of a part and its size -> of the batch


class Statistics(NamedTuple):
    """Mean and variance of each channel over a batch, and the number of elements, for the running statistics."""

    mean: Array
    var: Array
    size: int


class Affine(NamedTuple):
    """The arrays of a norm: running statistics, weight and bias (each may be None), and its eps."""

    running_mean: Array | None
    running_var: Array | None
    weight: Array | None
    bias: Array | None
    eps: float


def forward_with_norm(
    plan: Plan,
    x: Array,
    weight: Array,
    bias: Array | None,
    groups: int,
    norm: Affine,
    relu: int,
    pool: Any,
    of_all: OfAll,
) -> tuple[Array, tuple[Any, ...], Statistics]:
    """Compute convolution, batch normalisation in training mode, ReLU (1) or ReLU6 (6), and pool.

    ``of_all(mean, var, size)`` returns these of the whole batch, if other processes have the rest.

    Returns
    -------
    y : ndarray
        The output.
    saved : tuple
        The output of the convolution, the pool's choices and the norm, for `backward_with_norm`.
    statistics : Statistics
        The statistics of the batch.
    """
    y, _, (means, squares) = conv2d.forward(plan, x, weight, bias, groups, moments=True)
    output = channels_last(y)
    n, h, w, _ = output.shape
    mean, var, size = of_all(*combine_moments(means, squares, h * w), n * h * w)
    affine = Norm(mean, var, norm.eps, norm.weight, norm.bias)
    if pool is None:
        y, choice = apply_norm(output, affine, relu)
    else:
        y, choice = apply_norm(output, affine, relu, pool_geometry(pool), pool.output_size(h, w))
    return channels_first(y), (output, choice, affine), Statistics(mean, var, size)


def backward_with_norm(
    grad: Array,
    x: Array,
    weight: Array,
    geometry: Any,
    groups: int,
    following: FollowingLayers,
    norm: Norm,
    needs: tuple[bool, bool],
    of_all: OfAll,
) -> tuple[Array | None, Array | None, Array | None, Array, Array]:
    """Return the gradients of input, weight and bias, and of the norm's weight and bias.

    ``needs`` says whether the gradients of the input and of the bias are needed; ``of_all(b_grad, w_grad, size)``
    returns these sums of the whole batch, for the gradient of the input.
    """
    output = following.output
    assert output is not None
    following = following._replace(center=norm.center, scale=norm.scale, shift=norm.shift)
    sums = gradient_sums(grad, x.shape, weight, geometry, groups, following)
    w_grad, b_grad = norm.gradients(*sums)
    ones, along_z, size = of_all(b_grad, w_grad, output.size // len(weight))
    vectors = norm.vectors(along_z, ones, size, use_batch_stats=True)
    gradients = conv2d.backward(grad, x, x.shape, weight, geometry, groups, following, vectors, *needs)
    return *gradients, w_grad, b_grad


def gradient_sums(
    grad: Array, x_shape: tuple[int, ...], weight: Array, geometry: Any, groups: int, following: FollowingLayers
) -> tuple[Array, Array]:
    """Return the sums over each image of the gradient and of gradient times output, (N, K) each, float64."""
    conv = prepare(x_shape, weight.shape, geometry, groups, pooled=following.pool is not None)
    n, k, (oh, ow) = len(grad), len(weight), conv.output_size
    sums, parts = (np.empty((n, k)), np.empty((n, k))), batch_parts(n, parallel.num_threads)
    arrays = following.arguments(channels_last(grad))
    arrays |= {at.MEANS: sums[0], at.SQUARES: sums[1], at.SCRATCH_SIZE: oh * ow * k, at.PARTS: parts}
    work, scratch = n * oh * ow * k * 0.5, (at.SCRATCH, oh * ow * k)
    thread_pool.run(convolution_grads.grad_sums, arrays, parts, work, conv.arguments, scratch)
    return sums


class Inference(NamedTuple):
    """The packed weights of a convolution and its norm for inference, and what they were computed from."""

    settings: tuple[Any, ...]  # shape of the weights, groups, eps of the norm
    snapshot: Snapshot  # of the arrays that were packed
    plan: Plan
    arguments: Array  # of the kernel, with the addresses of the packed weights
    packed: tuple[Array, Array]  # weights and bias


def infer(
    plan: Plan,
    x: Array,
    weight: Array,
    bias: Array | None,
    groups: int,
    norm: Affine | None,
    before: Inference | None,
) -> tuple[Array, Inference]:
    """Compute convolution, batch normalisation in evaluation mode, ReLU and pool; the norm is folded into the weights.

    The packed weights of the last call are reused if no array has changed since.
    """
    arrays = [weight] if bias is None else [weight, bias]
    if norm is not None:
        arrays += [array for array in norm[:4] if array is not None]
    settings = weight.shape, groups, 0.0 if norm is None else norm.eps
    ready = before if before is not None and before.settings == settings and before.snapshot.matches(arrays) else None
    if ready is None or ready.plan is not plan:
        if ready is None or ready.plan.conv.algorithm != plan.conv.algorithm:
            snapshot = Snapshot(arrays)  # before they are read: the next call detects a change by another thread
            scale, shift = (None, bias) if norm is None else _scale_and_shift(norm, bias)
            panels = conv2d.pack_weight(weight, plan.conv, scale=scale, allocate=lambda count: empty((count,)))
            packed = panels, conv2d.pad_bias(shift, plan.conv, len(weight), groups).copy()
        else:
            snapshot, packed = ready.snapshot, ready.packed
        arguments = plan.arguments.copy()
        arguments[at.WEIGHT], arguments[at.BIAS_VECTOR] = (array.ctypes.data for array in packed)
        ready = Inference(settings, snapshot, plan, arguments, packed)
    recorder = recording.get()
    if recorder is not None:
        recorder.keep(ready)
        recorder.depends_on(ready.snapshot)
    y, _, uneven = conv2d.run_forward(plan, x, {}, ready.arguments)
    if uneven is not None:
        x = x[uneven]
        y[uneven], _ = infer(direct_plan(plan, x), x, weight, bias, groups, norm, None)
    return y, ready


def _scale_and_shift(norm: Affine, bias: Array | None) -> tuple[Array, Array]:
    """Return scale and shift of a norm in evaluation mode, applied to a convolution without its bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = 1 / np.sqrt(norm.running_var + np.float32(norm.eps))
    if norm.weight is not None:
        scale *= norm.weight
    mean = norm.running_mean if bias is None else norm.running_mean - bias
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    return scale.astype(np.float32, copy=False), shift.astype(np.float32, copy=False)
