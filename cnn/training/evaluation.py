"""Evaluation and prediction in batches."""

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cnn.core.checks import one_array
from cnn.core.modes import without_warnings
from cnn.core.parameter import plain_array
from cnn.data.applying import Rows, describe_non_finite, make_batch
from cnn.data.loader import DataLoader
from cnn.data.mixing import CutMix, Mixup
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError
from cnn.kernels import one_blas_thread
from cnn.loss import LossFunc
from cnn.module import Array, evaluating
from cnn.training.inputs import as_batch, as_samples, check_batch_size, check_labels, dtype_of
from cnn.training.means import Means
from cnn.training.weights import check_no_sample_weight, take_weights, weighted

EVALUATION_BATCH_SIZE = 256  # if none is given


def loss_and_prediction(model: Any, x: Array, y: Array, loss_func: LossFunc | None = None) -> tuple[float, Array]:
    """Run forward and loss: the model's own ``loss_and_prediction``, if it has one; its own loss, or a given one."""
    if hasattr(model, "loss_and_prediction"):
        arguments = (x, y) if loss_func is None else (x, y, loss_func)
        loss, prediction = model.loss_and_prediction(*arguments)
    else:
        prediction = model(x)
        loss = (model.loss_func if loss_func is None else loss_func)(prediction, y)
    return loss, prediction


checked_loss = without_warnings(loss_and_prediction)  # for callers that check whether the loss is finite


def evaluate(
    model: Any, x: Any, y: Any = None, batch_size: int = EVALUATION_BATCH_SIZE, sample_weight: Any = None
) -> tuple[float, float]:
    """Return mean loss and accuracy in evaluation mode.

    The accuracy is a fraction: of the classes, or over samples and labels of (p >= 0.5) == y for a binary loss; nan if
    the targets are neither. With ``sample_weight`` (N,), a sample of weight 2 counts like two samples in both.
    ``x`` may also be a DataLoader or an iterable of batches (x, y), without ``y``; see `Sequential.evaluate`.

    Raises
    ------
    InputError
        If ``y`` is missing, or samples and targets do not fit the model.

    Examples
    --------
    >>> from cnn import Sequential, manual_seed
    >>> from cnn.layers import Linear
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import SGD
    >>> layers = [Linear(2, 2, rng=0)]
    >>> model = Sequential(layers, CrossEntropyLoss(from_logits=True), SGD(lr=0.5))
    >>> x, y = np.float32([[1, 0], [0, 1]] * 8), np.array([0, 1] * 8)
    >>> loss, accuracy = evaluate(model, x, y)
    >>> 0 <= accuracy <= 1
    True
    """
    check_batch_size(batch_size)
    if isinstance(x, DataLoader) or gives_batches(x) or (y is None and is_list_of_pairs(x)):
        check_alone(x, y, batch_size)
        check_no_sample_weight(sample_weight)
        if isinstance(x, DataLoader):
            check_unmixed(x)
            return evaluate_batches(model, batches_in_order(x))
        return evaluate_batches(model, labelled(model, x), numbered=True)
    if y is None:
        raise InputError("y is missing: pass x and y, or a DataLoader or batches (x, y)")
    x = as_samples(one_array(x, y, "x"), model, "x")
    y = check_labels(model, x, y, "y")
    loss_func, y = weighted(model, x, y, None, sample_weight, ("loss_and_prediction",))
    return evaluate_batches(model, batches(x, y, batch_size), loss_func)


def gives_batches(x: Any) -> bool:
    """Whether ``x`` is a generator, or another iterable of batches, such as a DataLoader of PyTorch; arrays are not."""
    array_like = hasattr(x, "__getitem__") or hasattr(x, "__array__") or isinstance(x, (set, frozenset))
    return isinstance(x, Iterable) and not array_like and not isinstance(x, DataLoader)


def is_list_of_pairs(x: Any) -> bool:
    """Whether ``x`` is a list of batches (x, y)."""
    return isinstance(x, list) and len(x) > 0 and all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in x)


def check_unmixed(loader: DataLoader) -> None:
    """Raise an error if a loader for evaluation has a transform that mixes its samples with others."""
    mixing = next((transform for transform in loader.transforms if isinstance(transform, (Mixup, CutMix))), None)
    if mixing is not None:
        raise InputError(
            f"{mixing!r} mixes the samples, so that evaluation and prediction would not be of your samples: make a "
            "second DataLoader without it"
        )


def check_alone(x: Any, y: Any, batch_size: int) -> None:
    """Raise an error if targets or a batch size come with data that have their own."""
    kind = type(x).__name__
    if y is not None:
        raise InputError(f"the batches of a {kind} contain the targets: leave out y")
    if batch_size not in (EVALUATION_BATCH_SIZE, getattr(x, "batch_size", None)):
        raise InputError(f"the batches of a {kind} have a size already: leave out batch_size")


def labelled(model: Any, pairs: Iterable[Any]) -> Iterator[tuple[Array, Any]]:
    """Yield each batch as samples and targets, checked as arrays are."""
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


