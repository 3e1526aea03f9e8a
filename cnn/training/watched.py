"""Which metrics callbacks watch, and whether a training measures them: checked before its first step."""

import math
from typing import Any

from cnn.kernels import one_blas_thread
from cnn.module import evaluating
from cnn.training.callbacks import Scheduled
from cnn.training.evaluation import batches_in_order, checked_loss
from cnn.training.inputs import as_batch, dtype_of
from cnn.training.means import Means
from cnn.training.weights import take_weights

LOOKED_AT = 2  # samples of which it is seen whether they have an accuracy


def check_watched(run: Any) -> None:
    """Raise an error if a callback watches a metric that would be nan after every epoch.

    A callback says what it watches with a method ``watched()`` that returns names of metrics, as `EarlyStopping`,
    `StopAt`, `Scheduled` and `Checkpoint` have it.

    Raises
    ------
    ValueError
        It names the callback, the metric, and the metrics that there are.
    """
    watching = [(callback, name) for callback in (*run.callbacks, *run.checkpoints) for name in watched_by(callback)]
    if not watching:
        return
    measured = ["train_loss"] if run.validation_data is None else ["train_loss", "val_loss"]
    for callback, name in watching:
        if name.startswith("val_") and run.validation_data is None:
            raise ValueError(
                f"{name_of(callback)} needs validation data, because it watches {name}: pass "
                f"validation_data=(x_val, y_val), or watch {name.replace('val_', 'train_')}"
            )
        if name.endswith("accuracy") and not has_accuracy(run):
            raise ValueError(
                f"{name_of(callback)} watches {name}, which is not measured: {run.model.loss_func!r} has targets "
                f"that are not classes. The metrics of this training are {' and '.join(measured)}: watch one of them"
            )


def name_of(callback: Any) -> str:
    """Name a callback as the user wrote it: a schedule may have been wrapped in a `Scheduled` by the library."""
    return type(callback.schedule if isinstance(callback, Scheduled) else callback).__name__


def watched_by(callback: Any) -> list[str]:
    """Return the names of the metrics that a callback watches."""
    watched = getattr(callback, "watched", None)
    return list(watched()) if callable(watched) else []


def has_accuracy(run: Any) -> bool:
    """Return whether the targets of the training are classes, as its first samples show in evaluation mode."""
    model, data = run.model, run.validation_data
    pair = data if isinstance(data, tuple) else next(iter(batches_in_order(run.loader if data is None else data)))
    x, y, loss_func = pair[0][:LOOKED_AT], pair[1][:LOOKED_AT], run.loss_func if data is None else None
    if loss_func is not None:
        y = take_weights(loss_func, y)
    x, y = as_batch(x, y, model, dtype_of(model))
    means = Means(model, loss_func)
    with evaluating(), one_blas_thread():
        loss, outputs = checked_loss(model, x, y, loss_func)
    means.add(loss, outputs, y)
    return not math.isnan(means.sums[2])
