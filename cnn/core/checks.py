"""Checks of arguments and arrays that several layers share. Each error names the argument or call to change."""

from typing import Any

import numpy as np

from cnn.errors import InputError, ShapeError

Pair = tuple[int, int]


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
    """
    if not isinstance(x, np.ndarray):
        raise InputError(f"expected a NumPy array, got {type(x).__name__}: pass np.asarray(x, dtype=np.float32)")
    if x.dtype.kind == "f" and x.dtype.itemsize > 2 if dtype is None else x.dtype == dtype:
        return x
    if x.dtype == np.float16:
        return x.astype(np.float32 if dtype is None else dtype)
    expected = "float32 or float64" if dtype is None else str(dtype)
    if x.dtype == np.uint8:
        raise InputError(
            f'expected {expected}, got uint8, as in images of 0 to 255: pass x.astype("{dtype or "float32"}") / 255'
        )
    if x.dtype.kind != "f":
        raise InputError(f'expected {expected}, got {x.dtype}: pass x.astype("{dtype or "float32"}")')
    raise InputError(
        f'expected {dtype}, the dtype of the parameters, got {x.dtype}: pass x.astype("{dtype}") or convert the '
        f'layer with .to("{x.dtype}")'
    )


def check_grad(layer: object, grad: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise an error unless ``grad`` is what backward expects: an array like the layer's output."""
    if not isinstance(grad, np.ndarray) or grad.shape != shape or grad.dtype != dtype:
        got = f"{grad.dtype} of shape {grad.shape}" if isinstance(grad, np.ndarray) else repr(grad)
        raise InputError(
            f"{type(layer).__name__}.backward expects the gradient of its output, {dtype} of shape {shape}, got {got}"
        )
