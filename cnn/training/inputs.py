"""Checks of the arguments of training and prediction, before the first step."""

from typing import Any

import numpy as np

from cnn.core.checks import integer
from cnn.core.parameter import Parameter, plain_array
from cnn.core.rng import generator
from cnn.data.loader import DataLoader
from cnn.errors import InputError, ShapeError
from cnn.layers import BatchNorm1d
from cnn.loss import LossFunc
from cnn.loss.loss_func import check_one_number
from cnn.module import Array, Module, evaluating
from cnn.training.weights import check_no_loader, weighted

BATCH_SIZE = 32  # if none is given


def first_float_parameter(model: Module) -> Parameter:
    """Return a floating-point parameter of a model, whose dtype the model works in; an empty one if there is none."""
    floating = (parameter for parameter in model.parameters() if np.issubdtype(parameter.dtype, np.floating))
    return next(floating, Parameter(np.zeros(0, np.float32)))


def dtype_of(model: Module) -> np.dtype[Any]:
    """Return the floating-point dtype that a model works in."""
    return first_float_parameter(model).dtype


def as_samples(x: Any, model: Module, name: str = "x") -> Array:
    """Return ``x`` as finite samples in the model's dtype, or raise an error that names the fix."""
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, whose hidden values would be used: pass {name}.filled(...)")
    try:
        x = plain_array(x)
    except ValueError:
        raise ShapeError(f"{name} holds samples of different sizes: all need one shape, (N, ...)") from None
    dtype = dtype_of(model)
    if x.dtype == np.uint8:
        raise InputError(f'{name} is uint8, as in images of 0 to 255: pass {name}.astype("float32") / 255')
    if x.dtype.kind in "iub":
        bytes_like = x.dtype.kind in "iu" and x.size > 0 and x.min() >= 0 and 1 < x.max() <= 255
        scaled = " / 255 for pixels of 0 to 255" if bytes_like else ""
        raise InputError(
            f'{name} holds {x.dtype}, expected real floating-point numbers: pass {name}.astype("float32"){scaled}'
        )
    if x.dtype.kind != "f":
        raise InputError(f"{name} must hold real numbers, got {'text' if x.dtype.kind in 'US' else x.dtype}")
    if x.ndim == 0:
        raise ShapeError(f"{name} must be an array of samples, (N, ...), got a single number")
    if x.size == 0:
        raise ShapeError(f"{name} is empty, shape {x.shape}: at least one sample and one value are needed")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite and is rejected below
        x = x.astype(dtype, copy=False)
    if not np.isfinite(x).all():
        wrong = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        raise InputError(
            f"{name} holds NaN or infinity in {np.count_nonzero(wrong)} of {len(x)} samples, first in sample "
            f"{wrong.argmax()}: remove or replace them"
        )
    return x


