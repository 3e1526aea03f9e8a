"""Checks of the arguments of training and prediction, before the first step."""

from typing import Any

import numpy as np

from cnn.core.checks import integer, needs_one_array, one_array, scaled_pixels, several_arrays
from cnn.core.modes import without_warnings
from cnn.core.parameter import Parameter, plain_array
from cnn.errors import InputError, ShapeError
from cnn.layers import Linear
from cnn.loss.loss_func import check_one_number
from cnn.module import Array, Module, evaluating


def first_float_parameter(model: Module) -> Parameter:
    """Return a floating-point parameter of a model, whose dtype the model works in; an empty one if there is none."""
    parameters = (parameter for _, parameter in model.named_parameters())  # a list of all would take as long as a layer
    floating = (parameter for parameter in parameters if np.issubdtype(parameter.dtype, np.floating))
    return next(floating, Parameter(np.zeros(0, np.float32)))


def dtype_of(model: Module) -> np.dtype[Any]:
    """Return the floating-point dtype that a model works in."""
    return first_float_parameter(model).dtype


def as_samples(x: Any, model: Module, name: str = "x") -> Array:
    """Return ``x`` as finite samples in the model's dtype, or raise an error that names the fix.

    Raises
    ------
    InputError
        If it is no array of finite real numbers with at least one sample; the message says what to do.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> as_samples([[1.0, 2.0], [3.0, 4.0]], Linear(2, 2)).dtype
    dtype('float32')
    """
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a masked array, whose hidden values would be used: pass {name.split()[0]}.filled(...)"
        )
    if isinstance(x, dict):
        raise InputError(needs_one_array(x, name))
    check_samples_of_list(x, model, name)
    try:
        x = plain_array(x)
    except ValueError:
        several = f"; {needs_one_array(x, name)}" if several_arrays(x) is not None else ""
        raise ShapeError(f"{name} holds samples of different sizes: all need one shape, (N, ...){several}") from None
    dtype, argument = dtype_of(model), name.split()[0]  # "x of batch 2" is called x by the user
    if x.dtype == np.uint8:
        raise InputError(f"{name} is uint8, as in images of 0 to 255: pass {scaled_pixels(argument, model)}")
    if x.dtype.kind in "iub":
        bytes_like = x.dtype.kind in "iu" and x.size > 0 and x.min() >= 0 and 1 < x.max() <= 255
        scaled = f", for pixels of 0 to 255 {scaled_pixels(argument, model)}" if bytes_like else ""
        raise InputError(
            f'{name} holds {x.dtype}, expected real floating-point numbers: pass {argument}.astype("float32"){scaled}'
        )
    if x.dtype.kind != "f":
        raise InputError(f"{name} must hold real numbers, got {'text' if x.dtype.kind in 'US' else x.dtype}")
    if x.ndim == 0:
        raise ShapeError(f"{name} must be an array of samples, (N, ...), got a single number")
    if x.size == 0:
        raise ShapeError(f"{name} is empty, shape {x.shape}: at least one sample and one value are needed")
    x = without_warnings(x.astype)(dtype, copy=False)  # too large for float32 becomes infinite and is rejected below
    if not np.isfinite(x).all():
        wrong = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        raise InputError(
            f"{name} holds NaN or infinity in {np.count_nonzero(wrong)} of {len(x)} samples, first in sample "
            f"{wrong.argmax()}: remove or replace them"
        )
    return x


