"""The arguments of `train`: data become a DataLoader and validation data, schedules become callbacks."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.core.checks import boolean, one_array
from cnn.core.rng import generator
from cnn.data.loader import DataLoader
from cnn.errors import InputError
from cnn.layers.batchnorm import BatchNorm
from cnn.loss import LossFunc
from cnn.loss.targets import ClassificationLoss
from cnn.loss.weighted import check_sample_weight
from cnn.module import Array, Module, evaluating, forward_hook
from cnn.optim import OneCycleLR, ReduceLROnPlateau, Schedule
from cnn.optim.shared import below_one
from cnn.training.callbacks import Scheduled
from cnn.training.evaluation import batches_in_order, gives_batches
from cnn.training.inputs import (
    as_batch,
    as_samples,
    check_batch_size,
    check_labels,
    check_pair,
    dtype_of,
)
from cnn.training.weights import check_no_loader, weighted

BATCH_SIZE = 32  # if none is given


def training_data(
    model: Any,
    x: Any,
    y: Any,
    validation_data: Any,
    validation_split: float,
    batch_size: int,
    rng: Any,
    drop_last: bool,
    class_weight: Any,
    sample_weight: Any,
) -> tuple[DataLoader, Any, LossFunc | None]:
    """Return a loader of the training data; the validation data: a pair of arrays, a loader, or None; and the loss with
    weights, or None.

    Arrays are checked here; a DataLoader checks its own.
    """
    batch_size, drop_last = check_batch_size(batch_size), boolean(drop_last, "drop_last")
    split = below_one(validation_split, "validation_split")
    if split and validation_data is not None:
        raise InputError("validation_data and validation_split exclude each other: leave out one of them")
    if gives_batches(x):
        raise InputError(
            f"x is a {type(x).__name__}, but training needs the samples again in every epoch: pass arrays, or a "
            "DataLoader, which also reads objects with len(x) and x[i]"
        )
    if isinstance(x, DataLoader):
        if y is not None:
            raise InputError("a DataLoader contains the targets: pass train(model, loader) without y")
        if rng is not None or batch_size not in (BATCH_SIZE, x.batch_size) or drop_last:
            raise InputError("a DataLoader has its own batch size and order: pass batch_size, drop_last and rng to it")
        if split:
            raise InputError("a DataLoader cannot be split: pass arrays, or validation_data instead of the split")
        check_no_loader(class_weight, sample_weight)
        return x, _validation_data(model, validation_data), None
    if y is None:
        raise InputError("y is missing: pass x and y, or a DataLoader")
    x = as_samples(one_array(x, y, "x"), model, "x")
    y = check_labels(model, x, y, "y")
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(x))
    if split:
        x, y, validation_data = _split(model.loss_func, x, y, split)
        sample_weight = None if sample_weight is None else sample_weight[: len(x)]
    else:
        validation_data = _validation_data(model, validation_data)
    methods = ("loss_and_grad", "loss_and_prediction")
    loss_func, y = weighted(model, x, y, class_weight, sample_weight, methods)
    model.input_shape = x.shape[1:]
    return DataLoader(x, y, batch_size, rng=generator(rng), drop_last=drop_last), validation_data, loss_func


def _validation_data(model: Any, data: Any) -> Any:
    if data is None or isinstance(data, DataLoader):
        return data
    check_pair(data)
    x, y = data
    x = as_samples(one_array(x, y, "x of the validation data"), model, "x of the validation data")
    return x, check_labels(model, x, y, "y of the validation data")


def _split(loss_func: Any, x: Array, y: Array, split: float) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return the first samples, and a pair of the last ones, of which there are the fraction ``split``."""
    first = int(len(x) * (1 - split) + 1e-9)  # 10 (1 - 0.8) is 1.9999999999999996
    if first == 0:
        raise InputError(f"validation_split={split!r} of {len(x)} samples leaves none for training")
    if isinstance(loss_func, ClassificationLoss) and _is_sorted(y, first, loss_func.ignore_index):
        raise InputError(
            f"validation_split takes the last {len(x) - first} samples, but the labels are sorted, so that those are "
            "of other classes than the rest: shuffle them first, order = np.random.default_rng(0).permutation(len(x)); "
            "x, y = x[order], y[order]"
        )
    return x[:first], y[:first], (x[first:], y[first:])


