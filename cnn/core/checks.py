"""Checks of arguments and arrays that several layers share. Each error names the argument or call to change."""

import math
from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError

Pair = tuple[int, int]


def is_finite(value: Any) -> bool:
    """Tell whether this is a real number, no bool, and finite as a float, which an integer may be too large for."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def integer(value: Any, name: str, minimum: int) -> int:
    """Return ``value`` as an int, or raise an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    return int(value)


def boolean(value: Any, name: str) -> bool:
    """Return ``value`` as a bool, or raise an error that names the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """Return float32 or float64 as a dtype, or raise an error for anything else, such as a device."""
    if isinstance(dtype, str) and dtype.partition(":")[0] in ("cpu", "cuda", "mps", "gpu"):
        raise ValueError(f"there are no devices, everything runs on the CPU: leave out .to({dtype!r})")
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f'a model works in float32 or float64, got {dtype!r}: use .to("float32")')
    return found


def pair(value: Any, name: str, minimum: int) -> Pair:
    """Return (height, width) from one int or from two.

    Examples
    --------
    >>> pair(3, "kernel_size", minimum=1)
    (3, 3)
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be one integer or a pair (height, width), got {value!r}")
        return integer(value[0], f"{name}[0]", minimum), integer(value[1], f"{name}[1]", minimum)
    return (integer(value, name, minimum),) * 2


def check_images(x: Any, channels: int | None = None) -> None:
    """Raise an error that names the fix unless ``x`` has shape (N, C, H, W), with C as given."""
    expected = f"(N, {'C' if channels is None else channels}, H, W)"
    if x.ndim == 4:
        if channels is None or x.shape[1] == channels:
            return
        fix = f"set in_channels={x.shape[1]}"
        if x.shape[3] == channels:
            fix = f"the channels come last here: pass x.transpose(0, 3, 1, 2), or set in_channels={x.shape[1]}"
        raise ShapeError(f"expected {expected}, got {x.shape}: {fix}")
    fix = "reshape it to (N, C, H, W)"
    if x.ndim == 3:
        batch = channels == 1 and x.shape[0] != 1
        fix = "add the channel axis: x[:, None]" if batch else "a single image needs a batch axis: x[None]"
    elif x.ndim == 2:
        fix = f"reshape rows of pixels, x.reshape(-1, {channels or 'C'}, H, W); one grey image is x[None, None]"
    raise ShapeError(f"expected {expected}, got {x.ndim} axes, {x.shape}: {fix}")


def check_input(x: Any, dtype: np.dtype[Any] | None = None) -> Any:
    """Return ``x``, a floating-point array, of ``dtype`` if that is given, or raise an error that names the fix.

    float16 becomes ``dtype``, or float32 without one, because no layer works in it.

    Examples
    --------
    >>> check_input(np.ones(2, np.float16))
    array([1., 1.], dtype=float32)
    """
    if not isinstance(x, np.ndarray):
        fix = "pass np.asarray(x, dtype=np.float32)"
        if isinstance(x, dict) or several_arrays(x) is not None:
            fix = "join several inputs along the channels, np.concatenate(x, axis=1), or samples with np.stack(x)"
        raise InputError(f"expected a NumPy array, got {type(x).__name__}: {fix}")
    if x.dtype.kind == "f" and x.dtype.itemsize > 2 if dtype is None else x.dtype == dtype:
        return x
    if x.dtype == np.float16:
        return x.astype(np.float32 if dtype is None else dtype)
    expected = "float32 or float64" if dtype is None else str(dtype)
    if x.dtype == np.uint8:
        raise InputError(
            f"expected {expected}, got uint8, as in images of 0 to 255: pass {scaled_pixels('x', dtype=dtype)}"
        )
    if x.dtype.kind != "f":
        raise InputError(f'expected {expected}, got {x.dtype}: pass x.astype("{dtype or "float32"}")')
    raise InputError(
        f'expected {dtype}, the dtype of the parameters, got {x.dtype}: pass x.astype("{dtype}") or convert the '
        f'layer with .to("{x.dtype}")'
    )


