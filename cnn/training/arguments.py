"""The arguments of `train`: data become a DataLoader and validation data, schedules become callbacks."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.core.checks import boolean, one_array
from cnn.core.rng import generator
from cnn.data.loader import DataLoader
from cnn.errors import InputError
from cnn.loss import LossFunc
from cnn.loss.weighted import check_sample_weight, class_weighted
from cnn.module import no_grad
from cnn.optim import OneCycleLR, ReduceLROnPlateau, Schedule
from cnn.optim.shared import at_least_zero, below_one, short_repr
from cnn.training.callbacks import Scheduled
from cnn.training.evaluation import batches_in_order, check_unmixed, gives_batches
from cnn.training.inputs import (
    as_batch,
    as_samples,
    check_batch_size,
    check_labels,
    check_loader_labels,
    dtype_of,
    kind_of,
    try_out,
)
from cnn.training.split import split_off
from cnn.training.weights import check_no_sample_weight, check_takes_loss, weighted

BATCH_SIZE = 32  # if none is given
METHODS = ("loss_and_grad", "loss_and_prediction")  # of a model, in which training computes the loss


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
            f"x is {kind_of(x)}, but training needs the samples again in every epoch: pass arrays, or a "
            "cnn.data.DataLoader, which also reads objects with len(x) and x[i]"
        )
    if isinstance(x, DataLoader):
        if y is not None:
            raise InputError("a DataLoader contains the targets: pass train(model, loader) without y")
        if rng is not None or batch_size not in (BATCH_SIZE, x.batch_size) or drop_last:
            raise InputError("a DataLoader has its own batch size and order: pass batch_size, drop_last and rng to it")
        if split:
            raise InputError("a DataLoader cannot be split: pass arrays, or validation_data instead of the split")
        check_no_sample_weight(sample_weight)
        return x, _validation_data(model, validation_data), _weighted_by_class(model, x, class_weight)
    if y is None:
        raise InputError("y is missing: pass x and y, or a DataLoader")
    x = as_samples(one_array(x, y, "x"), model, "x")
    y = check_labels(model, x, y, "y")
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(x))
    if split:
        x, y, validation_data = split_off(model.loss_func, x, y, split)
        sample_weight = None if sample_weight is None else sample_weight[: len(x)]
    else:
        validation_data = _validation_data(model, validation_data)
    loss_func, y = weighted(model, x, y, class_weight, sample_weight, METHODS)
    model.input_shape = x.shape[1:]
    return DataLoader(x, y, batch_size, rng=generator(rng), drop_last=drop_last), validation_data, loss_func


def _weighted_by_class(model: Any, loader: DataLoader, class_weight: Any) -> LossFunc | None:
    """Return the loss with weights for the classes among the targets of a loader, or None without any."""
    if class_weight is None:
        return None
    if type(loader.y) is not np.ndarray:
        raise InputError(
            f"class_weight counts the classes in y, but y of this DataLoader is {kind_of(loader.y)}, not an array in "
            "memory: give the weights to the loss, CrossEntropyLoss(weight=[...]) or "
            "BCEWithLogitsLoss(pos_weight=[...])"
        )
    check_takes_loss(model, METHODS)
    x, y = next(iter(batches_in_order(loader)))
    with no_grad():
        prediction = try_out(model, as_batch(x, y, model, dtype_of(model))[0])
    outputs = (len(loader.y), *prediction.shape[1:])
    target = model.loss_func.check_target(loader.y, outputs)
    return class_weighted(model.loss_func, class_weight, target, outputs)


def _validation_data(model: Any, data: Any) -> Any:
    if data is None:
        return data
    if isinstance(data, DataLoader):
        check_unmixed(data)
        check_loader_labels(model.loss_func, data, "y of the validation data")
        return data
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(
            "validation_data must be a pair (x, y) of samples and targets, or a cnn.data.DataLoader, got "
            f"{kind_of(data)}: pass validation_data=(x_val, y_val)"
        )
    x, y = data
    x = as_samples(one_array(x, y, "x of the validation data"), model, "x of the validation data")
    return x, check_labels(model, x, y, "y of the validation data")


def as_callbacks(callbacks: Any, model: Any, has_validation: bool) -> tuple[Callable[..., Any], ...]:
    """Return the callbacks, with a `Scheduled` for each schedule; each must be callable and fit the model.

    A schedule is stepped after every epoch, a OneCycleLR after every step. A ReduceLROnPlateau watches the loss, or in
    mode "max" the accuracy, of the validation data, or of the training data if there are no others.
    """
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks must be a list, callbacks=[...], got {callbacks!r}")
    found: list[Any] = []
    seen: set[int] = set()
    for callback in callbacks:
        part = callback.schedule if isinstance(callback, Scheduled) else callback
        if id(part) in seen:
            raise InputError(f"{short_repr(part)} is twice among the callbacks, and would act twice: leave one out")
        seen.add(id(part))
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


def check_clip_norm(clip_norm: Any) -> float | None:
    """Return ``clip_norm`` as a float or None, or raise an error; with 0 no weight would ever change."""
    if clip_norm is None:
        return None
    if clip_norm == 0 or clip_norm == math.inf:
        raise InputError(f"clip_norm must be a finite number above 0, or None for no limit, got {clip_norm!r}")
    return at_least_zero(clip_norm, "clip_norm")


def check_resume(resume: Any) -> None:
    """Raise an error unless ``resume`` is a folder or None."""
    if resume is not None and not isinstance(resume, (str, os.PathLike)):
        raise TypeError(f"resume is the folder of the checkpoints, such as resume='checkpoints', got {resume!r}")
