"""A training run of several processes: each trains on its part of every batch, and all have the same weights.

All processes have the same batches, of which each makes its part, in the same order, and the same callbacks;
`shared_step` says how a step is shared.
The first process alone reads and writes files and prints. Every end of the training is agreed on.
"""

import functools
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from cnn.core.interrupts import Interrupted, Interrupts
from cnn.core.text import short_text
from cnn.data.fingerprint import differences
from cnn.distributed.ranks import Ranks
from cnn.errors import InputError
from cnn.kernels import one_blas_thread
from cnn.layers import InstanceNorm2d
from cnn.layers.batchnorm import BatchNorm
from cnn.loss import LossFunc
from cnn.module import Array, Buffer, Parameter
from cnn.training import state as states
from cnn.training.checkpoint_file import settings_text, snapshot, times, transforms_text
from cnn.training.divergence import IN_THE_LOSS, first_non_finite
from cnn.training.evaluation import BatchesInOrder, check_samples, measure
from cnn.training.health import Health
from cnn.training.inputs import dtype_of
from cnn.training.logs import EpochLog
from cnn.training.resume import Resumed
from cnn.training.run import Run
from cnn.training.shared_step import Part, rows_to_run, shared_loss_and_grad
from cnn.training.step import Step

WRITERS = (EpochLog, Health)  # callbacks that only write or warn: the first process calls them for all


