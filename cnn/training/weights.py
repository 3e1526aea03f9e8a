"""Weights of samples and classes in training: how they travel with the targets, and the loss that uses them."""

import inspect
from typing import Any

import numpy as np

from cnn.errors import InputError
from cnn.loss import LossFunc
from cnn.loss.weighted import SampleWeighted, check_sample_weight, class_weighted
from cnn.module import Array, no_grad
from cnn.training.inputs import try_out


def check_no_sample_weight(sample_weight: Any) -> None:
    """Raise an error that names the fix if weights of samples are given together with a DataLoader or batches."""
    if sample_weight is not None:
        raise InputError("sample_weight needs x and y as arrays: a DataLoader and batches have no weights")


def weighted(
    model: Any, x: Array, y: Array, class_weight: Any, sample_weight: Any, methods: tuple[str, ...]
) -> tuple[LossFunc | None, Array]:
    """Return the loss with these weights, or None without any, and targets that carry the weights of their samples.

    Such targets are a structured array with the fields "target" and "weight", so that a loader shuffles both and a
    fingerprint covers both; `take_weights` separates them. ``methods`` of the model compute the loss.
    """
    if class_weight is None and sample_weight is None:
        return None, y
    check_takes_loss(model, methods)
    with no_grad():
        prediction = try_out(model, x)
    loss_func: LossFunc = model.loss_func
    outputs = (len(x), *prediction.shape[1:])
    if class_weight is not None:
        loss_func = class_weighted(loss_func, class_weight, y, outputs)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, len(x))
        loss_func = SampleWeighted(loss_func)
        loss_func.sample_weight = np.ones(len(prediction))
        with no_grad():
            loss_func.forward(prediction, y[: len(prediction)])  # a loss without losses of samples raises an error
        loss_func.sample_weight = weights
        if loss_func.count(np.broadcast_to(prediction[:1], outputs), y) == 0:
            raise InputError(
                "the weights of all targets that count are 0, by class_weight, sample_weight or ignore_index: there "
                "is nothing to learn from"
            )
        y = join(y, weights)
    return loss_func, y


def check_takes_loss(model: Any, methods: tuple[str, ...]) -> None:
    """Raise an error if a method of the user's own that computes the loss cannot be given one."""
    for method in methods:
        own = getattr(model, method, None)
        if own is not None and "loss_func" not in inspect.signature(own).parameters:
            raise InputError(
                f"weights need a loss to be passed on, but {type(model).__name__}.{method} takes none: define it as "
                f"{method}(self, x, y, loss_func=None), and use loss_func unless it is None"
            )


def join(y: Array, weights: Array) -> Array:
    """Return targets (N, ...) and weights (N,) as one structured array (N,)."""
    joined = np.empty(len(y), [("target", y.dtype, y.shape[1:]), ("weight", weights.dtype)])
    joined["target"], joined["weight"] = y, weights
    return joined


def take_weights(loss_func: LossFunc, y: Array) -> Array:
    """Give the weights of a batch to the loss, and return its targets without them."""
    if not isinstance(loss_func, SampleWeighted):
        return y
    loss_func.sample_weight = y["weight"]
    return np.ascontiguousarray(y["target"])
