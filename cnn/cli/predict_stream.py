"""Predictions for any number of images: other threads read files while the model works on those before them."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from cnn.cli.predict_images import ModelImage
from cnn.core.text import fields_text
from cnn.data.image_files import is_nearly_uniform
from cnn.kernels import get_num_threads, one_blas_thread, set_num_threads
from cnn.module import Array
from cnn.sequential import Sequential

# Every batch of a model has the same number of rows, the last one too. With fewer rows, a product of matrices may be
# computed by another routine, which adds up in another order: the probabilities of an image would depend on the images
# beside it. Small images are many in a batch: between two layers, the model may wait for a thread that reads.
BATCH_SIZE, SMALL_BATCH_SIZE = 16, 64
SMALL = 64 * 64  # pixels
READ_AHEAD = 2 * SMALL_BATCH_SIZE  # images at most that wait in memory for the model
READERS = max(1, min(4, (os.cpu_count() or 1) - 1))  # threads besides this one; each may hold half a gigabyte

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
    nearly_one_colour : bool
        Whether there is almost nothing to see in the image.
    """

    name: str
    image: ModelImage | None
    error: str = ""
    probabilities: Array | None = None
    nearly_one_colour: bool = False

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
            image = read(name)
            return Prediction(name, image, nearly_one_colour=is_nearly_uniform(image.pixels))
        except (OSError, ValueError) as error:
            return Prediction(name, None, str(error))

    size = batch_size(model)
    with closing(read_ahead(attempt, names, size)) as found:
        while batch := list(islice(found, size)):
            images = [one.image for one in batch if one.image is not None]
            rows = iter(_probabilities(model, images, size) if images else ())
            for one in batch:
                if one.image is None:
                    yield one
                else:
                    yield Prediction(one.name, one.image, "", next(rows), one.nearly_one_colour)


@contextmanager
def room_for_readers() -> Iterator[None]:
    """Let the layers use only as many threads as the readers leave: reading takes most of the time.

    BLAS gets one thread, once for all batches.
    """
    before = get_num_threads()
    set_num_threads(max(1, before - READERS))
    try:
        with one_blas_thread():
            yield
    finally:
        set_num_threads(before)


def batch_size(model: Sequential) -> int:
    """Return the number of images in a batch: 1 if a layer computes with the mean of the batch in evaluation, too."""
    if any(not getattr(module, "track_running_stats", True) for _, module in model.named_modules()):
        return 1
    return SMALL_BATCH_SIZE if math.prod((model.input_shape or ())[1:]) <= SMALL else BATCH_SIZE


def _probabilities(model: Sequential, images: list[ModelImage], size: int) -> Array:
    """Return the probabilities for at most ``size`` images, in a batch that is filled up with black ones."""
    pixels = np.zeros((size, *images[0].pixels.shape), dtype=np.uint8)
    for i, image in enumerate(images):
        pixels[i] = image.pixels
    return model.predict_proba(model.preprocess(pixels))[: len(images)]


def read_ahead(read: Callable[[str], T], names: Iterable[str], size: int = BATCH_SIZE) -> Generator[T, None, None]:
    """Yield ``read(name)`` for each name, in order; at most `READ_AHEAD` names are read ahead of the caller.

    The caller takes ``size`` of them at a time. Until these are read, this thread reads some as well: more threads than
    cores would wait for each other.
    """
    pool = ThreadPoolExecutor(READERS)
    waiting: deque[_Reading[T]] = deque()
    ahead: deque[_Reading[T]] = deque()  # those that perhaps no thread has begun
    rest = iter(names)
    try:
        while True:
            new = [_Reading(name, pool.submit(read, name)) for name in islice(rest, READ_AHEAD - len(waiting))]
            waiting.extend(new)
            ahead.extend(new)
            if not waiting:
                return
            batch = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            for one in batch:
                while ahead and not one.future.done():
                    ahead.popleft().read_here(read)
                one.future.exception()  # waits; `result` raises it, after those before it were yielded
            yield from (one.future.result() for one in batch)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(eq=False)
class _Reading(Generic[T]):
    """A file that a thread reads or has read."""

    name: str
    future: Future[T]

    __repr__ = fields_text

    def read_here(self, read: Callable[[str], T]) -> None:
        """Read the file in this thread, unless another has begun it."""
        if self.future.cancel():
            self.future = Future()
            try:
                self.future.set_result(read(self.name))
            except Exception as error:
                self.future.set_exception(error)
