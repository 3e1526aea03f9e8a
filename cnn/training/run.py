"""One training run: epochs, steps, metrics, callbacks and checkpoints in their order."""

import functools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np

from cnn.core.modes import context_without_warnings
from cnn.data.loader import DataLoader
from cnn.loss import LossFunc
from cnn.module import Array
from cnn.optim.clip import clip_grad_norm_
from cnn.training.checkpoint import Checkpoint
from cnn.training.divergence import BadSampleNamed, LastGood, check_last_update, first_non_finite
from cnn.training.evaluation import EVALUATION_BATCH_SIZE, batches, batches_in_order, checked_loss, evaluate_batches
from cnn.training.history import History
from cnn.training.inputs import as_batch, first_float_parameter
from cnn.training.means import Means
from cnn.training.resume import Resumed
from cnn.training.step import Step
from cnn.training.train_step import train_step
from cnn.training.weights import take_weights

Callback = Callable[[Step], Any]


class Run:
    """One training run: its parts, and its position.

    Attributes
    ----------
    model, loader, validation_data, epochs, callbacks
        As passed to `train`.
    loss_func : LossFunc or None
        A loss with weights for training; None: the model's own.
    history : History
    epoch, step : int
        Numbers of the last completed step.
    means : Means
        Loss and accuracy of the epoch so far.
    stopped : bool
        Whether a callback has ended the training.
    writes : bool
        Whether this process reads and writes the files of the run: of several that train together only the first does.
    called : list of callable
        The callbacks that this process calls.
    """

    writes = True

    def __init__(
        self,
        model: Any,
        loader: DataLoader,
        validation_data: Any,
        epochs: int,
        callbacks: tuple[Callback, ...],
        evaluate_train: bool,
        loss_func: LossFunc | None,
        clip_norm: float | None = None,
    ) -> None:
        self.model, self.loader, self.validation_data, self.epochs = model, loader, validation_data, epochs
        self.checkpoints = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        self.callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        self.called = self.callbacks
        self.evaluate_train, self.loss_func, self.clip_norm = evaluate_train, loss_func, clip_norm
        self.history = History()
        self.epoch = self.step = 0
        self.first = loader.epoch  # the loader may have served another training before
        self._dtype_parameter = first_float_parameter(model)  # a parameter that has the model's dtype
        self._bad_sample_named = BadSampleNamed(self)
        self.means = Means(model, loss_func)
        self.stopped = False
        self.seconds = 0.0  # of the epoch so far

    @functools.cached_property
    def data(self) -> dict[str, Any]:
        """Fingerprint of the training data, to recognise them after a resume; it reads the data, which takes time."""
        return self.loader.fingerprint()

    @functools.cached_property
    def validation(self) -> dict[str, Any] | None:
        """Fingerprint of the validation data."""
        data = self.validation_data
        if isinstance(data, tuple):
            data = DataLoader(data[0], data[1], rng=0)  # the seed is irrelevant: nothing is drawn from it
        return None if data is None else data.fingerprint()

    def steps(self, resumed: Resumed | None) -> Generator[Step, None, None]:
        """Train to the end."""
        model = self.model
        for checkpoint in self.checkpoints:
            checkpoint.open(self, resumed)
        try:
            model.history = self.history
            model.train()
            model.zero_grad()  # an interrupted step may have left gradients
            self._begin(resumed)
            last_good = LastGood(model)
            step = self._current_step() if self.epoch else None
            failed: OSError | None = None
            while not self.stopped and not self._is_done():
                for step in self._epoch(last_good):
                    try:
                        yield step
                    except GeneratorExit:  # the caller has left its loop
                        self._leave(step)
                        raise
                    for checkpoint in self.checkpoints:
                        try:
                            checkpoint.after(step, self)
                        except OSError as error:  # raised at the end: first the callbacks must run
                            failed = error
                    if self.stopped:
                        break
            if step is not None:
                self._end(step)
            if failed is not None:
                raise failed
        finally:
            for checkpoint in self.checkpoints:
                checkpoint.close()

    def _begin(self, resumed: Resumed | None) -> None:
        """Restore the state of a checkpoint, or write the first one."""
        if resumed is not None:
            resumed.apply(self)
        else:
            for checkpoint in self.checkpoints:
                checkpoint.begin(self)

    def _leave(self, step: Step) -> None:
        """Write a checkpoint where the caller has left its loop."""
        for checkpoint in self.checkpoints:
            checkpoint.write_last(step, self)

    def _end(self, step: Step) -> None:
        """Tell the callbacks that this was the last step."""
        for callback in self.called:
            if hasattr(callback, "end"):
                callback.end(step)

    def _is_done(self) -> bool:
        return self.epoch >= self.epochs and self.step == len(self.loader)

    def _current_step(self) -> Step:
        metrics = self.history.epoch(-1) if self.step == len(self.loader) else None
        at = self.epoch, self.epochs, self.step, len(self.loader)
        return Step(*at, self.means.loss, self.means.accuracy, metrics, self.model)

    def _epoch(self, last_good: LastGood) -> Iterator[Step]:
        """Train for the rest of an epoch."""
        steps, shape = len(self.loader), None
        run = context_without_warnings().run  # the loss is checked before the weights change
        began = time.monotonic()
        for x, y in self.loader:
            if self.loss_func is not None:
                y = take_weights(self.loss_func, y)
            dtype = self._dtype_parameter.dtype  # a callback may change it
            if not (type(x) is type(y) is np.ndarray and x.dtype == dtype and y.dtype.kind in "iu"):
                x, y = as_batch(x, y, self.model, dtype)
            self.epoch, self.step = self.loader.epoch - self.first, (taken := self.loader.taken)
            if taken == 1 or x.shape[1:] != shape:
                self.model.input_shape = shape = x.shape[1:]
            if taken == 1:
                self.means, self.seconds = Means(self.model, self.loss_func), 0.0
            check = functools.partial(self._check, x, last_good)
            self._train_batch(run, x, y, check)
            metrics = None
            if taken == steps:
                with self._bad_sample_named:
                    check_last_update(self, x, y, last_good)
                metrics = self._metrics()
            now = time.monotonic()
            self.seconds, began = self.seconds + now - began, now
            if metrics is not None:
                metrics["seconds"] = self.seconds
                self.history.append(**metrics)
            at = self.epoch, self.epochs, taken, steps
            step = Step(*at, self.means.loss, self.means.accuracy, metrics, self.model, self._samples(x))
            self.stopped = False
            self.stopped = self._call(step)
            if self.stopped and not self._is_done():
                check_last_update(self, x, y, last_good)
            yield step
            began += time.monotonic() - now  # time that the caller spent between steps is not counted

    def _train_batch(self, run: Callable[..., Any], x: Array, y: Array, check: Callable[[float], None]) -> None:
        """Train on a batch, and add it to the means; ``check`` is called with its loss before the weights change."""
        with self._bad_sample_named:
            loss, outputs = run(train_step, self.model, x, y, check, self.loss_func)
        self.means.add(loss, outputs, y)

    def _call(self, step: Step) -> bool:
        """Call the callbacks, and return whether one of them ends the training."""
        stops = False
        for callback in self.called:
            answer = callback(step)
            if isinstance(answer, (bool, np.bool_)) and answer:
                stops = True
        return stops

    def _evaluate(self, pairs: Iterable[tuple[Any, Any]], loss_func: LossFunc | None = None) -> tuple[float, float]:
        """Return mean loss and accuracy over batches, in evaluation mode."""
        return evaluate_batches(self.model, pairs, loss_func)

    def _metrics(self) -> dict[str, float]:
        train = self.means.loss, self.means.accuracy
        if self.evaluate_train:
            train = self._evaluate(batches_in_order(self.loader, deterministic_only=True), self.loss_func)
        validation = math.nan, math.nan
        if isinstance(self.validation_data, DataLoader):
            validation = self._evaluate(batches_in_order(self.validation_data))
        elif self.validation_data is not None:
            validation = self._evaluate(
                batches(self.validation_data[0], self.validation_data[1], EVALUATION_BATCH_SIZE)
            )
        names = "train_loss", "train_accuracy", "val_loss", "val_accuracy"
        return dict(zip(names, (*train, *validation), strict=True))

    def _samples(self, x: Array) -> int:
        """Return the number of samples in a batch."""
        return len(x)

    def loss_of(self, x: Array, y: Array) -> float:
        """Return the loss of a batch, to check whether it is finite."""
        return checked_loss(self.model, x, y, self.loss_func)[0]

    def where_non_finite(self, x: Array) -> str:
        """Name the first layer whose weights, or whose output for a batch, are not finite."""
        return first_non_finite(self.model, x)

    def _check(self, x: Array, last_good: LastGood, loss: float) -> None:
        """Save a copy of the weights if the loss is finite; otherwise restore the last copy and raise an error."""
        if math.isfinite(loss):
            last_good.keep()
            if self.clip_norm is not None:
                clip_grad_norm_(self.model.parameters(), self.clip_norm)
            return
        where = self.where_non_finite(x)
        restored = last_good.restore()
        self.model.zero_grad()
        self.model.optimizer.reset()  # its state contains gradients that are not finite
        raise FloatingPointError(
            f"the loss became {loss} at step {self.step} of epoch {self.epoch}: {where}. The weights of the last "
            f"step with a finite loss {restored}. Try a smaller learning rate (lr is "
            f"{getattr(self.model.optimizer, 'lr', 'unknown')})"
        )
