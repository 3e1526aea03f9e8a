"""The training loop, for any Module that has a ``loss_func`` and an ``optimizer``."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn.checks import integer
from cnn.kernels import one_blas_thread
from cnn.loss.targets import ClassLoss
from cnn.module import Array, evaluating
from cnn.rng import generator
from cnn.training.divergence import LastGood, first_not_finite
from cnn.training.history import History, epoch_line
from cnn.training.inputs import (
    as_samples,
    check_batch_size,
    check_labels,
    check_last_batch,
    check_optimizer,
    check_pair,
)


@dataclass(frozen=True)
class Step:
    """Where training is after a step.

    Attributes
    ----------
    epoch, epochs, step, steps : int
        Number of the epoch and of the step within it, from 1, and how many there will be.
    loss, accuracy : float
        Means over the epoch's samples so far.
    figures : dict of str to float, or None
        After the last step of an epoch, what `History` records of it.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    figures: dict[str, float] | None

    @property
    def done(self) -> float:
        """Share of the whole training that is done, above 0 and up to 1.

        Examples
        --------
        A learning rate that falls in a straight line to 0 is ``model.optimizer.lr = 0.001 * (1 - step.done)``.

        >>> Step(epoch=2, epochs=4, step=5, steps=10, loss=0.0, accuracy=0.0, figures=None).done
        0.375
        """
        return ((self.epoch - 1) * self.steps + self.step) / (self.epochs * self.steps)


def loss_and_grad(model: Any, x: Array, y: Array) -> tuple[float, Array]:
    """Run forward, loss and backward; a model that knows a better way, as Sequential does, goes that."""
    if hasattr(model, "loss_and_grad"):
        return model.loss_and_grad(x, y)
    prediction = model(x)
    loss = model.loss_func(prediction, y)
    model.backward(model.loss_func.backward())
    return loss, prediction


def loss_only(model: Any, x: Array, y: Array) -> tuple[float, Array]:
    """Run forward and loss; a model that knows a better way goes that."""
    if hasattr(model, "loss_and_prediction"):
        return model.loss_and_prediction(x, y)
    prediction = model(x)
    return model.loss_func(prediction, y), prediction


def count_correct(model: Any, prediction: Array, target: Array) -> tuple[float, float]:
    """Return how many predicted classes are right, and of how many: one a sample, or in each one a place, but for
    those that the loss ignores; nan of all samples if the targets are no classes.
    """
    loss_func = model.loss_func
    if isinstance(loss_func, ClassLoss) and target.ndim == prediction.ndim:
        target = target.argmax(axis=1)
    if prediction.ndim < 2 or target.shape != (len(prediction), *prediction.shape[2:]) or target.dtype.kind not in "iu":
        return math.nan, len(prediction)
    right = prediction.argmax(axis=1) == target
    if not isinstance(loss_func, ClassLoss):
        return int(np.count_nonzero(right)), target.size
    counted = target != loss_func.ignore_index
    return int(np.count_nonzero(right & counted)), int(np.count_nonzero(counted))