def _is_sorted(y: Array, first: int, ignored: int) -> bool:
    """Whether each class is one block of labels, or most labels from ``first`` on are of classes not seen before it."""
    ids = y if y.dtype.kind in "iu" else y.argmax(axis=1)
    classes, blocks = len(np.unique(ids)), 1 + np.count_nonzero(np.diff(ids, axis=0))
    seen = float(np.isin(ids[first:], [*np.unique(ids[:first]), ignored]).mean())
    return seen < 0.5 or (ids.ndim == 1 and 1 < classes == int(blocks) < len(ids))


def check_last_batch(model: Any, loader: DataLoader) -> None:
    """Raise an error if a batch would be one sample with one value per channel, on which BatchNorm cannot train."""
    samples, batch_size = loader.samples, loader.batch_size
    left = 0 if loader.drop_last else samples % batch_size
    norms = {id(module): name for name, module in model.named_modules() if isinstance(module, BatchNorm)}
    if not norms or not (batch_size == 1 or left == 1):
        return
    found: list[tuple[str, Module]] = []

    def note(module: Module, y: Array) -> None:
        if id(module) in norms and y[0].size == module.num_features:  # type: ignore[attr-defined]
            found.append((norms[id(module)], module))

    x, _ = as_batch(*next(iter(batches_in_order(loader))), dtype_of(model))
    with evaluating(), forward_hook(note):
        model(x[:1].repeat(2, axis=0))  # two, because a norm without running statistics may refuse one
    if not found:
        return
    name, module = found[0]
    sizes = (size for size in range(max(batch_size, 2), samples + 1) if samples % size != 1)
    fix = next((f"use batch_size={size}" for size in sizes), "it needs more samples")
    if batch_size > 1 and samples > 1:
        fix += " or drop_last=True"
    raise InputError(
        f"{samples} samples in batches of {batch_size} leave a batch of one, on which layer {name}, {module!r}, which "
        f"gets one value per channel of each sample, cannot train: {fix}"
    )


def as_callbacks(callbacks: Any, model: Any, has_validation: bool) -> tuple[Callable[..., Any], ...]:
    """Return the callbacks, with a `Scheduled` for each schedule; each must be callable and fit the model.

    A schedule is stepped after every epoch, a OneCycleLR after every step. A ReduceLROnPlateau watches the loss, or in
    mode "max" the accuracy, of the validation data, or of the training data if there are no others.
    """
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks must be a list, callbacks=[...], got {callbacks!r}")
    found = []
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(f"the callback {callback.__name__} is a class: write {callback.__name__}(...)")
        if isinstance(callback, Schedule):
            callback = Scheduled(callback, "step" if isinstance(callback, OneCycleLR) else "epoch")
        elif isinstance(callback, ReduceLROnPlateau):
            data, metric = "val" if has_validation else "train", "accuracy" if callback.mode == "max" else "loss"
            callback = Scheduled(callback, monitor=f"{data}_{metric}")
        if not callable(callback):
            raise TypeError(f"a callback is called with each step, but {callback!r} cannot be called")
        if isinstance(callback, Scheduled):
            callback.check_optimizer(model)
        found.append(callback)
    return tuple(found)


def check_resume(resume: Any) -> None:
    """Raise an error unless ``resume`` is a folder or None."""
    if resume is not None and not isinstance(resume, (str, os.PathLike)):
        raise TypeError(f"resume is the folder of the checkpoints, such as resume='checkpoints', got {resume!r}")
