"""Array kernel for the function in optim/adam.py."""

import math
from typing import Any

import numpy as np

from cnn.kernels.array.chunks import flat_views, in_chunks
from cnn.kernels.array.parallel_for import Array


def adam(
    weights: list[Array],
    grads: list[Array],
    means: list[Array],
    squares: list[Array],
    steps: list[int],
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Any:
    """Take the same steps chunk by chunk, with as little memory as possible."""
    views = [flat_views(*arrays) for arrays in zip(weights, grads, means, squares, strict=True)]
    if None in views:
        return NotImplemented
    for arrays, t in zip(views, steps, strict=True):
        assert arrays is not None
        _update(arrays, t, lr, betas, eps)
    return None


def _update(arrays: list[Array], t: int, lr: float, betas: tuple[float, float], eps: float) -> None:
    b1, b2 = betas

    def update(w: Array, grad: Array, m: Array, v: Array, step: Array, root: Array) -> None:
        np.subtract(grad, m, out=step)
        step *= 1 - b1
        m += step
        v *= b2
        np.multiply(grad, 1 - b2, out=step)
        step *= grad
        v += step
        np.sqrt(v, out=root)
        root /= math.sqrt(1 - b2**t)
        root += eps
        np.multiply(m, lr / (1 - b1**t), out=step)
        step /= root
        w -= step

    dtype = arrays[0].dtype
    in_chunks(update, arrays, [dtype, dtype], nanoseconds=2.5)