def as_batch(x: Any, y: Any, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return a batch of a loader in the model's dtype, or raise an error that names the fix."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        fix = "make Normalize(...) its last transform" if kind == np.uint8 else "convert them to float32"
        raise InputError(f"the loader gives batches of {kind}, expected real floating-point numbers: {fix}")
    if x.dtype != dtype:
        with np.errstate(over="ignore"):
            x = x.astype(dtype, copy=False)
    y = np.asarray(y)
    return x, y.astype(dtype, copy=False) if y.dtype.kind == "f" else y


def loader_of(
    model: Any, x: Any, y: Any, batch_size: int, rng: Any, class_weight: Any, sample_weight: Any
) -> tuple[DataLoader, LossFunc | None]:
    """Return the given loader, or a loader for arrays, which are checked here; and the loss, if there are weights."""
    check_no_loader(x, class_weight, sample_weight)
    if isinstance(x, DataLoader):
        if y is not None:
            raise InputError("a DataLoader contains the targets: pass train(model, loader) without y")
        if rng is not None or batch_size not in (BATCH_SIZE, x.batch_size):
            raise InputError("a DataLoader has its own batch size and order: pass batch_size and rng to it")
        return x, None
    if y is None:
        raise InputError("y is missing: pass x and y, or a DataLoader")
    x = as_samples(x, model, "x")
    y = check_labels(model, x, y, "y")
    loss_func, y = weighted(model, x, y, class_weight, sample_weight, ("loss_and_grad", "loss_and_prediction"))
    model.input_shape = x.shape[1:]
    return DataLoader(x, y, batch_size, rng=generator(rng)), loss_func


def check_labels(model: Any, x: Array, y: Any, name: str = "y") -> Array:
    """Return the targets as an array, after checking that the model accepts a sample and the loss all targets."""
    check_one_number(model.loss_func)
    with evaluating():
        prediction = model(x[:1])
    if not isinstance(prediction, np.ndarray):
        raise InputError(f"the model must return an array, but its forward returned {type(prediction).__name__}")
    try:
        target = model.loss_func.check_target(y, (len(x), *prediction.shape[1:]))
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None
    ignored = getattr(model.loss_func, "ignore_index", None)
    if ignored is not None and target.dtype.kind in "iu" and np.all(target == ignored):
        raise InputError(f"{name}: all labels are ignore_index={ignored}, there is nothing to learn from")
    return target.astype(x.dtype, copy=False) if target.dtype.kind == "f" else target


def check_pair(data: Any) -> tuple[Any, Any] | None:
    """Return validation data as samples and targets, or None."""
    if data is None or (isinstance(data, (tuple, list)) and len(data) == 2):
        return data  # type: ignore[return-value]  # a list of two is accepted too
    raise InputError(
        "validation_data must be a pair (x, y) of samples and targets: pass validation_data=(x_val, y_val)"
    )


def check_optimizer(model: Any) -> None:
    """Give the optimizer the model's parameters if it has none, and raise an error if it trains other parameters."""
    optimizer, parameters = model.optimizer, model.parameters()
    if not optimizer.params:
        optimizer.set_params(parameters)
    known = {id(parameter) for parameter in optimizer.params}
    unknown = [name for name, parameter in model.named_parameters() if id(parameter) not in known]
    if len(unknown) == len(parameters) > 0 or (unknown and optimizer.trains_all):
        kind = type(optimizer).__name__
        raise ValueError(
            f"the optimizer does not train {', '.join(unknown[:4])}, which the model got later: set a new optimizer, "
            f"model.optimizer = {kind}(lr=...)"
        )


def check_batch_size(batch_size: Any) -> int:
    """Return the batch size as an int of at least 1."""
    return integer(batch_size, "batch_size", 1)


def check_callbacks(callbacks: Any) -> None:
    """Raise an error unless ``callbacks`` is a list or tuple of callables."""
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks must be a list, callbacks=[...], got {callbacks!r}")
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(f"the callback {callback.__name__} is a class: write {callback.__name__}(...)")
        if not callable(callback):
            raise TypeError(f"a callback is called with each step, but {callback!r} cannot be called")


def check_deterministic(transforms: Any) -> None:
    """Raise an error if a transform does not declare whether it is deterministic, and so applied in evaluation."""
    for transform in transforms:
        if not hasattr(transform, "deterministic") and not type(transform).__module__.startswith("cnn."):
            name = getattr(transform, "__name__", type(transform).__name__)
            raise InputError(
                f"evaluate_train needs to know whether the transform {name} is also applied in evaluation: set "
                f"{name}.deterministic = True, or False if it draws random numbers"
            )


def check_last_batch(model: Any, samples: int, batch_size: int) -> None:
    """Raise an error if an epoch would end with a batch of one sample, which BatchNorm1d cannot train on."""
    if samples % batch_size != 1 and batch_size > 1:
        return
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm1d):
            sizes = (size for size in range(max(batch_size, 2), samples + 1) if samples % size != 1)
            fix = next((f"use batch_size={size}" for size in sizes), "it needs more samples")
            raise InputError(
                f"{samples} samples in batches of {batch_size} leave a batch of one, on which layer {name}, "
                f"{module!r}, cannot train: {fix}"
            )
