"""What the frozen layers of a net give for each image and for changed versions of it, computed once and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cnn.cli.datasets import Transform
from cnn.data.sample_rng import SampleRNG
from cnn.kernels import one_blas_thread
from cnn.module import Array, evaluating
from cnn.sequential import Sequential

BATCH = 32
MAX_BYTES = 2**30  # of all versions together; of more images there are fewer versions


@dataclass(frozen=True)
class OneVersion:
    """A transform that takes one version of each sample, at random: (N, versions, ...) -> (N, ...)"""

    moves_pixels: ClassVar[bool] = False

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, versions, ...) -> (N, ...)"""
        return x[np.arange(len(x)), rng.integers(0, x.shape[1])], y


def number_of_versions(images: int, values: int, wanted: int) -> int:
    """Return how many versions of each image are kept, so that those of all images need no more than `MAX_BYTES`.

    Parameters
    ----------
    images, values : int
        Number of images, and of the float32 values that are kept of one.
    wanted : int
        The number if there is enough memory.

    Examples
    --------
    >>> number_of_versions(500, 1280, 4), number_of_versions(5_000, 21_952, 4)
    (4, 2)
    """
    return max(1, min(wanted, MAX_BYTES // (4 * images * values)))


def of_pixels(
    net: Sequential,
    pixels: Array,
    inputs: Callable[[Array], Array],
    transforms: Sequence[Transform] = (),
    versions: int = 1,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Array:
    """Return the output of a net, in evaluation mode, for versions of images: (N, C, H, W) -> (N, versions, ...)

    Parameters
    ----------
    net : Sequential
        The layers.
    pixels : ndarray of uint8, (N, C, H, W)
        The images.
    inputs : callable
        Turns pixels into inputs of the net.
    transforms : sequence of Transform
        The random changes. Version 0 is the image as it is. The changes of version k are those that the transforms
        would make in epoch k of a training with this seed.
    versions : int
        How many of each image.
    seed : int
        Of the random changes.
    tell : callable
        Called with the number of outputs that are done.
    """
    done, features = 0, np.empty(0, np.float32)
    labels = np.zeros(len(pixels), np.int64)  # transforms take some
    with evaluating(), one_blas_thread():
        for start in range(0, len(pixels), BATCH):
            rows = np.arange(start, min(start + BATCH, len(pixels)))
            for version in range(versions):
                x = pixels[rows]
                for index, transform in enumerate(transforms if version else ()):
                    x = transform(x, labels[rows], SampleRNG(seed, version, rows, index))[0]
                outputs = net(inputs(x))
                if not done:
                    features = np.empty((len(pixels), versions, *outputs.shape[1:]), outputs.dtype)
                features[rows, version] = outputs
                tell(done := done + len(rows))
    return features


def of_features(net: Sequential, features: Array, tell: Callable[[int], None] = lambda more: None) -> Array:
    """Return the output of further layers for each version: (N, versions, ...) -> (N, versions, ...)

    ``tell`` is called with the number of outputs that are done since the last call.
    """
    found = []
    with evaluating(), one_blas_thread():
        for start in range(0, len(features), BATCH):
            part = features[start : start + BATCH]
            outputs = [net(np.ascontiguousarray(part[:, k])) for k in range(part.shape[1])]
            found.append(np.stack(outputs, axis=1))
            tell(len(part) * part.shape[1])
    return np.concatenate(found)
