"""Random numbers that are a hash of who asks for them: no state to save, and none to share between threads."""

from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import Array
from cnn.errors import InputError, ShapeError

MASK = 0xFFFF_FFFF_FFFF_FFFF  # 64 bits: arrays of uint64 wrap by themselves, Python's integers do not
STEP = 0x9E37_79B9_7F4A_7C15  # 2^64 / golden ratio, odd


class Draws:
    """The random numbers of a transform for a batch: those of a sample are a hash of where it is, and of nothing else.

    key = mix(mix(mix(mix(seed) + epoch) + transform) + sample g),  number k = mix(key + k g),  k = 1, 2, ...

    with the constant g of splitmix64 and its finaliser `mix`, which scatters 64 bits. So each sample has a splitmix64
    generator of its own. Its numbers do not depend on the other samples of the batch, on their order, or on what was
    drawn before, so a training that resumes, or prepares its batches in a thread, gets the same ones.

    Parameters
    ----------
    seed : int
        0 to 2^64 - 1.
    epoch : int
        Number of the epoch, at least 0. Training counts from 1; use 0 for what is to be the same in every epoch.
    samples : array_like of int, (N,)
        Positions of the samples in the data set.
    transform : int
        Which transform asks, at least 0, so that two of them do not get the same numbers.

    Attributes
    ----------
    seed, epoch, transform : int
    samples : ndarray of int64, (N,)

    Raises
    ------
    ValueError
        If an argument is not as above.

    Source
    ------
    Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (the constants of `mix` are Stafford's
    variant 13); counters instead of a state: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.

    Examples
    --------
    >>> draws = Draws(seed=7, epoch=1, samples=[5, 2, 9])
    >>> draws.integers(0, 10)
    array([4, 9, 8])
    >>> draws.integers(0, 10)
    array([8, 2, 8])
    >>> Draws(seed=7, epoch=1, samples=[2]).integers(0, 10)
    array([9])
    """

    def __init__(self, seed: int, epoch: int, samples: Any, transform: int = 0) -> None:
        self.seed = integer(seed, "seed", 0)
        if self.seed > MASK:
            raise ValueError(f"seed must be below 2**64, got {seed}")
        self.epoch = integer(epoch, "epoch", 0)
        self.transform = integer(transform, "transform", 0)
        self.samples = positions(samples)
        start = mix(mix(mix(self.seed) + self.epoch & MASK) + self.transform & MASK)
        self._keys = mix(self.samples.view(np.uint64) * STEP + start)
        self._drawn = 0

    def __repr__(self) -> str:
        return (
            f"Draws(seed={self.seed}, epoch={self.epoch}, samples={self.samples.tolist()}, transform={self.transform})"
        )

    def uniform(self, count: int | None = None) -> Array:
        """Return the next number of each sample, or the next ``count`` of each: -> (N,) or (N, count) of float64

        Numbers from 0 to 1, 1 excluded, in steps of 2^-53. Two calls give what one with ``count=2`` gives.
        """
        amount = 1 if count is None else integer(count, "count", 0)
        numbers = np.arange(self._drawn + 1, self._drawn + amount + 1, dtype=np.uint64)
        self._drawn += amount
        bits = mix(self._keys[:, None] + numbers * STEP)
        u = (bits >> 11) * 2.0**-53  # a float64 holds 53 bits
        return u[:, 0] if count is None else u

    def integers(self, low: int, high: int) -> Array:
        """Return the next number of each sample as an integer from low to high - 1: -> (N,) of int64"""
        if high <= low or high - low > 2**53:
            raise ValueError(f"high must be above low, by at most 2**53, got low={low} and high={high}")
        return (self.uniform() * (high - low)).astype(np.int64) + low  # u span < span holds also when it is rounded


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


def positions(samples: Any) -> Array:
    """Return positions in a data set as int64, (N,), or raise an error that names the fix."""
    found = np.asarray(samples)
    if found.ndim != 1:
        raise ShapeError(f"samples are positions in the data set, (N,), got shape {found.shape}")
    if found.dtype.kind not in "iu" and found.size:
        raise InputError(f"samples are positions in the data set, integers, got {found.dtype}")
    return found.astype(np.int64, order="C")
