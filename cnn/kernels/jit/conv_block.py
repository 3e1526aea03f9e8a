"""A convolution with the layers that follow it, while an image is in the cache: batch normalisation, ReLU, a pool.

What the fused step in containers/fusion/jit.py calls; without a norm in training, that is conv2d.py.
"""

from typing import Any, NamedTuple

import numpy as np

from cnn.kernels import parallel
from cnn.kernels.jit import conv2d
from cnn.kernels.jit.conv2d import Following, Plan
from cnn.kernels.jit.engine import arguments as at
from cnn.kernels.jit.engine import convolution_grads, thread_pool
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.change import Snapshot
from cnn.kernels.jit.engine.normalize import Norm, batch_moments, scaled
from cnn.kernels.jit.engine.shapes import parts_of, pool_geometry, prepared
from cnn.kernels.memory import empty


class Statistics(NamedTuple):
    """Mean and variance of each channel over a batch, and of how many numbers, for the running statistics."""

    mean: Array
    var: Array
    size: int


class Affine(NamedTuple):
    """The arrays of a norm: running statistics, weight and bias (each may be missing), and its eps."""

    running_mean: Array | None
    running_var: Array | None
    weight: Array | None
    bias: Array | None
    eps: float


def forward_with_norm(
    plan: Plan, x: Array, weight: Array, bias: Array | None, groups: int, norm: Affine, relu: bool, pool: Any
) -> tuple[Array, tuple[Any, ...], Statistics]:
    """Convolution, batch normalisation in training, ReLU, pool.

    Returns
    -------
    y : ndarray
        The output.
    kept : tuple
        The output of the convolution, the pool's choices and the norm, for `backward_with_norm`.
    statistics : Statistics
        Of the batch.
    """
    made, _, (means, squares) = conv2d.forward(plan, x, weight, bias, groups, moments=True)
    output = channels_last(made)
    n, h, w, _ = output.shape
    mean, var = batch_moments(means, squares, h * w)
    known = Norm(mean, var, norm.eps, norm.weight, norm.bias)
    if pool is None:
        y, choice = scaled(output, known, relu)
    else:
        y, choice = scaled(output, known, relu, pool_geometry(pool), pool.output_size(h, w))
    return channels_first(y), (output, choice, known), Statistics(mean, var, n * h * w)


def backward_with_norm(
    grad: Array,
    x: Array,
    weight: Array,
    geometry: Any,
    groups: int,
    following: Following,
    norm: Norm,
    needs: tuple[bool, bool],
) -> tuple[Array | None, Array | None, Array | None, Array, Array]:
    """Return the gradients of input, weight and bias, and of the norm's weight and bias.

    ``needs`` says whether the gradients of the input and of the bias are needed.
    """
    output = following.output
    assert output is not None
    following = following._replace(center=norm.center, scale=norm.scale, shift=norm.shift)
    sums = gradient_sums(grad, x.shape, weight, geometry, groups, following)
    vectors, *of_norm = norm.backward(*sums, output.size // len(weight), use_batch_stats=True)
    gradients = conv2d.backward(grad, x, x.shape, weight, geometry, groups, following, vectors, *needs)
    return *gradients, of_norm[0], of_norm[1]


def gradient_sums(
    grad: Array, x_shape: tuple[int, ...], weight: Array, geometry: Any, groups: int, following: Following
) -> tuple[Array, Array]:
    """Return the sums of the gradient and of gradient times output over each image, (N, K) each, float64."""
    known = prepared(x_shape, weight.shape, geometry, groups, pooled=following.pool is not None)
    n, k, (oh, ow) = len(grad), len(weight), known.output_size
    sums, parts = (np.empty((n, k)), np.empty((n, k))), parts_of(n, parallel.num_threads)
    arrays = following.arguments(channels_last(grad))
    arrays |= {at.MEANS: sums[0], at.SQUARES: sums[1], at.SCRATCH_SIZE: oh * ow * k, at.PARTS: parts}
    work, scratch = n * oh * ow * k * 0.5, (at.SCRATCH, oh * ow * k)
    thread_pool.run(convolution_grads.grad_sums, arrays, parts, work, known.numbers, scratch)
    return sums


class Inference(NamedTuple):
    """What inference prepared for a convolution and its norm, and what it depends on."""

    settings: tuple[Any, ...]  # shape of the weights, groups, eps of the norm
    snapshot: Snapshot  # of the numbers that were packed
    plan: Plan
    row: Array  # arguments of the kernel, with the addresses of the packed weights
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
    """Convolution, batch normalisation in evaluation, ReLU, pool: the norm becomes a factor of the weights and a bias.

    What the last call prepared is used again if no number has changed since.
    """
    numbers = [weight] if bias is None else [weight, bias]
    if norm is not None:
        numbers += [array for array in norm[:4] if array is not None]
    settings = weight.shape, groups, 0.0 if norm is None else norm.eps
    ready = before if before is not None and before.settings == settings and before.snapshot.holds(numbers) else None
    if ready is None or ready.plan is not plan:
        if ready is None or ready.plan.known.algorithm != plan.known.algorithm:
            snapshot = Snapshot(numbers)  # before they are read: the next call finds what another thread changes now
            scale, shift = (None, bias) if norm is None else _scale_and_shift(norm, bias)
            panels = conv2d.packed(weight, plan.known, scale=scale, allocate=lambda count: empty((count,)))
            packed = panels, conv2d.padded(shift, plan.known, len(weight), groups).copy()
        else:
            snapshot, packed = ready.snapshot, ready.packed
        row = plan.row.copy()
        row[at.WEIGHT], row[at.BIAS_VECTOR] = (array.ctypes.data for array in packed)
        ready = Inference(settings, snapshot, plan, row, packed)
    return conv2d.run_forward(plan, x, {}, ready.row)[0], ready


def _scale_and_shift(norm: Affine, bias: Array | None) -> tuple[Array, Array]:
    """Return what a norm in evaluation does to the channels of a convolution without and with a bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = 1 / np.sqrt(norm.running_var + np.float32(norm.eps))
    if norm.weight is not None:
        scale *= norm.weight
    mean = norm.running_mean if bias is None else norm.running_mean - bias
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    return scale.astype(np.float32, copy=False), shift.astype(np.float32, copy=False)
