"""Batch normalisation: y = scale (x - center) + shift for each channel; its statistics and its gradients."""

from typing import Any

import numpy as np
from numba import types

from cnn.kernels import parallel
from cnn.kernels.jit.engine import thread_pool
from cnn.kernels.jit.engine.arrays import Array
from cnn.kernels.jit.engine.channel_sums import moments, sums_with
from cnn.kernels.jit.engine.compilation import (
    bytes_,
    bytes_from,
    doubles,
    doubles_from,
    floats,
    floats_from,
    indices,
    kernel,
)
from cnn.kernels.jit.engine.image_ops import pool
from cnn.kernels.jit.engine.shapes import batch_parts
from cnn.kernels.memory import empty

(N, C, H, W, PH, PW, POOL, RELU, X, Y, CHOICE) = range(11)
(CENTER, SCALE, SHIFT, GRAD, MEANS, SQUARES, GRAD_FACTOR, X_FACTOR, SCRATCH, PARTS) = range(11, 21)
NO_ARGUMENTS = np.zeros(21, np.int64)


@kernel
def image_moments(a, part, slot):
    """Compute the means and sums of squared deviations of each image of a part."""
    pixels = a[H] * a[W]
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        mean, squares = doubles_from(doubles(a[MEANS]), i * a[C]), doubles_from(doubles(a[SQUARES]), i * a[C])
        moments(floats_from(floats(a[X]), i * pixels * a[C]), mean, squares, pixels, a[C])


@kernel
def normalize(a, part, slot):
    """Scale and shift a part of the images; then ReLU and a pool, or ReLU6."""
    c, pixels, center, scale, shift = a[C], a[H] * a[W], floats(a[CENTER]), floats(a[SCALE]), floats(a[SHIFT])
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        x, y = floats_from(floats(a[X]), i * pixels * c), floats_from(floats(a[Y]), i * pixels * c)
        if a[POOL]:
            y = floats_from(floats(a[SCRATCH]), slot * pixels * c)
        for p in range(pixels):
            source, out = floats_from(x, p * c), floats_from(y, p * c)
            if a[RELU] and not a[POOL]:
                for channel in range(c):
                    value = (source[channel] - center[channel]) * scale[channel] + shift[channel]
                    out[channel] = types.float32(0) if value <= 0 else value
                for channel in range(c if a[RELU] == 6 else 0):
                    out[channel] = types.float32(6) if out[channel] >= 6 else out[channel]
            else:
                for channel in range(c):
                    out[channel] = (source[channel] - center[channel]) * scale[channel] + shift[channel]
        if a[POOL]:
            start = i * a[PH] * a[PW] * c
            best, choice = floats_from(floats(a[Y]), start), bytes_from(bytes_(a[CHOICE]), start)
            pool(y, best, choice, indices(a[POOL]), a[H], a[W], c, 0, a[PH], a[PW], a[RELU])


