"""Predictions for any number of images: a few threads read files while the model works on those before them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from cnn.cli.predict_images import ModelImage
from cnn.core.text import fields_text
from cnn.kernels import get_num_threads, set_num_threads
from cnn.module import Array
from cnn.sequential import Sequential

# Every batch has this many rows, the last one too. With fewer rows, a product of matrices may be computed by another
# routine, which adds up in another order: the probabilities of an image would depend on the images beside it.
BATCH_SIZE = 16
READ_AHEAD = 8 * BATCH_SIZE  # images at most that wait in memory for the model
READERS = min(4, os.cpu_count() or 1)  # threads; each may hold an image of half a gigabyte

T = TypeVar("T")
Predictions = Generator["Prediction", None, None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What became of one file.

    Attributes
    ----------
    name : str
        The name of the file.
    image : ModelImage or None
        The image; None if it cannot be read.
    error : str
        Why it cannot be read.
    probabilities : ndarray, (K,), or None
        What ``predict_proba`` returns for it.
    """

    name: str
    image: ModelImage | None
    error: str = ""
    probabilities: Array | None = None

    __repr__ = fields_text


def predictions(model: Sequential, names: Iterable[str], read: Callable[[str], ModelImage]) -> Predictions:
    """Yield a prediction for each file, in order; the memory that it takes does not depend on how many there are.

    Parameters
    ----------
    model : Sequential
        It has classes or labels.
    names : iterable of str
        The files.
    read : callable
        Reads the file of a name; an OSError or a ValueError that it raises becomes the ``error`` of this file.
    """

    def attempt(name: str) -> Prediction:
        try:
            return Prediction(name, read(name))
        except (OSError, ValueError) as error:
            return Prediction(name, None, str(error))

    size = 1 if _depends_on_the_batch(model) else BATCH_SIZE
    with closing(read_ahead(attempt, names)) as found:
        while batch := list(islice(found, size)):
            images = [one.image for one in batch if one.image is not None]
            rows = iter(_probabilities(model, images, size) if images else ())
            for one in batch:
                yield one if one.image is None else Prediction(one.name, one.image, "", next(rows))


@contextmanager
def fewer_kernel_threads() -> Iterator[None]:
    """Let the layers use only as many threads as the readers leave: reading takes most of the time."""
    before = get_num_threads()
    set_num_threads(max(1, before - READERS))
    try:
        yield
    finally:
        set_num_threads(before)


def _depends_on_the_batch(model: Sequential) -> bool:
    """Return whether a layer computes with the mean of the batch in evaluation too."""
    return any(not getattr(module, "track_running_stats", True) for _, module in model.named_modules())


def _probabilities(model: Sequential, images: list[ModelImage], size: int) -> Array:
    """Return the probabilities for at most ``size`` images, in a batch that is filled up with black ones."""
    pixels = np.zeros((size, *images[0].pixels.shape), dtype=np.uint8)
    for i, image in enumerate(images):
        pixels[i] = image.pixels
    return model.predict_proba(model.preprocess(pixels))[: len(images)]


def read_ahead(read: Callable[[str], T], names: Iterable[str]) -> Generator[T, None, None]:
    """Yield ``read(name)`` for each name, in order; threads run at most `READ_AHEAD` names ahead of the caller."""
    pool = ThreadPoolExecutor(READERS)
    waiting: deque[Future[T]] = deque()
    try:
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) >= READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