def as_batch(x: Any, y: Any, model: Any, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return a batch of a loader in the dtype of the model, or raise an error that names the fix."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        fix = f"make {normalize_text(model)} its last transform" if kind == np.uint8 else "convert them to float32"
        raise InputError(f"the loader gives batches of {kind}, expected real floating-point numbers: {fix}")
    if x.dtype != dtype:
        x = without_warnings(x.astype)(dtype, copy=False)
    y = np.asarray(y)
    return x, y.astype(dtype, copy=False) if y.dtype.kind == "f" else y


def normalize_text(model: Any) -> str:
    """Return the code of the transform that prepares pixels for a model: with its own numbers, if it has some."""
    settings = getattr(model, "preprocessing", None)
    if settings is None:
        return "Normalize(...)"
    mean, std, scale = (settings.get(name, default) for name, default in (("mean", 0), ("std", 1), ("scale", None)))
    return f"Normalize({mean}, {std}{'' if scale is None else f', scale={scale}'}), as in model.preprocessing,"


def try_out(model: Any, x: Array) -> Any:
    """Return the model's output in evaluation mode for the first of the samples.

    For the first two, if a norm takes the statistics of the batch in evaluation, too: it may refuse a single one.
    """
    count = 2 if any(not getattr(module, "track_running_stats", True) for module in model.modules()) else 1
    with evaluating():
        return model(x[:count])


def check_labels(model: Any, x: Array, y: Any, name: str = "y") -> Array:
    """Return the targets as an array, after checking that the model accepts a sample and the loss all targets."""
    check_one_number(model.loss_func)
    y = one_array(y, x, name, "target")
    prediction = try_out(model, x)
    if not isinstance(prediction, np.ndarray):
        raise InputError(f"the model must return an array, but its forward returned {type(prediction).__name__}")
    try:
        target = model.loss_func.check_target(y, (len(x), *prediction.shape[1:]))
    except InputError as error:
        raise type(error)(f"{name}: {error}") from None
    check_some_labels(model.loss_func, target, name)
    return target.astype(x.dtype, copy=False) if target.dtype.kind == "f" else target


def check_some_labels(loss_func: Any, target: Array, name: str) -> None:
    """Raise an error if all labels are ignored, so that there is no loss."""
    ignored = getattr(loss_func, "ignore_index", None)
    if ignored is not None and target.dtype.kind in "iu" and np.all(target == ignored):
        raise InputError(f"{name}: all labels are ignore_index={ignored}, there is nothing to learn from")


def check_loader_labels(loss_func: Any, loader: Any, name: str) -> None:
    """Check as `check_some_labels` does, if the targets of a loader are in memory and no transform changes them."""
    if type(loader.y) is np.ndarray and not loader.transforms:
        check_some_labels(loss_func, loader.y, name)


def kind_of(value: Any) -> str:
    """Name the type of a value for an error message, with the library that it comes from.

    Examples
    --------
    >>> kind_of([1]), kind_of(np.eye(2))
    ('a list', 'an ndarray of numpy')
    """
    kind, library = type(value).__name__, type(value).__module__.partition(".")[0]
    article = "an" if kind == "ndarray" or kind[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind}" + ("" if library in ("builtins", "__main__") else f" of {library}")


def check_trainable(model: Any) -> None:
    """Raise an error unless a model has a loss and an optimizer."""
    for part, example in (("loss_func", "CrossEntropyLoss()"), ("optimizer", "Adam()")):
        if getattr(model, part, None) is None:
            raise ValueError(f"training needs a model with {part}: Sequential(layers=..., {part}={example})")


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
    if getattr(batch_size, "ndim", 0) or isinstance(batch_size, (list, tuple)):
        raise InputError(
            f"batch_size must be an integer of at least 1, got {kind_of(batch_size)} of {len(batch_size)} numbers: "
            "for weights of the samples pass sample_weight=..."
        )
    return integer(batch_size, "batch_size", 1)


def check_deterministic(transforms: Any) -> None:
    """Raise an error if a transform does not declare whether it is deterministic, and so applied in evaluation."""
    for transform in transforms:
        if not hasattr(transform, "deterministic") and not type(transform).__module__.startswith("cnn."):
            name = getattr(transform, "__name__", type(transform).__name__)
            raise InputError(
                f"evaluate_train needs to know whether the transform {name} is also applied in evaluation: set "
                f"{name}.deterministic = True, or False if it draws random numbers"
            )


def check_samples_of_list(x: Any, model: Any, name: str) -> None:
    """Raise an error if ``x`` is a list of arrays, each of which is itself a batch of samples for the model."""
    if several_arrays(x) is None:
        return
    known, shape = getattr(model, "input_shape", None), tuple(x[0].shape)
    first = next(
        (module for module in model.modules() if any(isinstance(v, Parameter) for v in vars(module).values())), None
    )
    of_rows = isinstance(first, Linear) and len(shape) == 2 and shape[1] == first.in_features
    if shape[1:] == known if known is not None else (len(shape) == 4 or of_rows):
        stack = f"; if each is one sample, pass np.stack({name.split()[0]})" if len({a.shape for a in x}) == 1 else ""
        raise InputError(needs_one_array(x, name) + stack)
