"""DataLoader: batches of arrays, of files larger than memory, or of any object that returns samples one by one."""

import math
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from cnn.core.checks import boolean, integer
from cnn.core.rng import generator
from cnn.data.fingerprint import digest
from cnn.data.prefetch import Prefetcher
from cnn.data.reading import open_data, sample, take
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError
from cnn.module import Array

Batch = tuple[Array, Array]
Transform = Callable[[Array, Array, SampleRNG], Batch]


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

    Attributes
    ----------
    samples : int
        N.
    sample_shape, dtype
        Of a sample of x, before transforms.
    epoch : int
        Number of the current epoch, from 1; 0 before the first.
    taken : int
        The number of batches of this epoch that have been returned.

    Raises
    ------
    InputError
        (a ValueError) If x and y do not fit each other or cannot be split into batches. Later, from the iteration: if
        samples differ in shape or dtype, or a transform does not return a pair of the same length.
    FileNotFoundError
        If there is no file with that path.

    Notes
    -----
    A new iteration ends the previous one; continuing that one raises a RuntimeError. ``x[i]`` and transforms are called
    by one thread at a time.

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
    ) -> None:
        self.x = open_data(x, "x")
        self.y = open_data(y, "y")
        self.samples = len(self.x)
        if len(self.y) != self.samples:
            raise InputError(
                f"x has {self.samples:,} samples and y {len(self.y):,} targets: each sample needs one target"
            )
        first, self._first_target = sample(self.x, 0, "x"), sample(self.y, 0, "y")
        self.sample_shape, self.dtype = first.shape, first.dtype
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.shuffle = boolean(shuffle, "shuffle")
        if callable(transforms) or not all(map(callable, transforms)):
            raise InputError(f"transforms must be a list of callables (x, y, rng) -> (x, y), got {transforms!r}")
        self.transforms = tuple(transforms)
        self.prefetch = integer(prefetch, "prefetch", 0)
        if type(self.x) is np.ndarray and type(self.y) is np.ndarray and not self.transforms:
            self.prefetch = 0
        self.rng = generator(rng)
        self._seed = int(self.rng.integers(2**63)) if self.transforms else None
        self.epoch = 0
        self.taken = 0
        self._start_state: dict[str, Any] | None = None  # state of the generator at the start of the epoch
        self._resumed: Array | None = None  # order of a restored epoch, to be continued
        # weak, so that an abandoned iteration can be freed, which ends its thread
        self._running: weakref.ref[Prefetcher[Batch]] | None = None
        self._iterations = 0

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        self._end_iteration()
        this = self._iterations
        if self._resumed is None:
            at_start, order = _json_values(self.rng.bit_generator.state), self._order()
            self.epoch, self.taken, self._start_state = self.epoch + 1, 0, at_start
        else:
            order, self._resumed = self._resumed, None
        epoch = self.epoch
        rest = range(self.taken, len(self))
        if self.prefetch == 0:
            for number in rest:
                self._check_newest(this)
                batch = self._batch(epoch, order, number)
                self.taken += 1
                yield batch
            return
        batches = Prefetcher(lambda number: self._batch(epoch, order, number), rest, self.prefetch)
        self._running = weakref.ref(batches)
        loop = _Loop()
        batches.close_with(loop)
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

    def _order(self) -> Array:
        return self.rng.permutation(self.samples) if self.shuffle else np.arange(self.samples)

    def _batch(self, epoch: int, order: Array, number: int) -> Batch:
        positions = order[number * self.batch_size : (number + 1) * self.batch_size]
        x, y = take(self.x, positions, "x"), take(self.y, positions, "y")
        for index, transform in enumerate(self.transforms):
            assert self._seed is not None
            changed = transform(x, y, SampleRNG(self._seed, epoch, positions, transform=index))
            if not isinstance(changed, tuple) or [np.shape(part)[:1] for part in changed] != [positions.shape] * 2:
                raise InputError(
                    f"transforms[{index}], {transform!r}, must return a pair (x, y) of {len(positions)} samples each"
                )
            x, y = changed
        return x, y

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loader, in values that JSON can hold.

        Batches that were prepared in advance but not returned do not count as taken.

        Returns
        -------
        dict
            "epoch" and "taken"; "rng" and "rng_now", the generator's state at the start of the epoch and now; "seed" of
            the transforms, or None; "samples", "batch_size" and "shuffle".
        """
        now = _json_values(self.rng.bit_generator.state)
        return {
            "epoch": self.epoch,
            "taken": self.taken,
            "rng": now if self._start_state is None else self._start_state,
            "rng_now": now,  # other code may draw from the same generator
            "seed": self._seed,
            "samples": self.samples,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
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
        missing = sorted(own.keys() - state.keys())
        if missing:
            raise InputError(f"this is not the state of a DataLoader: it has no {', '.join(missing)}")
        for name in ("samples", "batch_size", "shuffle"):
            if state[name] != own[name]:
                raise InputError(f"the state is of a loader with {name}={state[name]}, but here it is {own[name]}")
        if (state["seed"] is None) != (self._seed is None):
            had, has = ("no transforms", "some") if state["seed"] is None else ("transforms", "none")
            raise InputError(f"the state is of a loader with {had}, but this one has {has}")
        kind, kind_here = (states["rng"]["bit_generator"] for states in (state, own))
        if kind != kind_here:
            raise InputError(
                f"the state is of a {kind} generator, but rng is a {kind_here}: pass "
                f"rng=np.random.Generator(np.random.{kind}())"
            )
        epoch, taken = integer(state["epoch"], "epoch", 0), integer(state["taken"], "taken", 0)
        if taken > len(self):
            raise InputError(f"the state has {taken} batches taken of {len(self)}: the state is damaged")
        self._end_iteration()
        self.epoch, self.taken, self._seed = epoch, taken, state["seed"]
        self._start_state = state["rng"] if epoch else None
        self._resumed = None
        template = self.rng.bit_generator.state
        if epoch and taken < len(self):
            self.rng.bit_generator.state = _with_arrays(template, state["rng"])
            self._resumed = self._order()
        self.rng.bit_generator.state = _with_arrays(template, state["rng_now"])

    def fingerprint(self) -> dict[str, Any]:
        """Return values that identify the data, and that JSON can hold; `differences` compares them.

        Digests are BLAKE2b of all bytes; of an array of over 256 MiB, of evenly spaced samples that add up to 256 MiB;
        of an object that returns samples one by one, of up to 200 evenly spaced ones. Every call reads these data, so
        call it before an iteration, not during one.
        """
        x_digest, x_read = digest(self.x, "x")
        y_digest, y_read = digest(self.y, "y")
        return {
            "samples": self.samples,
            "sample_shape": list(self.sample_shape),
            "dtype": str(self.dtype),
            "target_shape": list(self._first_target.shape),
            "target_dtype": str(self._first_target.dtype),
            "samples_read": x_read,
            "targets_read": y_read,
            "samples_digest": x_digest,
            "targets_digest": y_digest,
        }


class _Loop:
    """What only a loop over batches holds, so that it is deleted with the loop."""


def _json_values(value: Any) -> Any:
    """Return a generator's state in values that JSON can hold."""
    if isinstance(value, dict):
        return {key: _json_values(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _with_arrays(template: Any, value: Any) -> Any:
    """Return a state in the form that a generator accepts, with arrays where ``template`` has arrays."""
    if isinstance(template, dict):
        return {key: _with_arrays(part, value[key]) for key, part in template.items()}
    return np.asarray(value, template.dtype) if isinstance(template, np.ndarray) else value