class SharedRun(Run):
    """One training run of several processes, as one of them sees it; `train` explains ``sync_batchnorm``."""

    def __init__(self, ranks: Ranks, sync_batchnorm: bool, *parts: Any) -> None:
        super().__init__(*parts)
        self.ranks, self.sync_batchnorm = ranks, sync_batchnorm
        self.writes = ranks.rank == 0
        if not self.writes:
            self.callbacks = self.called = without_writers(self.callbacks)
        self._interrupts = Interrupts()
        check_shareable(self)

    def steps(self, resumed: Resumed | None) -> Generator[Step, None, None]:
        """Train to the end. Ctrl-C and other signals to stop wait for the end of a step, after which all stop."""
        if not self.writes:
            self.checkpoints = []
        self.loader.rows = functools.partial(rows_to_run, self.ranks)
        try:
            with self._interrupts, self._interrupts.delayed():
                yield from super().steps(resumed)
        except BaseException:  # also where the caller has left its loop
            self.ranks.leave()
            raise
        finally:
            self.loader.rows = None

    def _begin(self, resumed: Resumed | None) -> None:
        """Start in the state of the first process, after checking that all train the same."""
        check_same(self.ranks, facts(self))
        if self.writes:
            super()._begin(resumed)
        arrays, state = self._state() if self.writes else ({}, {})
        arrays, state = self.ranks.broadcast_arrays(arrays), self.ranks.broadcast_json(state)
        if not self.writes:
            FromFirst(Path("of rank 0"), arrays, states.unpack(state, arrays)).apply(self)

    def _state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return what the other processes need to start like this one."""
        arrays, state = snapshot(self)
        state["times"] = times(self)
        pairs = zip(self.callbacks, state["callbacks"], strict=True)
        state["callbacks"] = [pair for callback, pair in pairs if not isinstance(callback, WRITERS)]
        if self.epoch == 0:  # a loader that was left in the middle of an epoch begins the next one
            state["loader"]["taken"] = len(self.loader) if state["loader"]["epoch"] else 0
        return arrays, state

    def _train_batch(self, run: Callable[..., Any], x: Array, y: Array, check: Callable[[float], None]) -> None:
        """Train on this process's part of a batch, and add the whole batch to the means."""
        with self._bad_sample_named:
            sums = run(self._step, x, y, check)
        self.means.sums = [a + float(b) for a, b in zip(self.means.sums, sums, strict=True)]

    def _step(self, x: Array, y: Array, check: Callable[[float], None]) -> Array:
        with one_blas_thread():
            loss, sums = shared_loss_and_grad(self.model, x, y, self.loss_func, self._part(x), self.ranks)
            check(loss)
            self.model.optimizer.step()
        self.model.zero_grad()
        return sums

    def _samples(self, x: Array) -> int:
        """Return the number of samples in the batch of which this process has the part x."""
        size = self.loader.batch_size
        return min(size, self.loader.samples - (self.loader.taken - 1) * size)

    def _part(self, x: Array) -> Part:
        return Part(self.model, self.ranks, self._samples(x), self.sync_batchnorm)

    def loss_of(self, x: Array, y: Array) -> float:
        """Return the sum of the losses of all parts, which is finite only if each of them is."""
        with self._part(x):
            return float(self.ranks.add([super().loss_of(x, y)])[0])

    def where_non_finite(self, x: Array) -> str:
        with self._part(x):
            found = self.ranks.gather_json(first_non_finite(self.model, x))
        return next((where for where in found if where != IN_THE_LOSS), IN_THE_LOSS)

    def _call(self, step: Step) -> bool:
        """Call the callbacks, and return whether one of them ends the training, in any process."""
        votes = self.ranks.gather([super()._call(step), self._interrupts.received or 0])
        stops, number = votes.max(axis=0)
        if number:
            self._leave(step)
            self.ranks.add([0])  # an error may end all processes: not before the checkpoint is written
            raise Interrupted(int(number), is_agreed=True)
        return bool(stops)

    def _end(self, step: Step) -> None:
        self.ranks.add([0])  # if another process has left the loop at the last step, it does not come here
        self._share_buffers()
        super()._end(step)

    def _metrics(self) -> dict[str, float]:
        self._share_buffers()
        if self.ranks.check_weights:
            self.ranks.check_equal(self.model)
            self._check_generators()
        return super()._metrics()

    def _check_generators(self) -> None:
        """Raise an error, in all processes, if a layer has drawn random numbers in one of them alone."""
        own = {name: str(generator.bit_generator.state) for name, generator in states.generators(self.model).items()}
        first, *others = self.ranks.gather_json(own)
        for (rank, other), name in itertools.product(enumerate(others, start=1), first):
            if other[name] != first[name]:
                raise RuntimeError(
                    f"{name} of rank {rank} is not in the state of that of rank 0: its layer has drawn random numbers "
                    "in one of them alone, such as in a callback of your own, which should use a copy of the model"
                )

    def _share_buffers(self) -> None:
        """Take over the buffers of the first process that are not the same in all of them."""
        own = {
            f"{path}.{name}": value
            for path, module in self.model.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Buffer) and not isinstance(value, Parameter)
            if not (isinstance(module, BatchNorm) and self.sync_batchnorm)
        }
        if own:
            for name, values in self.ranks.broadcast_arrays({name: b.data for name, b in own.items()}).items():
                own[name].data = values

    def _evaluate(self, pairs: Iterable[tuple[Any, Any]], loss_func: LossFunc | None = None) -> tuple[float, float]:
        """Return mean loss and accuracy over batches, of each of which every process evaluates its part."""
        if any(isinstance(m, BatchNorm) and not m.track_running_stats for m in self.model.modules()):
            return super()._evaluate(pairs, loss_func)  # its statistics are those of the whole batch
        means = measure(self.model, self._parts(pairs), loss_func)
        means.sums = self.ranks.add(means.sums).tolist()
        if isinstance(pairs, BatchesInOrder) and not math.isfinite(means.loss):
            size, samples = pairs.loader.batch_size, pairs.loader.samples
            for start in range(0, samples, size):
                check_samples(pairs, start, min(size, samples - start), dtype_of(self.model))
        return means.loss, means.accuracy

    def _parts(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        if isinstance(pairs, BatchesInOrder):
            yield from pairs.parts(self.ranks.part)
            return
        for pair in pairs:
            x, y = self.ranks.shard(pair)
            if len(x):
                yield x, y


def without_writers(callbacks: list[Any]) -> list[Any]:
    """Return the callbacks that every process calls."""
    return [callback for callback in callbacks if not isinstance(callback, WRITERS)]


class FromFirst(Resumed):
    """The state of the first process, which the others start from."""

    def _times(self, epochs: int) -> tuple[list[float], float]:
        return self.state["times"]["seconds"], self.state["times"]["epoch so far"]


def check_shareable(run: SharedRun) -> None:
    """Raise an error if a model or a setting cannot train on several processes as it does on one."""
    model, size = run.model, run.ranks.size
    own = getattr(model, "loss_and_grad", None)
    if own is not None and own != getattr(model, "_default_loss_and_grad", None):
        raise InputError(
            f"{type(model).__name__}.loss_and_grad is your own, but several processes must tell each other the sums of "
            "their losses between forward and backward: train without ranks, or with a loop written by hand"
        )
    for name, module in model.named_modules():
        if isinstance(module, InstanceNorm2d) and module.track_running_stats:
            raise InputError(
                f"layer {name}, {module!r}, has running statistics, which are not added up over processes: train "
                "without ranks, or set track_running_stats=False"
            )
    if run.sync_batchnorm or not any(isinstance(module, BatchNorm) for module in model.modules()):
        return
    loader = run.loader
    rest = 0 if loader.drop_last else loader.samples % loader.batch_size
    smallest = rest or min(loader.batch_size, loader.samples)
    if smallest < 2 * size:
        raise InputError(
            f"sync_batchnorm=False needs 2 samples or more for each of {size} processes, but a batch has {smallest}: "
            f"use larger batches, {'drop_last=True, ' if rest else ''}or sync_batchnorm=True"
        )


def facts(run: SharedRun) -> dict[str, Any]:
    """Return what must be the same in all processes, in values that JSON can hold."""
    state = run.loader.state_dict()
    return {
        "training data": run.data,
        "validation data": run.validation,
        "loss": repr(run.loss_func or run.model.loss_func),
        "model": states.architecture(run.model),
        "epochs": run.epochs,
        "loader": {name: state[name] for name in ("batch_size", "shuffle", "drop_last", "targets", "draw_weights")},
        "transforms": transforms_text(run.loader),
        "callbacks": [settings_text(callback) for callback in without_writers(run.callbacks)],
        "evaluate_train": run.evaluate_train,
        "clip_norm": run.clip_norm,
        "sync_batchnorm": run.sync_batchnorm,
    }


def check_same(ranks: Ranks, own: dict[str, Any]) -> None:
    """Raise an error, in all processes, if one of them would train something else.

    Raises
    ------
    InputError
        It names the process and what differs.
    """
    first, *others = ranks.gather_json(own)
    for (rank, other), name in itertools.product(enumerate(others, start=1), first):
        if other[name] == first[name]:
            continue
        what = f"{short_text(first[name])} in rank 0, {short_text(other[name])} here"
        if name == "model":
            what = str(states.architecture_difference(first[name], other[name]))
        elif name.endswith("data") and None not in (first[name], other[name]):
            what = differences(first[name], other[name])
        what = (
            what.replace(" in the checkpoint", " in rank 0").replace(" before", " in rank 0").replace(" now", " here")
        )
        raise InputError(
            f"rank {rank} has another {name} than rank 0: {what}. All must run the same program on the same data"
        )