class BatchesInOrder:
    """What `batches_in_order` returns: an iterable of batches (x, y)."""

    def __init__(self, loader: DataLoader, deterministic_only: bool) -> None:
        self.loader = loader
        self.transforms = [
            (index, transform)
            for index, transform in enumerate(loader.transforms)
            if not deterministic_only or getattr(transform, "deterministic", False)
        ]

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return self.parts(None)

    def parts(self, rows: Rows | None) -> Iterator[tuple[Array, Array]]:
        """Yield these rows of each batch that has some; None: all rows."""
        loader, order = self.loader, np.arange(self.loader.samples)
        for start in range(0, loader.samples, loader.batch_size):
            part = slice(start, min(start + loader.batch_size, loader.samples))
            wanted = slice(0, 1) if rows is None else rows(part.stop - part.start)
            if wanted.stop > wanted.start:
                yield make_batch(loader, order, part, self.transforms, lambda s, i: SampleRNG(0, 1, order[s], i), rows)

    def describe_non_finite(self, start: int, count: int, dtype: np.dtype[Any]) -> str:
        """Name the first of ``count`` samples from ``start`` on that holds NaN or infinity; "" if there is none."""
        numbers = np.arange(start, start + count)
        rng = functools.partial(SampleRNG, 0, 1, numbers)
        return describe_non_finite(self.loader, numbers, self.transforms, rng, dtype)


def batches_in_order(loader: DataLoader, deterministic_only: bool = False) -> BatchesInOrder:
    """Return batches of the loader's samples, unshuffled; the loader's position does not change.

    Its transforms draw the same random numbers each time. ``deterministic_only``: only transforms with the attribute
    ``deterministic = True``, such as `Normalize`, are applied.
    """
    return BatchesInOrder(loader, deterministic_only)


def evaluate_batches(
    model: Any, pairs: Iterable[tuple[Any, Any]], loss_func: LossFunc | None = None, numbered: bool = False
) -> tuple[float, float]:
    """Return mean loss and accuracy over batches, in evaluation mode; ``loss_func``: a loss with weights.

    ``numbered``: errors name the number of the batch.

    Raises
    ------
    InputError
        If there is no finite loss because a sample of a loader is not finite. With finite samples it is returned.
    """
    means = measure(model, pairs, loss_func, numbered)
    return means.loss, means.accuracy


def measure(
    model: Any, pairs: Iterable[tuple[Any, Any]], loss_func: LossFunc | None = None, numbered: bool = False
) -> Means:
    """Return the sums of which `evaluate_batches` returns the means."""
    means, dtype = Means(model, loss_func), dtype_of(model)
    start = 0
    with evaluating(), one_blas_thread():
        for number, (x, y) in enumerate(pairs, start=1):
            if loss_func is not None:
                y = take_weights(loss_func, y)
            x, y = as_batch(x, y, model, dtype)
            try:
                loss, prediction = checked_loss(model, x, y, loss_func)
            except InputError as error:
                check_samples(pairs, start, len(x), dtype)
                if numbered:
                    raise type(error)(f"batch {number}: {error}") from None
                raise
            if not math.isfinite(loss):
                check_samples(pairs, start, len(x), dtype)
            means.add(loss, prediction, y)
            start += len(x)
    return means


def check_samples(pairs: Any, start: int, count: int, dtype: np.dtype[Any]) -> None:
    """Raise an error if one of ``count`` samples of a loader, from ``start`` on, is NaN or infinite."""
    found = pairs.describe_non_finite(start, count, dtype) if isinstance(pairs, BatchesInOrder) else ""
    if found:
        raise InputError(f"in evaluation, {found}: replace it") from None


def predict(model: Any, x: Any, batch_size: int = EVALUATION_BATCH_SIZE) -> Array:
    """Return the model's outputs for all samples, in evaluation mode; ``x`` is as in `Sequential.predict`.

    Raises
    ------
    InputError
        If there are no batches, or their outputs have different shapes.

    Examples
    --------
    >>> from cnn import Sequential
    >>> from cnn.layers import Linear
    >>> predict(Sequential([Linear(2, 3)]), np.ones((5, 2), np.float32)).shape
    (5, 3)
    """
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
        check_unmixed(x)
        dtype, pairs, start = dtype_of(model), batches_in_order(x), 0
        for batch, y in pairs:
            samples = as_batch(batch, y, model, dtype)[0]
            if not np.isfinite(samples).all():
                check_samples(pairs, start, len(samples), dtype)
            start += len(samples)
            yield samples
    elif gives_batches(x):
        check_alone(x, None, batch_size)
        for number, batch in enumerate(x, start=1):
            is_pair = isinstance(batch, (tuple, list)) and 1 <= len(batch) <= 2
            if is_pair and isinstance(batch, list) and len(batch) == 2 and np.shape(batch[0]) == np.shape(batch[1]):
                raise InputError(
                    f"batch {number} is a list of two arrays of one shape, {np.shape(batch[0])}: for two samples pass "
                    "np.stack(batch), for samples and targets a tuple (x, y)"
                )
            yield as_samples(batch[0] if is_pair else batch, model, f"x of batch {number}")
    else:
        x = as_samples(x, model, "x")
        yield from (x[start : start + batch_size] for start in range(0, len(x), batch_size))
