"""Evaluation and prediction in batches."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cnn.core.checks import one_array
from cnn.core.parameter import plain_array
from cnn.data.loader import DataLoader
from cnn.data.reading import take
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError
from cnn.kernels import one_blas_thread
from cnn.module import Array, evaluating
from cnn.training.inputs import as_batch, as_samples, check_batch_size, check_labels, dtype_of
from cnn.training.means import Means

EVALUATION_BATCH_SIZE = 256  # if none is given


def loss_and_prediction(model: Any, x: Array, y: Array) -> tuple[float, Array]:
    """Run forward and loss: the model's own ``loss_and_prediction``, if it has one."""
    if hasattr(model, "loss_and_prediction"):
        loss, prediction = model.loss_and_prediction(x, y)
    else:
        prediction = model(x)
        loss = model.loss_func(prediction, y)
    return loss, prediction


def evaluate(model: Any, x: Any, y: Any = None, batch_size: int = EVALUATION_BATCH_SIZE) -> tuple[float, float]:
    """Return mean loss and accuracy (a fraction; nan if the targets are not classes) in evaluation mode.

    ``x`` may also be a DataLoader or an iterable of batches (x, y), without ``y``; see `Sequential.evaluate`.
    """
    check_batch_size(batch_size)
    if isinstance(x, DataLoader) or gives_batches(x):
        check_alone(x, y, batch_size)
        return evaluate_batches(model, batches_in_order(x) if isinstance(x, DataLoader) else labelled(model, x))
    if y is None:
        raise InputError("y is missing: pass x and y, or a DataLoader or batches (x, y)")
    x = as_samples(one_array(x, y, "x"), model, "x")
    y = check_labels(model, x, y, "y")
    return evaluate_batches(model, batches(x, y, batch_size))


def gives_batches(x: Any) -> bool:
    """Whether ``x`` is a generator, or another iterable of batches, such as a DataLoader of PyTorch; arrays are not."""
    array_like = hasattr(x, "__getitem__") or hasattr(x, "__array__") or isinstance(x, (set, frozenset))
    return isinstance(x, Iterable) and not array_like and not isinstance(x, DataLoader)


def check_alone(x: Any, y: Any, batch_size: int) -> None:
    """Raise an error if targets or a batch size come with data that have their own."""
    kind = type(x).__name__
    if y is not None:
        raise InputError(f"the batches of a {kind} contain the targets: leave out y")
    if batch_size not in (EVALUATION_BATCH_SIZE, getattr(x, "batch_size", None)):
        raise InputError(f"the batches of a {kind} have a size already: leave out batch_size")


def labelled(model: Any, pairs: Iterable[Any]) -> Iterator[tuple[Array, Any]]:
    """Yield each batch as samples and targets, checked as arrays are; of the targets only those of the first batch."""
    number = 0
    for number, pair in enumerate(pairs, start=1):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            parts = f"{len(pair)} parts" if isinstance(pair, (tuple, list)) else type(pair).__name__
            raise InputError(f"batch {number} must be a pair (x, y) of samples and targets, got {parts}")
        x, y = pair
        x = as_samples(one_array(x, y, f"x of batch {number}"), model, f"x of batch {number}")
        y = one_array(y, x, f"y of batch {number}", "target")
        yield x, check_labels(model, x, y, f"y of batch {number}") if number == 1 else plain_array(y)
    if number == 0:
        raise InputError("there are no batches: x is empty, or a generator that has run already")


def batches(x: Array, y: Array, batch_size: int) -> Iterable[tuple[Array, Array]]:
    """Yield batches of the samples in order."""
    for start in range(0, len(x), batch_size):
        yield x[start : start + batch_size], y[start : start + batch_size]


def batches_in_order(loader: DataLoader, deterministic_only: bool = False) -> Iterable[tuple[Array, Array]]:
    """Yield batches of the loader's samples, unshuffled; the loader's position does not change.

    Its transforms draw the same random numbers each time. ``deterministic_only``: only transforms with the attribute
    ``deterministic = True``, such as `Normalize`, are applied.
    """
    for start in range(0, loader.samples, loader.batch_size):
        numbers = np.arange(start, min(start + loader.batch_size, loader.samples))
        x, y = take(loader.x, numbers, "x"), take(loader.y, numbers, "y")
        for index, transform in enumerate(loader.transforms):
            if not deterministic_only or getattr(transform, "deterministic", False):
                x, y = transform(x, y, SampleRNG(0, 1, numbers, transform=index))
        yield x, y


def evaluate_batches(model: Any, pairs: Iterable[tuple[Any, Any]]) -> tuple[float, float]:
    """Return mean loss and accuracy over batches, in evaluation mode."""
    means, dtype = Means(model), dtype_of(model)
    with evaluating(), one_blas_thread():
        for x, y in pairs:
            x, y = as_batch(x, y, dtype)
            loss, prediction = loss_and_prediction(model, x, y)
            means.add(loss, prediction, y)
    return means.loss, means.accuracy


def predict(model: Any, x: Any, batch_size: int = EVALUATION_BATCH_SIZE) -> Array:
    """Return the model's outputs for all samples, in evaluation mode; ``x`` is as in `Sequential.predict`."""
    check_batch_size(batch_size)
    with evaluating(), one_blas_thread():
        outputs = [model(batch) for batch in unlabelled(model, x, batch_size)]
    if not outputs:
        raise InputError("there are no batches: x is empty, or a generator that has run already")
    shapes = {y.shape[1:] for y in outputs}
    if len(shapes) > 1:
        raise ShapeError(f"the batches give outputs of the different shapes {shapes}: predict each alone")
    return np.concatenate(outputs)


def unlabelled(model: Any, x: Any, batch_size: int) -> Iterator[Array]:
    """Yield batches of samples in the model's dtype: of an array, of a DataLoader in order, or of batches."""
    if isinstance(x, DataLoader):
        check_alone(x, None, batch_size)
        dtype = dtype_of(model)
        yield from (as_batch(batch, y, dtype)[0] for batch, y in batches_in_order(x))
    elif gives_batches(x):
        check_alone(x, None, batch_size)
        for number, batch in enumerate(x, start=1):
            is_pair = isinstance(batch, (tuple, list)) and 1 <= len(batch) <= 2
            yield as_samples(batch[0] if is_pair else batch, model, f"x of batch {number}")
    else:
        x = as_samples(x, model, "x")
        yield from (x[start : start + batch_size] for start in range(0, len(x), batch_size))
