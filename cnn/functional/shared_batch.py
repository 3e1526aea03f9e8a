"""Batch normalisation of a batch of which several processes have a part each: mean and variance are those of the whole.

``ranks`` stands for the processes: ``add`` and ``gather`` give each of them the numbers of all, and ``has_samples``
says whether the samples of this one count. The training sets it, as it knows who has which part of the batch. It is
None where one process has the whole batch.
"""

from typing import Any

import numpy as np

from cnn.errors import ShapeError
from cnn.functional import norms
from cnn.module import Array


def batch_moments(x: Array, ranks: Any) -> tuple[Array, Array, int]:
    """Mean and variance of each channel over the batch, and the number of values; of parts, each tells 2C + 1 numbers.

    mean = sum of n[r] mean[r] / n,  var = sum of n[r] (var[r] + (mean[r] - mean)²) / n,  n = sum of n[r]

    Source
    ------
    Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    mean, var = norms.moments(x, norms.statistics_axes(x))
    if ranks is None:
        return mean, var, x.size // x.shape[1]
    count = values_per_channel(x, ranks)
    rows = ranks.gather(np.concatenate([[count], mean.ravel(), var.ravel()]))
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


def batchnorm_grad(
    grad: Array, x: Array, mean: Array, var: Array, eps: float, weight: Array | None, ranks: Any
) -> tuple[Array, Array | None, Array | None]:
    """The gradient of x, whose two means are over all parts, and those of w and b from this part alone.

    The training adds up the gradients of w and b, as it does those of all parameters.
    """
    z, scale = norms.standardize(x, mean, var, eps)
    grad, w_grad, b_grad = norms.scale_and_shift_grad(grad, z, weight, norms.channel_shape(x))
    axes = norms.statistics_axes(x)
    along = [a.sum(axis=axes, dtype=np.float64) * ranks.has_samples for a in (grad, grad * z)]
    *sums, n = np.split(
        ranks.add(np.concatenate([*along, [values_per_channel(x, ranks)]])), [x.shape[1], 2 * x.shape[1]]
    )
    along_ones, along_z = ((a / n).reshape(mean.shape).astype(z.dtype) for a in sums)
    return norms.without_components(grad, z, scale, along_ones, along_z), w_grad, b_grad


def values_per_channel(x: Array, ranks: Any) -> int:
    """Return how many values of each channel this process has."""
    return x.size // x.shape[1] if ranks.has_samples else 0
