"""Initial weights. Each function returns a new float32 array; to use one, assign it:

    layer.weight.data = kaiming_normal(layer.weight.shape)

The variance of the activations stays the same from layer to layer if each weight has variance gain² / fan, where fan
is the number of terms in the sum for one output (fan_in) or, in the backward pass, for the gradient of one input
(fan_out).

Source: Glorot and Bengio 2010 (Xavier); He, Zhang, Ren and Sun 2015, arXiv 1502.01852 (Kaiming); Saxe, McClelland and
Ganguli 2013, arXiv 1312.6120 (orthogonal). Names and numbers are the same as in torch.nn.init.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from cnn.core.rng import generator
from cnn.module import Array, Parameter

Rng = np.random.Generator | int | None

_remaining: ContextVar[float] = ContextVar("remaining", default=math.inf)
_blank: ContextVar[bool] = ContextVar("blank", default=False)


@contextmanager
def limit_total_size(size: int) -> Iterator[None]:
    """Refuse to create weights of more than ``size`` numbers in total, so that no small file builds a huge model."""
    token = _remaining.set(size)
    try:
        yield
    finally:
        _remaining.reset(token)


@contextmanager
def blank_weights() -> Iterator[None]:
    """Let layers begin with weights of zero instead of random ones, which take time, where others will replace them."""
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


def fan_in_and_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs one output sums over, and how many outputs one input reaches.

    Parameters
    ----------
    shape : tuple of int
        The shape of a weight: (out, in) for Linear, (out, in/groups, kh, kw) for Conv2d.

    Examples
    --------
    >>> fan_in_and_out((32, 16, 3, 3))
    (144, 288)
    """
    if len(shape) < 2:
        raise ValueError(f"a weight needs at least 2 axes, (out, in, ...), to have a fan_in; got shape {tuple(shape)}")
    receptive_field = math.prod(shape[2:])
    return shape[1] * receptive_field, shape[0] * receptive_field


def _count(shape: tuple[int, ...]) -> None:
    """Subtract the size of new weights from what `limit_total_size` allows."""
    if math.prod(shape) > _remaining.get():
        raise ValueError(f"weights of shape {tuple(shape)} are more than the {_remaining.get():,} numbers allowed")
    _remaining.set(_remaining.get() - math.prod(shape))


def uniform(shape: tuple[int, ...], low: float = 0.0, high: float = 1.0, rng: Rng = None) -> Array:
    """Uniform between low and high."""
    _count(shape)
    rng = generator(rng)
    return np.zeros(shape, np.float32) if _blank.get() else rng.uniform(low, high, shape).astype(np.float32)


def normal(shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Array:
    """Gaussian with the given mean and standard deviation."""
    return generator(rng).normal(mean, std, shape).astype(np.float32)


def weight_and_bias(shape: tuple[int, ...], bias: bool, rng: Rng = None) -> tuple[Parameter, Parameter | None]:
    """Return initial weight and bias (or None) of Linear and Conv2d, uniform in ± 1 / sqrt(fan_in) as in PyTorch."""
    rng = generator(rng)
    bound = 1 / math.sqrt(fan_in_and_out(shape)[0])
    weight = Parameter(uniform(shape, -bound, bound, rng))
    return weight, Parameter(uniform(shape[:1], -bound, bound, rng)) if bias else None


def constant(shape: tuple[int, ...], value: float) -> Array:
    """All the same number, as in normalisation layers: 1 for the scale, 0 for the shift."""
    _count(shape)
    return np.full(shape, value, np.float32)


def zeros(shape: tuple[int, ...]) -> Array:
    """All zero, as for biases."""
    return constant(shape, 0.0)


def kaiming_uniform(shape: tuple[int, ...], a: float = 0.0, rng: Rng = None) -> Array:
    """Uniform in ± sqrt(6 / ((1 + a²) fan_in)): preserves the variance through a (leaky) ReLU of slope ``a``.

    With ``a=sqrt(5)`` the bound is 1 / sqrt(fan_in), PyTorch's default for Linear and Conv2d.

    Examples
    --------
    >>> kaiming_uniform((8, 4), rng=0).shape
    (8, 4)
    """
    bound = math.sqrt(6 / ((1 + a**2) * fan_in_and_out(shape)[0]))
    return uniform(shape, -bound, bound, rng)


def kaiming_normal(shape: tuple[int, ...], a: float = 0.0, rng: Rng = None) -> Array:
    """Gaussian with standard deviation sqrt(2 / ((1 + a²) fan_in))."""
    return normal(shape, 0.0, math.sqrt(2 / ((1 + a**2) * fan_in_and_out(shape)[0])), rng)


def xavier_uniform(shape: tuple[int, ...], gain: float = 1.0, rng: Rng = None) -> Array:
    """Uniform in ± gain sqrt(6 / (fan_in + fan_out)): a compromise between the forward and the backward variance."""
    bound = gain * math.sqrt(6 / sum(fan_in_and_out(shape)))
    return uniform(shape, -bound, bound, rng)


def xavier_normal(shape: tuple[int, ...], gain: float = 1.0, rng: Rng = None) -> Array:
    """Gaussian with standard deviation gain sqrt(2 / (fan_in + fan_out))."""
    return normal(shape, 0.0, gain * math.sqrt(2 / sum(fan_in_and_out(shape))), rng)


def orthogonal(shape: tuple[int, ...], gain: float = 1.0, rng: Rng = None) -> Array:
    """The rows of the flattened weight (or its columns, if it has more rows than columns) are orthogonal and have
    length ``gain``.

    Examples
    --------
    >>> w = orthogonal((3, 5), rng=0)
    >>> bool(np.allclose(w @ w.T, np.eye(3), atol=1e-6))
    True
    """
    fan_in_and_out(shape)  # raises an error for shapes with fewer than 2 axes
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator(rng).normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over all orthogonal matrices
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)


def dirac(shape: tuple[int, ...]) -> Array:
    """Convolution weights that copy the first input channels to the output unchanged.

    Examples
    --------
    >>> dirac((2, 2, 1, 3))[1, 1]
    array([[0., 1., 0.]], dtype=float32)
    """
    if len(shape) != 4:
        raise ValueError(f"dirac is for convolution weights, (out, in, kh, kw); got shape {tuple(shape)}")
    weight = zeros(shape)
    for channel in range(min(shape[0], shape[1])):
        weight[channel, channel, shape[2] // 2, shape[3] // 2] = 1
    return weight