def scaled_pixels(name: str, model: object = None, dtype: object = None) -> str:
    """Return the code for an error message that turns pixels of 0 to 255 into the input of a model.

    A model with preprocessing of its own learned from other values than pixels / 255, and guesses wrongly from these.

    Examples
    --------
    >>> scaled_pixels("x")
    'x.astype("float32") / 255'
    """
    if getattr(model, "preprocessing", None) is not None:
        return f"model.preprocess({name}), which prepares pixels as in training"
    return f'{name}.astype("{dtype or "float32"}") / 255'


def check_grad(layer: object, grad: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise an error unless ``grad`` is what backward expects: an array like the layer's output."""
    if not isinstance(grad, np.ndarray) or grad.shape != shape or grad.dtype != dtype:
        got = f"{grad.dtype} of shape {grad.shape}" if isinstance(grad, np.ndarray) else repr(grad)
        if isinstance(grad, (float, np.floating)):
            got += ", one number: if that is the loss, pass loss_func.backward() instead, its gradient"
        raise InputError(
            f"{type(layer).__name__}.backward expects the gradient of its output, {dtype} of shape {shape}, got {got}"
        )


def several_arrays(data: Any) -> int | None:
    """Return the common length of the arrays in a list or tuple of at least two, or None if it is anything else.

    Examples
    --------
    >>> several_arrays([np.zeros((6, 3)), np.zeros((6, 1, 8, 8))]), several_arrays([0, 1]), several_arrays(np.eye(3))
    (6, None, None)
    """
    if not isinstance(data, (list, tuple)) or len(data) < 2 or not all(getattr(a, "ndim", 0) for a in data):
        return None
    return len(data[0]) if all(len(a) == len(data[0]) for a in data) else None


def one_array(data: Any, other: Any, name: str, what: str = "input") -> Any:
    """Check as `check_one_array` does, and return ``data``, with a list of one array for each sample as one array."""
    if isinstance(data, dict):
        raise InputError(needs_one_array(data, name, what))
    check_one_array(data, other, name, what)
    is_list = several_arrays(data) is not None and _length(other) == len(data)
    return np.asarray(data) if is_list and len({a.shape for a in data}) == 1 else data


def check_one_array(data: Any, other: Any, name: str, what: str = "input") -> None:
    """Raise an error if ``data`` are several inputs or targets, which would be stacked as if each were one sample.

    Parameters
    ----------
    data, other : array_like
        Samples and targets, or the other way round.
    name, what : str
        For the message: the argument, and "input" or "target".

    Raises
    ------
    InputError
        If it is a list of arrays each of which is as long as ``other``, while the list is not.
    """
    length = several_arrays(data)
    if length is not None and length == _length(other) != len(data):
        raise InputError(needs_one_array(data, name, what))


def _length(data: Any) -> int | None:
    is_array = hasattr(data, "__len__") and not isinstance(data, str) and getattr(data, "ndim", 1) > 0
    return len(data) if is_array else None


def needs_one_array(data: Any, name: str, what: str = "input") -> str:
    """Return what to do with several arrays in a dict, list or tuple."""
    is_dict, argument = isinstance(data, dict), name.split()[0]
    kind = "a dict" if is_dict else f"{len(data)} arrays of {len(data[0])} samples each"
    parts = f"list({argument}.values())" if is_dict else argument
    shapes = [getattr(array, "shape", ()) for array in (data.values() if is_dict else data)]
    others = {(len(shape), *shape[:1], *shape[2:]) for shape in shapes}  # axis 1 may differ
    if len(others) != 1 or () in shapes:
        fix = f"these {what}s, of shapes {', '.join(map(str, shapes))}, do not join: pass one of them"
    elif len(shapes[0]) == 1:
        fix = f"join {what}s as columns, np.stack({parts}, axis=1)"
    else:
        fix = f"join {what}s along {'axis 1' if what == 'target' else 'the channels'}, np.concatenate({parts}, axis=1)"
    if what == "target":
        fix += ", or train two models"
    return f"{name} is {kind}, but a model has one {what}, one array: {fix}"
