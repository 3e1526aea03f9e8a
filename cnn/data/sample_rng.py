"""Random numbers for the transforms of a batch, computed by hashing: no state to save or to share between threads."""

from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import Array
from cnn.errors import InputError, ShapeError

MASK = 0xFFFF_FFFF_FFFF_FFFF  # 64 bits: arrays of uint64 wrap around on overflow, Python's integers do not
STEP = 0x9E37_79B9_7F4A_7C15  # 2^64 / golden ratio, odd


class SampleRNG:
    """A counter-based random number generator for a batch, with an independent stream for each sample.

    key = mix(mix(mix(mix(seed) + epoch) + transform) + index g),  number k = mix(key + k g),  k = 1, 2, ...

    with the constant g of splitmix64 and its finaliser `mix`, which scatters 64 bits. So each sample has a splitmix64
    generator of its own. Its numbers do not depend on the other samples of the batch, on their order, or on what was
    drawn before. Training that resumes, or that prepares its batches in a thread, therefore gets the same numbers.

    Parameters
    ----------
    seed : int
        0 to 2^64 - 1.
    epoch : int
        Number of the epoch, at least 0. Training counts from 1; use 0 for numbers that are the same in every epoch.
    indices : array_like of int, (N,)
        Indices of the samples in the data set.
    transform : int
        Index of the transform, at least 0, so that two transforms do not get the same numbers.
    repeats : array_like of int, (N,), optional
        How often each sample was drawn before in the same epoch, where a sample may be drawn several times: then it
        gets other numbers each time. By default 0 for all.

    Attributes
    ----------
    seed, epoch, transform : int
    indices : ndarray of int64, (N,)
    repeats : ndarray of int64, (N,), or None

    Raises
    ------
    ValueError
        If an argument is not as described above.

    Source
    ------
    Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (the constants of `mix` are Stafford's
    variant 13); counters instead of a state: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.

    Examples
    --------
    >>> rng = SampleRNG(seed=7, epoch=1, indices=[5, 2, 9])
    >>> rng.integers(0, 10)
    array([4, 9, 8])
    >>> rng.integers(0, 10)
    array([8, 2, 8])
    >>> SampleRNG(seed=7, epoch=1, indices=[2]).integers(0, 10)
    array([9])
    """

    def __init__(self, seed: int, epoch: int, indices: Any, transform: int = 0, repeats: Any = None) -> None:
        self.seed = integer(seed, "seed", 0)
        if self.seed > MASK:
            raise ValueError(f"seed must be below 2**64, got {seed}")
        self.epoch = integer(epoch, "epoch", 0)
        self.transform = integer(transform, "transform", 0)
        self.indices = sample_indices(indices)
        start = mix(mix(mix(self.seed) + self.epoch & MASK) + self.transform & MASK)
        self._keys = mix(self.indices.view(np.uint64) * STEP + start)
        self.repeats = None if repeats is None else sample_indices(repeats)
        if self.repeats is not None:
            if self.repeats.shape != self.indices.shape:
                raise ShapeError(f"repeats needs one number for each of {len(self.indices)} samples, got {repeats}")
            again = mix(mix(self._keys) + self.repeats.view(np.uint64))
            self._keys = np.where(self.repeats == 0, self._keys, again)
        self._drawn = 0

    def __repr__(self) -> str:
        indices = self.indices.tolist()
        more = "" if self.repeats is None else f", repeats={self.repeats.tolist()}"
        return f"SampleRNG(seed={self.seed}, epoch={self.epoch}, indices={indices}, transform={self.transform}{more})"

    def uniform(self, count: int | None = None) -> Array:
        """Return the next number of each sample, or the next ``count`` of each: -> (N,) or (N, count) of float64

        Numbers from 0 to 1, 1 excluded, in steps of 2^-53. Two calls return the same numbers as one with ``count=2``.
        """
        amount = 1 if count is None else integer(count, "count", 0)
        counters = np.arange(self._drawn + 1, self._drawn + amount + 1, dtype=np.uint64)
        self._drawn += amount
        bits = mix(self._keys[:, None] + counters * STEP)
        u = (bits >> 11) * 2.0**-53  # a float64 holds 53 bits
        return u[:, 0] if count is None else u

    def integers(self, low: int, high: int) -> Array:
        """Return the next number of each sample as an integer from low to high - 1: -> (N,) of int64"""
        if high <= low or high - low > 2**53:
            raise ValueError(f"high must be above low, by at most 2**53, got low={low} and high={high}")
        # u * span < span holds even after rounding
        return (self.uniform() * (high - low)).astype(np.int64) + low


def mix(z: Any) -> Any:
    """Scatter 64 bits over 64 bits, one to one: of an int, or of each number of an array of uint64.

    Examples
    --------
    The first number of splitmix64 from the seed 0:

    >>> hex(mix(0x9E3779B97F4A7C15))
    '0xe220a8397b1dcdaf'
    """
    z = (z ^ z >> 30) * 0xBF58_476D_1CE4_E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D0_49BB_1331_11EB & MASK
    return z ^ z >> 31


def sample_indices(indices: Any) -> Array:
    """Return the indices of samples as int64, (N,), or raise an error that says how to fix it."""
    array = np.asarray(indices)
    if array.ndim != 1:
        raise ShapeError(f"indices must have the shape (N,), one index into the data set per sample, got {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(f"indices must be integers, one index into the data set per sample, got {array.dtype}")
    return array.astype(np.int64, order="C")