class Means:
    """Loss and accuracy over several batches, as if they were one."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._losses = self._counts = self._right = self._places = 0.0

    def add(self, loss: float, prediction: Array, target: Array) -> None:
        """Add a batch; its mean counts as what it is a mean of, a sum as it is."""
        loss_func = self._model.loss_func
        is_sum = loss_func.reduction == "sum"
        count = len(prediction) if is_sum else loss_func.count(prediction, target)
        self._losses += loss if is_sum else loss * count
        self._counts += count
        right, places = count_correct(self._model, prediction, target)
        self._right += right
        self._places += places

    @property
    def loss(self) -> float:
        """The mean; of a loss that is a sum, its share of each sample."""
        return self._losses / self._counts if self._counts else math.nan

    @property
    def accuracy(self) -> float:
        """The share of what is right."""
        return self._right / self._places if self._places else math.nan


def train(
    model: Any,
    x: Any,
    y: Any,
    validation_data: tuple[Any, Any] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    rng: np.random.Generator | int | None = None,
) -> Iterator[Step]:
    """Train, and yield after every step, so that the caller's own loop can watch, log or break off.

    All arguments are checked in the call itself; the first step comes with the first ``next``.

    Parameters
    ----------
    model : Module
        With attributes ``loss_func`` and ``optimizer``.
    x, y : array_like
        N samples (N, ...) of any floating dtype, and what `model.loss_func` expects as targets.
    validation_data : pair of array_like, optional
        Samples and targets that are evaluated after each epoch.
    epochs, batch_size : int
        At least 1. The last batch of an epoch may be smaller.
    rng : numpy.random.Generator, int or None
        Draws the order of the samples, anew each epoch.

    Returns
    -------
    iterator of Step

    Raises
    ------
    InputError
        (a ValueError) If the data do not fit the model or the loss; nothing has been trained then.
    FloatingPointError
        If the loss becomes NaN or infinite. It says at which step and in which layer; the model has the weights of the
        last step with a finite loss.
    """
    epochs = integer(epochs, "epochs", 1)
    batch_size = check_batch_size(batch_size)
    validation_data = check_pair(validation_data)
    for part, example in (("loss_func", "CrossEntropyLoss()"), ("optimizer", "Adam()")):
        if getattr(model, part, None) is None:
            raise ValueError(f"training needs a model with {part}: Sequential(layers=..., {part}={example})")
    x = as_samples(x, model, "x")
    y = check_labels(model, x, y, "y")
    if validation_data is not None:
        x_val = as_samples(validation_data[0], model, "x of the validation data")
        y_val = check_labels(model, x_val, validation_data[1], "y of the validation data")
        validation_data = (x_val, y_val)
    check_optimizer(model)
    check_last_batch(model, len(x), batch_size)
    model.input_shape = x.shape[1:]
    return _steps(model, x, y, validation_data, epochs, batch_size, generator(rng))


def _steps(
    model: Any,
    x: Array,
    y: Array,
    validation_data: tuple[Array, Array] | None,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Step]:
    steps = math.ceil(len(x) / batch_size)
    last_good = LastGood(model)
    model.train()
    model.zero_grad()  # an interrupted step may have left some
    for epoch in range(1, epochs + 1):
        began, means, seen = time.perf_counter(), Means(model), 0
        order = rng.permutation(len(x))
        for step in range(1, steps + 1):
            batch = order[seen : seen + batch_size]
            x_batch, y_batch = x[batch], y[batch]
            with (
                one_blas_thread(),
                np.errstate(over="ignore", invalid="ignore", divide="ignore"),  # the loss is checked right below
            ):
                loss, prediction = loss_and_grad(model, x_batch, y_batch)
                if not math.isfinite(loss):
                    where = first_not_finite(model, x_batch)
                    last_good.give_back()
                    model.zero_grad()
                    model.optimizer.reset()  # it remembers the gradients that led here
                    raise FloatingPointError(
                        f"the loss became {loss} at step {step} of epoch {epoch}: {where}. The weights of the last "
                        "step with a finite loss were put back. Try a smaller learning rate (lr is "
                        f"{getattr(model.optimizer, 'lr', 'unknown')})"
                    )
                last_good.keep()
                model.optimizer.step()
                model.zero_grad()
            seen += len(batch)
            means.add(loss, prediction, y_batch)
            figures = None
            if step == steps:
                figures = {"train_loss": means.loss, "train_accuracy": means.accuracy}
                figures["val_loss"], figures["val_accuracy"] = (
                    _evaluate(model, *validation_data, 256) if validation_data else (math.nan, math.nan)
                )
                figures["seconds"] = time.perf_counter() - began
            yield Step(epoch, epochs, step, steps, means.loss, means.accuracy, figures)


def fit(model: Any, x: Any, y: Any, verbose_freq: int = 1, **settings: Any) -> History:
    """Train to the end and return the figures of every epoch; a line is printed every ``verbose_freq`` epochs (0:
    none).

    ``settings`` are those of `train`. While it runs, ``model.history`` is what is returned in the end.
    """
    verbose_freq = integer(verbose_freq, "verbose_freq", 0)
    steps = train(model, x, y, **settings)
    model.history = history = History()
    for step in steps:
        if step.figures is not None:
            history.append(**step.figures)
            if verbose_freq and step.epoch % verbose_freq == 0:
                print(epoch_line(step.epoch, step.epochs, step.figures), flush=True)
    return history


def evaluate(model: Any, x: Any, y: Any, batch_size: int = 256) -> tuple[float, float]:
    """Return mean loss and accuracy (a fraction; nan if the targets are no classes) in evaluation mode."""
    batch_size = check_batch_size(batch_size)
    x = as_samples(x, model, "x")
    y = check_labels(model, x, y, "y")
    return _evaluate(model, x, y, batch_size)


def _evaluate(model: Any, x: Array, y: Array, batch_size: int) -> tuple[float, float]:
    means = Means(model)
    with evaluating(), one_blas_thread():
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            loss, prediction = loss_only(model, x[part], y[part])
            means.add(loss, prediction, y[part])
    return means.loss, means.accuracy


def predict(model: Any, x: Any, batch_size: int = 256) -> Array:
    """Return the model's outputs for all samples, in evaluation mode."""
    batch_size = check_batch_size(batch_size)
    x = as_samples(x, model, "x")
    with evaluating(), one_blas_thread():
        return np.concatenate([model(x[start : start + batch_size]) for start in range(0, len(x), batch_size)])
