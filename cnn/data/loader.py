"""DataLoader: batches of arrays, of files larger than memory, or of any object that returns samples one by one."""

import functools
import math
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from cnn.core.checks import boolean, check_one_array, integer
from cnn.core.explain import explain_init
from cnn.core.rng import checked_state, generator
from cnn.core.text import brief
from cnn.data.applying import Batch, Rows, checked_transforms, describe_non_finite, make_batch
from cnn.data.fingerprint import data_fingerprint
from cnn.data.order import count_repeats, draw_probabilities, epoch_order, weights_digest
from cnn.data.prefetch import Prefetcher
from cnn.data.reading import number_of_samples, open_data, sample
from cnn.data.sample_rng import SampleRNG
from cnn.data.state import check_state, json_values
from cnn.data.targets import check_word
from cnn.errors import InputError
from cnn.module import Array

Transform = Callable[[Array, Array, SampleRNG], Batch]


@explain_init
class DataLoader:
    """Samples and targets in batches, epoch after epoch.

    Each iteration is a new epoch, in a new order if ``shuffle``, and yields pairs (x, y) of new arrays. If reading or
    transforms take time, a thread prepares the next batches in the meantime. The batches are the same with and without
    it.

    Parameters
    ----------
    x : array_like, path, or indexable
        The N samples: an array (N, ...); the path of a .npy file, which is read piece by piece when needed and may
        be larger than memory; or an object with ``len(x)`` whose ``x[i]`` is sample i as an array, all of one shape and
        dtype. Batches of x have its dtype.
    y : array_like, path, or indexable
        The N targets, such as labels (N,).
    batch_size : int, default 32
        At least 1. The last batch of an epoch may be smaller.
    shuffle : bool, default True
        False: the samples keep their own order.
    rng : numpy.random.Generator, int or None
        Draws the order, once per epoch, when its first batch is requested.
    transforms : sequence of callables
        Each is called as ``transform(x, y, rng)`` with the batch from the previous transform and a `SampleRNG`; it
        returns a new (x, y).
    prefetch : int, default 2
        The maximum number of batches that the thread prepares in advance. 0: no thread. Nor is there one for arrays in
        memory without transforms, because reading them is faster than a thread.
    drop_last : bool, default False
        True: leave out the last batch of an epoch if it is smaller than the others.
    draw_weights : array_like of float (N,), or "balanced", optional
        How often each sample is drawn, relative to the others: an epoch then draws N samples with replacement, some of
        them several times, others not at all. "balanced" draws each class equally often; y must be class ids (N,). Not
        to be confused with weights in the loss, with which each sample is used once, but counts more or less.
    targets : {"points", "unmoved"}, optional
        What happens to targets when a transform moves pixels. By default, labels stay as they are, masks (N, H, W) or
        (N, C, H, W) of the size of the images move along, and other targets are refused. "points": targets are points
        (N, P, 2) of (x, y) in pixels, and move along; the centre of the pixel in row i and column j is (j, i).
        "unmoved": they stay as they are.

    Attributes
    ----------
    samples : int
        N.
    sample_shape, dtype
        Of a sample of x, before transforms.
    draw_probabilities : ndarray, (N,), or None
        Of each sample, with ``draw_weights``.
    epoch : int
        Number of the current epoch, from 1; 0 before the first.
    taken : int
        The number of batches of this epoch that have been returned.

    Raises
    ------
    InputError
        (a ValueError) If x and y do not fit each other, cannot be split into batches or do not fit the transforms.
        Later, from the iteration: if samples differ in shape or dtype, or a transform does not return a pair of the
        same length.
    FileNotFoundError
        If there is no file with that path.

    Notes
    -----
    A new iteration ends the previous one; continuing that one raises a RuntimeError. ``x[i]`` and transforms are called
    by one thread at a time. Evaluation uses each sample once, in order, also with ``drop_last`` or ``draw_weights``.

    A transform of your own gets the targets, too. ``transform.mixes_samples = False`` says that it changes each sample
    alone: processes that train together then read only their parts. If targets are not labels, it says whether it moves
    pixels: ``transform.moves_pixels = False`` if not, True if it moves the pixels and these targets. If it has a method
    ``move_points(points, size, rng)`` like those of cnn.data, that is called for points.

    Examples
    --------
    >>> x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> loader = DataLoader(x, y, batch_size=2, rng=0)
    >>> len(loader), [labels.tolist() for _, labels in loader]
    (3, [[2, 4], [3, 0], [1]])

    An interrupted training continues with the next batch:

    >>> for _, labels in loader:
    ...     state = loader.state_dict()
    ...     break
    >>> loader.load_state_dict(state)
    >>> state["epoch"], state["taken"], len(list(loader))
    (2, 1, 2)
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        shuffle: bool = True,
        rng: np.random.Generator | int | None = None,
        transforms: Sequence[Transform] = (),
        prefetch: int = 2,
        drop_last: bool = False,
        draw_weights: Any = None,
        targets: str | None = None,
    ) -> None:
        check_one_array(x, y, "x")
        check_one_array(y, x, "y", "target")
        self.x, self.y = open_data(x, "x"), open_data(y, "y")
        self.samples = number_of_samples(self.x, self.y)
        self._first, self._first_target = sample(self.x, 0, "x"), sample(self.y, 0, "y")
        self.sample_shape, self.dtype = self._first.shape, self._first.dtype
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.shuffle = boolean(shuffle, "shuffle")
        self.drop_last = boolean(drop_last, "drop_last")
        if len(self) == 0:
            few = f"as {self.samples} samples do not fill one of {self.batch_size}"
            raise InputError(f"drop_last=True leaves no batch, {few}: use batch_size={self.samples} or less")
        self.draw_probabilities = draw_probabilities(draw_weights, self.y, self.shuffle)
        self.transforms = checked_transforms(transforms)
        check_word(targets, self.transforms, self.y, self._first_target, self.sample_shape)
        self.targets = targets
        self.prefetch = integer(prefetch, "prefetch", 0)
        if type(self.x) is np.ndarray and type(self.y) is np.ndarray and not self.transforms:
            self.prefetch = 0
        self.rng = generator(rng)
        self._seed = int(self.rng.integers(2**63)) if self.transforms else None
        self.epoch = self.taken = 0
        self.rows: Rows | None = None  # a training of several processes sets it: each makes its part of the batches
        self._start_state: dict[str, Any] | None = None  # state of the generator at the start of the epoch
        self._resumed: Array | None = None  # order of a restored epoch, to be continued
        self._order: Array = np.arange(0)  # of the current epoch
        self._repeats: Array | None = None
        # weak, so that an abandoned iteration can be freed, which ends its thread
        self._running: weakref.ref[Prefetcher[Batch]] | None = None
        self._iterations = 0

    def __repr__(self) -> str:
        settings = f"batch_size={self.batch_size}, shuffle={self.shuffle}, transforms={brief(self.transforms)}"
        return f"DataLoader({self.samples:,} samples of {self.dtype} {self.sample_shape}, {settings})"

    def __len__(self) -> int:
        return self.samples // self.batch_size if self.drop_last else math.ceil(self.samples / self.batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        self._end_iteration()
        this = self._iterations
        if self._resumed is None:
            at_start, order = json_values(self.rng.bit_generator.state), self._draw_order()
            self.epoch, self.taken, self._start_state = self.epoch + 1, 0, at_start
        else:
            order, self._resumed = self._resumed, None
        self._order = order
        self._repeats = None if self.draw_probabilities is None else count_repeats(order)
        rest = range(self.taken, len(self))
        if self.prefetch == 0:
            for number in rest:
                self._check_newest(this)
                batch = self._batch(number)
                self.taken += 1
                yield batch
            return
        batches = Prefetcher(self._batch, rest, self.prefetch)
        self._running = weakref.ref(batches)
        _owner = batches.owner()
        try:
            for _ in rest:
                self._check_newest(this)
                batch = batches.take()
                self.taken += 1
                yield batch
        finally:
            batches.close()

    def _check_newest(self, iteration: int) -> None:
        if iteration != self._iterations:
            raise RuntimeError("a newer iteration or a loaded state ended this one: use two loaders for two")

    def _end_iteration(self) -> None:
        """End the current iteration, if any, and wait for its thread, so that only one thread reads at a time."""
        self._iterations += 1
        running = None if self._running is None else self._running()
        if running is not None:
            running.close()
            running.join()

    def _draw_order(self) -> Array:
        return epoch_order(self.rng, self.samples, self.shuffle, self.draw_probabilities)

    def _batch(self, number: int) -> Batch:
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        return make_batch(self, self._order, part, list(enumerate(self.transforms)), self._sample_rng, self.rows)

    def _sample_rng(self, part: slice, transform: int) -> SampleRNG:
        assert self._seed is not None
        repeats = None if self._repeats is None else self._repeats[part]
        return SampleRNG(self._seed, self.epoch, self._order[part], transform, repeats)

    def describe_non_finite(self, dtype: Any) -> str:
        """Name a sample that holds NaN or infinity in the last two batches that were returned; "" if there is none.

        A sample can spoil the weights, and so the loss of the next batch only. This ends the iteration, and makes the
        batches again. ``dtype`` is that of the model: values that are infinite in it count, too.
        """
        self._end_iteration()
        transforms = list(enumerate(self.transforms))
        for number in range(self.taken - 1, max(self.taken - 3, -1), -1):
            part = slice(number * self.batch_size, (number + 1) * self.batch_size)
            rng = functools.partial(self._sample_rng, part)
            found = describe_non_finite(self, self._order[part], transforms, rng, dtype)
            if found:
                return found
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loader, in values that JSON can hold.

        Batches that were prepared in advance but not returned do not count as taken.

        Returns
        -------
        dict
            "epoch" and "taken"; "rng" and "rng_now", the generator's state at the start of the epoch and now; "seed" of
            the transforms, or None; "samples", "batch_size", "shuffle", "drop_last" and "targets"; "draw_weights", a
            digest of the weights, or None.
        """
        now = json_values(self.rng.bit_generator.state)
        return {
            "epoch": self.epoch,
            "taken": self.taken,
            "rng": now if self._start_state is None else self._start_state,
            "rng_now": now,  # other code may draw from the same generator
            "seed": self._seed,
            "samples": self.samples,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "targets": self.targets,
            "draw_weights": weights_digest(self.draw_probabilities),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position of another loader: the next iteration yields the rest of its epoch.

        If that epoch was complete, it yields the next one. The generator gets exactly the state of the other's.

        Raises
        ------
        InputError
            (a ValueError) If that loader had other settings, another number of samples or another kind of generator.
        """
        own = self.state_dict()
        check_state(state, own)
        epoch, taken = integer(state["epoch"], "epoch", 0), integer(state["taken"], "taken", 0)
        if taken > len(self):
            raise InputError(f"the state has {taken} batches taken of {len(self)}: the state is damaged")
        began, now = (checked_state(self.rng, state[name]) for name in ("rng", "rng_now"))
        self._end_iteration()
        self.epoch, self.taken, self._seed = epoch, taken, state["seed"]
        self._start_state = state["rng"] if epoch else None
        self._resumed = None
        if epoch and taken < len(self):
            self.rng.bit_generator.state = began
            self._resumed = self._draw_order()
        self.rng.bit_generator.state = now

    def fingerprint(self) -> dict[str, Any]:
        """Return values that identify the data, and that JSON can hold; `differences` compares them.

        Digests are BLAKE2b of all bytes; of an array of over 256 MiB, of evenly spaced samples that add up to 256 MiB;
        of an object that returns samples one by one, of up to 200 evenly spaced ones. Every call reads these data, so
        call it before an iteration, not during one.
        """
        return data_fingerprint(self.x, self.y, self._first, self._first_target)