@kernel
def grad_sums(a, part, slot):
    """Compute the sums of the gradient and of gradient times x, for each image and channel."""
    c, pixels = a[C], a[H] * a[W]
    for i in range(part * a[N] // a[PARTS], (part + 1) * a[N] // a[PARTS]):
        x, grad = floats_from(floats(a[X]), i * pixels * c), floats_from(floats(a[GRAD]), i * pixels * c)
        grad_sum, product_sum = doubles_from(doubles(a[MEANS]), i * c), doubles_from(doubles(a[SQUARES]), i * c)
        sums_with(grad, x, grad_sum, product_sum, pixels, c)


@kernel
def backward(a, part, slot):
    """Compute the gradient of x, which is linear in the gradient and in x."""
    c, pixels, center = a[C], a[H] * a[W], floats(a[CENTER])
    grad_factor, x_factor, constant = floats(a[GRAD_FACTOR]), floats(a[X_FACTOR]), floats(a[SHIFT])
    for p in range(part * a[N] // a[PARTS] * pixels, (part + 1) * a[N] // a[PARTS] * pixels):
        x, grad = floats_from(floats(a[X]), p * c), floats_from(floats(a[GRAD]), p * c)
        y = floats_from(floats(a[Y]), p * c)
        if a[X_FACTOR]:
            for channel in range(c):
                y[channel] = grad_factor[channel] * grad[channel] + (
                    x_factor[channel] * (x[channel] - center[channel]) + constant[channel]
                )
        else:  # and not 0 times x, which is NaN for an infinite x
            for channel in range(c):
                y[channel] = grad_factor[channel] * grad[channel]


def combine_moments(means: Array, squares: Array, pixels: int) -> tuple[Array, Array]:
    """Combine the moments of each image into mean and variance of the channels over a batch: (N, C) -> (C,)

    Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    mean = means.mean(axis=0)
    deviation = means - mean
    return mean, (squares.sum(axis=0) + pixels * (deviation * deviation).sum(axis=0)) / (len(means) * pixels)


def mean_and_variance(x: Array) -> tuple[Array, Array]:
    """Return mean and variance of the channels of images (N, H, W, C), float64."""
    n, h, w, c = x.shape
    parts = batch_parts(n, parallel.num_threads)
    means, squares = np.empty((n, c)), np.empty((n, c))
    arguments = {N: n, C: c, H: h, W: w, X: x, MEANS: means, SQUARES: squares, PARTS: parts}
    thread_pool.run(image_moments, arguments, parts, x.size * 0.5, NO_ARGUMENTS)
    return combine_moments(means, squares, h * w)


def apply_norm(
    x: Array, norm: "Norm", relu: int = 0, pool: Array | None = None, output_size: tuple[int, int] = (0, 0)
) -> tuple[Array, Array | None]:
    """Return scale (x - center) + shift of images (N, H, W, C), and the choices of a pool that may follow.

    ``relu`` is 0, 1 for ReLU, or 6 for ReLU6, after which no pool may follow.
    """
    n, h, w, c = x.shape
    choice, parts, scratch = None, batch_parts(n, parallel.num_threads), None
    y = empty(x.shape if pool is None else (n, *output_size, c))
    arguments: dict[int, Any] = {N: n, C: c, H: h, W: w, X: x, Y: y, RELU: relu, PARTS: parts}
    arguments |= {CENTER: norm.center, SCALE: norm.scale, SHIFT: norm.shift}
    if pool is not None:
        choice, scratch = empty(y.shape, np.uint8), (SCRATCH, h * w * c)
        arguments |= {PH: output_size[0], PW: output_size[1], POOL: pool, CHOICE: choice}
    thread_pool.run(normalize, arguments, parts, x.size * 0.4, NO_ARGUMENTS, scratch)
    return y, choice


def gradient_sums(grad: Array, x: Array) -> tuple[Array, Array]:
    """Return the sums over each image of grad and of grad times x: (N, H, W, C) both -> (N, C) each, float64"""
    n, h, w, c = x.shape
    parts = batch_parts(n, parallel.num_threads)
    grad_sum, product_sum = np.empty((n, c)), np.empty((n, c))
    arguments = {N: n, C: c, H: h, W: w, X: x, GRAD: grad, MEANS: grad_sum, SQUARES: product_sum, PARTS: parts}
    thread_pool.run(grad_sums, arguments, parts, x.size * 0.5, NO_ARGUMENTS)
    return grad_sum, product_sum


def input_grad(grad: Array, x: Array, center: Array, vectors: tuple[Array, Array, Array], uses_x: bool) -> Array:
    """Return grad_factor grad + x_factor (x - center) + constant, with one of each per channel: (N, H, W, C)

    Without ``uses_x``, grad_factor grad alone.
    """
    n, h, w, c = x.shape
    parts, y = batch_parts(n, parallel.num_threads), empty(x.shape)
    arguments: dict[int, Any] = {N: n, C: c, H: h, W: w, X: x, GRAD: grad, Y: y, CENTER: center, PARTS: parts}
    arguments[GRAD_FACTOR], arguments[X_FACTOR], arguments[SHIFT] = vectors
    if not uses_x:
        arguments[X_FACTOR] = 0
    thread_pool.run(backward, arguments, parts, x.size * 0.5, NO_ARGUMENTS)
    return y


class Norm:
    """Batch normalisation of one batch, as y = scale (x - center) + shift for each channel."""

    def __init__(self, mean: Array, var: Array, eps: float, weight: Array | None, bias: Array | None) -> None:
        self.mean = np.ravel(mean).astype(np.float64)
        self.root = 1 / np.sqrt(np.ravel(var).astype(np.float64) + eps)
        self.weight = np.ones_like(self.mean) if weight is None else weight
        self.scale = (self.weight * self.root).astype(np.float32)
        # x - center is exact, or nearly so, in float32; the rounding error of center is added to shift
        self.center = self.mean.astype(np.float32)
        shift = (self.center - self.mean) * self.weight * self.root
        self.shift = (shift if bias is None else shift + bias).astype(np.float32)

    def backward(
        self, grad_sum: Array, product_sum: Array, count: int, use_batch_stats: bool
    ) -> tuple[tuple[Array, Array, Array], Array, Array]:
        """Return three vectors (grad_factor, x_factor, constant), and the gradients of weight and bias.

        The gradient of x is grad_factor g + x_factor (x - center) + constant, where g is the gradient of the output;
        ``grad_sum`` and ``product_sum`` are the sums of g and of g x.
        """
        w_grad, b_grad = self.gradients(grad_sum, product_sum)
        return self.vectors(w_grad, b_grad, count, use_batch_stats), w_grad, b_grad

    def gradients(self, grad_sum: Array, product_sum: Array) -> tuple[Array, Array]:
        """Return the gradients of weight and bias, from the sums over each image: two of (C,)"""
        grad_sum, product_sum = grad_sum.sum(axis=0), product_sum.sum(axis=0)
        return (product_sum - self.mean * grad_sum) * self.root, grad_sum

    def vectors(self, w_grad: Array, grad_sum: Array, count: int, use_batch_stats: bool) -> tuple[Array, Array, Array]:
        """Return the three vectors, from the sums over a batch with ``count`` values for each channel."""
        grad_factor = self.weight * self.root
        x_factor = -grad_factor * self.root * w_grad / count if use_batch_stats else np.zeros_like(grad_factor)
        constant = (
            -grad_factor * grad_sum / count + x_factor * (self.center - self.mean)
            if use_batch_stats
            else np.zeros_like(grad_factor)
        )
        return grad_factor.astype(np.float32), x_factor.astype(np.float32), constant.astype(np.float32)
