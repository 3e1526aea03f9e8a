"""Functions shared by batch, layer and group normalisation, which differ in the axes of mean and variance."""

from typing import Any

import numpy as np

from cnn.core.checks import is_finite
from cnn.errors import ShapeError
from cnn.kernels import kernel
from cnn.module import Array, Buffer, Parameter

Axes = tuple[int, ...]


@kernel
def moments(x: Array, axes: Axes) -> tuple[Array, Array]:
    """Mean and variance over ``axes``, which are kept with length 1; float64, so that long sums lose no digits.

    In two passes: E[x²] - E[x]² loses all digits when the mean is much larger than the spread.
    """
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float64)
    return mean, x.var(axis=axes, keepdims=True, dtype=np.float64, mean=mean)


def standardize(x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """Return z = (x - mean) / sqrt(var + eps), and 1 / sqrt(var + eps)."""
    scale = (1 / np.sqrt(var + eps)).astype(x.dtype)
    z = np.subtract(x, mean, out=np.empty_like(x), casting="same_kind")  # only the difference is rounded to float32
    z *= scale
    return z, scale


def standardize_grad(grad: Array, z: Array, scale: Array, axes: Axes) -> Array:
    """Return dL/dx = scale (g - mean of g - z mean of (g z)) for g = dL/dz, if mean and var are those of x.

    Adding a constant to all x, or scaling them about their mean, does not change z. So the gradient has no component in
    these two directions: its components along the ones and along z are subtracted.
    """
    along_ones, along_z = (a.mean(axis=axes, keepdims=True, dtype=np.float64).astype(z.dtype) for a in (grad, grad * z))
    return without_components(grad, z, scale, along_ones, along_z)


def without_components(grad: Array, z: Array, scale: Array, along_ones: Array, along_z: Array) -> Array:
    """Return scale (g - along_ones - z along_z)."""
    grad_x = np.multiply(z, -along_z, out=np.empty_like(z))
    grad_x += grad
    grad_x -= along_ones
    grad_x *= scale
    return grad_x


def scale_and_shift(z: Array, weight: Array | None, bias: Array | None, shape: tuple[int, ...]) -> Array:
    """Return w z + b, with w and b reshaped for broadcasting; z unchanged if there is no w."""
    if weight is None:
        return z
    y = np.multiply(z, weight.reshape(shape), out=np.empty_like(z))
    if bias is not None:
        y += bias.reshape(shape)
    return y


def scale_and_shift_grad(
    grad: Array, z: Array, weight: Array | None, shape: tuple[int, ...]
) -> tuple[Array, Array | None, Array | None]:
    """Return dL/dz = g w, dL/dw and dL/db: the sums of g z and of g over the axes along which w and b are broadcast."""
    if weight is None:
        return grad, None, None
    axes = tuple(axis for axis in range(-z.ndim, 0) if axis < -len(shape) or shape[axis] == 1)
    b_grad = grad.sum(axis=axes, dtype=np.float64).reshape(weight.shape)
    w_grad = (grad * z).sum(axis=axes, dtype=np.float64).reshape(weight.shape)
    return np.multiply(grad, weight.reshape(shape), out=np.empty_like(grad)), w_grad, b_grad


def arrays(weight: Parameter | None, bias: Parameter | None) -> tuple[Array | None, Array | None]:
    """Return the values of w and b, or None for each that is None."""
    return None if weight is None else weight.data, None if bias is None else bias.data


def accumulate(weight: Parameter | None, bias: Parameter | None, w_grad: Array | None, b_grad: Array | None) -> None:
    """Accumulate the gradients of w and b, if they exist."""
    for parameter, grad in ((weight, w_grad), (bias, b_grad)):
        if parameter is not None and grad is not None:
            parameter.accumulate_grad(grad)


def update_running_statistics(norm: Any, mean: Array, var: Array, n: int) -> None:
    """In training, update the running statistics from those of a batch with ``n`` values per channel."""
    if norm.num_batches_tracked is None or not norm.training:
        return
    norm.num_batches_tracked.data += 1
    momentum = 1 / int(norm.num_batches_tracked.data) if norm.momentum is None else norm.momentum
    for running, of_batch in ((norm.running_mean, mean), (norm.running_var, n / (n - 1) * var)):
        running.data = (1 - momentum) * running.data + momentum * of_batch.ravel()


def of_channels(running: Buffer, x: Array) -> Array:
    """Return a copy of running statistics in the shape in which they broadcast to (N, C, ...)."""
    return running.data.reshape(channel_shape(x)).copy()


def channel_shape(x: Array) -> tuple[int, ...]:
    """Return the shape in which one number per channel broadcasts to (N, C, ...)."""
    return (x.shape[1], *(1,) * (x.ndim - 2))


def statistics_axes(x: Array) -> Axes:
    """Return the axes of (N, C, ...) over which the statistics of each channel are taken."""
    return (0, *range(2, x.ndim))


def check_positive(value: Any, name: str) -> float:
    """Return ``value`` as a float, or raise an error that names the argument."""
    if not is_finite(value) or value <= 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return float(value)


def check_momentum(value: Any, name: str) -> float | None:
    """Return ``value`` as a float from 0 to 1, or None unchanged, or raise an error that names the argument."""
    number = not isinstance(value, bool) and isinstance(value, (int, float, np.number))
    if value is not None and not (number and 0 <= value <= 1):
        raise ValueError(f"{name} must be a number from 0 to 1, the weight of a new batch, or None, got {value!r}")
    return None if value is None else float(value)


def check_batch(x: Array, channels: int, ndims: Axes, use_batch_stats: bool) -> None:
    """Raise an error that names the fix unless batch normalisation with this number of axes can work with ``x``."""
    if x.ndim not in ndims:
        fix = "BatchNorm2d takes (N, C, H, W)" if ndims == (4,) else "BatchNorm1d takes (N, C) or (N, C, L)"
        if 4 not in ndims and x.ndim == 4:
            fix += f"; use BatchNorm2d({channels})"
        elif 4 in ndims and x.ndim in (2, 3):
            fix += f"; use BatchNorm1d({channels})" + (", or x[None] for a single image" if x.ndim == 3 else "")
        raise ShapeError(f"expected {' or '.join(map(str, ndims))} axes, got {x.ndim}, {x.shape}: {fix}")
    check_channels(x, channels, "num_features")
    if use_batch_stats and (n := x.size // channels) < 2:
        fix = "use larger batches, or eval() with running statistics"
        raise ShapeError(f"expected more than 1 value per channel to take a variance, got {n} in {x.shape}: {fix}")


def check_channels(x: Array, channels: int, argument: str) -> None:
    """Raise an error that names the fix unless ``x`` is (N, C, ...) with C = ``channels``."""
    if x.ndim > 1 and x.shape[1] == channels:
        return
    fix = "a single sample needs a batch axis: x[None]"
    if x.ndim > 1:
        fix = f"set {argument}={x.shape[1]}"
        if x.ndim > 2 and x.shape[-1] == channels:
            fix = "the channels come last here: pass np.moveaxis(x, -1, 1)"
    raise ShapeError(f"expected (N, {channels}{', ...' if x.ndim != 2 else ''}), got {x.shape}: {fix}")
