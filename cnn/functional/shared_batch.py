"""Batch normalisation of a batch of which several processes have a part each: mean and variance are those of the whole.

``ranks`` stands for the processes: ``add`` and ``gather`` give each of them the numbers of all, and ``has_samples``
says whether the samples of this one count. The training sets it, as it knows who has which part of the batch. It is
None where one process has the whole batch.

Whatever computes the sums of a part, compiled or not, alone or with the layers around it, sends the same: one `gather`
in forward and one `add` in backward. So a process whose numbers take another way keeps step with the others.
"""

from typing import Any

import numpy as np

from cnn.errors import ShapeError
from cnn.functional import norms
from cnn.kernels import kernel
from cnn.module import Array


@kernel
def part_sums(grad: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """The sums of g and of g z over a part of the batch, for z = (x - mean) / sqrt(var + eps): two of (C,), float64"""
    z, _ = norms.standardize(x, mean, var, eps)
    axes = norms.statistics_axes(x)
    return grad.sum(axis=axes, dtype=np.float64), (grad * z).sum(axis=axes, dtype=np.float64)


@kernel
def part_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, along_ones: Array, along_z: Array
) -> Array:
    """The gradient of x: w (g - along_ones - z along_z) / sqrt(var + eps), with the means of g and of g z over all."""
    z, scale = norms.standardize(x, mean, var, eps)
    if weight is not None:
        scale = scale * weight.reshape(norms.channel_shape(x))
    of_channels = (a.reshape(mean.shape).astype(z.dtype) for a in (along_ones, along_z))
    return norms.without_components(grad, z, scale, *of_channels)


def batch_moments(x: Array, ranks: Any) -> tuple[Array, Array, int]:
    """Mean and variance of each channel over the batch, and the number of values."""
    return moments_of_all(*norms.moments(x, norms.statistics_axes(x)), x.size // x.shape[1], ranks)


def moments_of_all(mean: Array, var: Array, count: int, ranks: Any) -> tuple[Array, Array, int]:
    """Combine the moments of a part with those of the others; each tells 2C + 1 numbers.

    mean = sum of n[r] mean[r] / n,  var = sum of n[r] (var[r] + (mean[r] - mean)²) / n,  n = sum of n[r]

    Source
    ------
    Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    if ranks is None:
        return mean, var, count
    rows = ranks.gather(np.concatenate([[count * ranks.has_samples], mean.ravel(), var.ravel()]))
    counts, (means, variances) = rows[:, :1], np.split(rows[:, 1:], 2, axis=1)
    n = counts.sum()
    if n < 2:
        raise ShapeError(
            f"expected more than 1 value per channel to take a variance, got {n:g} in all parts of the batch: use "
            "larger batches, or eval() with running statistics"
        )
    of_all = (counts * means).sum(axis=0) / n
    variance = (counts * (variances + (means - of_all) ** 2)).sum(axis=0) / n
    return of_all.reshape(mean.shape), variance.reshape(var.shape), int(n)


def sums_of_all(of_grad: Array, of_product: Array, count: int, ranks: Any) -> tuple[Array, Array, int]:
    """Add up what `part_sums` gives of all parts, and the number of values: 2C + 1 numbers."""
    if ranks is None:
        return of_grad, of_product, count
    own = np.concatenate([of_grad, of_product, [count]]) if ranks.has_samples else np.zeros(2 * len(of_grad) + 1)
    *sums, n = np.split(ranks.add(own), [len(of_grad), 2 * len(of_grad)])
    return sums[0], sums[1], int(n[0])


def batchnorm_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, ranks: Any
) -> tuple[Array, Array | None, Array | None]:
    """The gradient of x, whose two means are over all parts, and those of w and b from this part alone.

    The training adds up the gradients of w and b, as it does those of all parameters.
    """
    b_grad, w_grad = part_sums(grad, x, mean, var, eps)
    ones, along_z, n = sums_of_all(b_grad, w_grad, x.size // x.shape[1], ranks)
    return part_grad(grad, x, mean, var, eps, weight, ones / n, along_z / n), w_grad, b_grad
