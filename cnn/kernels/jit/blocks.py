"""Layers that run as one, for containers/fusion/rules.py: a convolution and what follows it, while an image is in the cache."""

from typing import Any, NamedTuple

import numpy as np

from cnn.kernels.jit import conv2d, elementwise
from cnn.kernels.jit.conv2d import Came
from cnn.kernels.jit.engine import packing, small_linear
from cnn.kernels.jit.engine.arrays import Array, channels_first, channels_last
from cnn.kernels.jit.engine.comparison import Seen
from cnn.kernels.jit.engine.normalize import Norm, batch_moments, scaled
from cnn.kernels.jit.engine.product import product
from cnn.kernels.jit.engine.shapes import pool_way
from cnn.kernels.parallel import get_num_threads


class Kept(NamedTuple):
    """What the gradient needs to know."""

    x: Array
    output: Array | None  # of the convolution, if ReLU or a norm comes next
    choice: Array | None  # of the pool
    norm: Norm | None


def conv_forward(
    x: Array, weight: Array, bias: Array | None, geometry: Any, groups: int, relu: bool, pool: Any
) -> tuple[Array, Kept]:
    """Convolution, ReLU, pool."""
    y, choice, _ = conv2d.forward(x, weight, bias, geometry, groups, relu, pool)
    output = channels_last(y) if relu and pool is None else None
    return y, Kept(x, output, choice, None)


def conv_norm_forward(
    x: Array, conv: tuple[Any, ...], norm: Any, relu: bool, pool: Any, follow: Any
) -> tuple[Array, Kept]:
    """Convolution, batch normalisation in training, ReLU, pool; ``conv`` are weight, bias, geometry and groups;
    ``follow`` lets the running statistics follow.
    """
    weight, bias, geometry, groups = conv
    made, _, moments = conv2d.forward(x, weight, bias, geometry, groups, moments=True)
    assert moments is not None
    output = channels_last(made)
    n, h, w, _ = output.shape
    mean, var = batch_moments(*moments, h * w)
    follow(norm, mean, var, n * h * w)
    known = Norm(mean, var, norm.eps, *(None if p is None else p.data for p in (norm.weight, norm.bias)))
    if pool is None:
        y, choice = scaled(output, known, relu)
    else:
        y, choice = scaled(output, known, relu, pool_way(pool), pool.output_size(h, w))
    return channels_first(y), Kept(x, output, choice, known)


class Folded(NamedTuple):
    """What inference needs of a convolution and the norm behind it, and what it was made of."""

    settings: tuple[Any, ...]  # shape of the weights, groups, eps of the norm
    seen: Seen
    asked: tuple[Any, ...]  # what else makes up the call, such as the shape of the input
    call: conv2d.Call


def conv_inference(
    x: Array, conv: tuple[Any, ...], norm: Any, relu: bool, pool: Any, before: Folded | None
) -> tuple[Array, Folded]:
    """Convolution, batch normalisation in evaluation, ReLU, pool: the norm is a factor for the weights and a bias.

    What the last call worked out serves again if no number has changed since.
    """
    weight, bias, geometry, groups = conv
    numbers = [weight] if bias is None else [weight, bias]
    if norm is not None:
        tensors = norm.running_mean, norm.running_var, norm.weight, norm.bias
        numbers += [tensor.data for tensor in tensors if tensor is not None]
    settings = weight.shape, groups, 0.0 if norm is None else norm.eps
    asked = x.shape, geometry, relu, pool, get_num_threads()
    folded = before if before is not None and before.settings == settings and before.seen.still(numbers) else None
    if folded is None or folded.asked != asked:
        plan = conv2d.planned(x.shape, weight.shape, geometry, groups, relu, pool, False, asked[-1])
        if folded is None or folded.call.ready.algorithm != plan.known.algorithm:
            seen = Seen(numbers)  # before they are read: the next call finds what another thread changes meanwhile
            scale, shift = (None, bias) if norm is None else _as_scale_and_shift(norm, bias)
            ready = packing.ready(x, weight, shift, geometry, groups, scale)
        else:
            seen, ready = folded.seen, folded.call.ready
        folded = Folded(settings, seen, asked, conv2d.call(plan, ready))
    return folded.call(x), folded


def _as_scale_and_shift(norm: Any, bias: Array | None) -> tuple[Array, Array]:
    """Return what a norm in evaluation does to the channels of a convolution without and with a bias."""
    scale = 1 / np.sqrt(norm.running_var.data + np.float32(norm.eps))
    if norm.weight is not None:
        scale *= norm.weight.data
    mean = norm.running_mean.data if bias is None else norm.running_mean.data - bias
    shift = -mean * scale if norm.bias is None else norm.bias.data - mean * scale
    return scale.astype(np.float32, copy=False), shift.astype(np.float32, copy=False)


def conv_backward(
    grad: Array, kept: Kept, conv: tuple[Any, ...], relu: bool, pool: Any, needs_input_grad: bool
) -> tuple[Array | None, Array | None, Array | None, tuple[Array, Array] | None]:
    """Return the gradients of input, weight and bias, and those of a norm's weight and bias."""
    weight, bias, geometry, groups = conv
    came, vectors, of_norm = Came(relu), None, None
    if kept.choice is not None:
        came = came._replace(way=pool_way(pool), choice=kept.choice)
    if kept.output is not None:
        k = len(weight)
        one, zero = np.ones(k, np.float32), np.zeros(k, np.float32)
        came = came._replace(output=kept.output, center=zero, scale=one, shift=zero)
    if kept.norm is not None and kept.output is not None:
        norm = kept.norm
        came = came._replace(center=norm.center, scale=norm.scale, shift=norm.shift)
        sums = conv2d.gradient_sums(grad, kept.x.shape, weight, geometry, groups, came)
        vectors, *found = norm.backward(*sums, kept.output.size // len(weight), of_batch=True)
        of_norm = found[0], found[1]
    needs = needs_input_grad, bias is not None
    gradients = conv2d.backward(grad, kept.x, kept.x.shape, weight, geometry, groups, came, vectors, *needs)
    return *gradients, of_norm


def linear_forward(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    """Linear, then ReLU."""
    return product(x, weight.T, bias, relu)


def linear_backward(
    grad: Array, x: Array, y: Array | None, weight: Array, needs_input_grad: bool
) -> tuple[Array | None, Array, Array]:
    """Return the gradients of input, weight and bias; ``y`` is the output of ReLU, if that comes next."""
    if len(x) * weight.size <= small_linear.SMALL:
        return small_linear.gradients(grad, x, y, weight, needs_input_grad)
    if y is not None:
        grad = elementwise.gate(np.ascontiguousarray(grad), y <= 0)
    x_grad = product(grad, weight) if needs_input_grad else None
    return x_grad, product(grad.T, x), grad.sum(axis=0)
