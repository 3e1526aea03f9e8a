"""Compiled implementation of a function in functional/norms.py."""

from cnn.kernels.jit.engine.arrays import Array, channels_last
from cnn.kernels.jit.engine.normalize import mean_and_variance


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """(N, C, H, W) -> two of (1, C, 1, 1)"""
    if x.ndim != 4 or axes != (0, 2, 3) or x.size == 0:
        return NotImplemented
    mean, var = mean_and_variance(channels_last(x))
    return mean.reshape(1, -1, 1, 1), var.reshape(1, -1, 1, 1)
