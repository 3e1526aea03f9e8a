"""Changes of the levels of images, pixel by pixel: Normalize, Brightness, Contrast. See transforms.py for what a
transform is.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cnn.core.parameter import Array
from cnn.data.draws import Draws
from cnn.data.transforms import check_batch, number
from cnn.errors import InputError, ShapeError


@dataclass
class Normalize:
    """Turn pixels into inputs of a model, (scale pixel - mean) / std, as float32: the last transform of a row.

    With the mean and the standard deviation of each channel over the training set, inputs have mean 0 and standard
    deviation 1, which speeds learning up. The bits are those of `Sequential.preprocess`; let the model know with
    ``model.preprocessing = normalize.preprocessing``, or go the other way, ``Normalize(**model.preprocessing)``.

    Parameters
    ----------
    mean, std : float or list of float
        One for all channels or one for each, of scaled pixels; std above 0.
    scale : float, optional
        By default 1/255, and only uint8 is taken. For floating images say what fits: 1 if their values go from 0 to
        1, 1/255 if they go to 255.

    Source
    ------
    LeCun et al. 1998, Efficient BackProp, section 4.3.

    Examples
    --------
    >>> normalize = Normalize(mean=0.5, std=0.25)
    >>> x = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2)
    >>> normalize(x, np.array([0]), Draws(seed=0, epoch=1, samples=[0]))[0]
    array([[[[-2.,  2.]]]], dtype=float32)
    >>> normalize.preprocessing
    {'scale': 0.00392156862745098, 'mean': 0.5, 'std': 0.25}
    """

    always: ClassVar[bool] = True  # also in evaluation, as nothing in it is random

    mean: Any
    std: Any
    scale: float | None = None

    def __post_init__(self) -> None:
        self.mean = per_channel(self.mean, "mean")
        self.std = per_channel(self.std, "std")
        if not np.all(np.array(self.std) > 0):
            raise ValueError(f"std must be above 0, got {self.std!r}")
        self.scale = None if self.scale is None else above_zero(self.scale, "scale")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `Sequential.preprocessing` holds, so that a saved model knows it."""
        return {"scale": 1 / 255 if self.scale is None else self.scale, "mean": self.mean, "std": self.std}

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same, of float32"""
        check_batch(x, draws)
        if self.scale is None and x.dtype != np.uint8:
            raise InputError(
                f"Normalize got {x.dtype}: say scale=1 if its values go from 0 to 1, scale=1/255 if they go to 255"
            )
        mean, std = (np.array(value, np.float32).reshape(-1, 1, 1) for value in (self.mean, self.std))
        for name, value in (("mean", mean), ("std", std)):
            if len(value) not in (1, x.shape[1]):
                raise ShapeError(
                    f"Normalize has {name} for {len(value)} channels, but x, {x.shape}, has {x.shape[1]}: give one "
                    f"number or {x.shape[1]}"
                )
        out = x.astype(np.float32)
        out *= np.float32(self.preprocessing["scale"])
        out -= mean
        out /= std
        return out, y


@dataclass
class Brightness:
    """Multiply each image by a random factor near 1; black stays black.

    uint8 is rounded, and cut off at 255; floating numbers, whose range nobody knows, are not cut off.

    Parameters
    ----------
    amount : float
        Factors are spread evenly from 1 - amount to 1 + amount, 0 to 1.

    Examples
    --------
    >>> x = np.array([0, 100, 250], dtype=np.uint8).reshape(1, 1, 1, 3)
    >>> Brightness(amount=0.5)(x, np.array([0]), Draws(seed=0, epoch=2, samples=[0]))[0]
    array([[[[  0, 137, 255]]]], dtype=uint8)
    """

    amount: float

    def __post_init__(self) -> None:
        self.amount = number(self.amount, "amount", 0, 1)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        return as_levels(x * factors(draws, self.amount, working_dtype(x.dtype)), x.dtype), y


@dataclass
class Contrast:
    """Spread the levels of each image from their mean, or draw them together, by a random factor near 1.

    uint8 is rounded, and cut off at 0 and 255; floating numbers are not cut off.

    Parameters
    ----------
    amount : float
        Factors are spread evenly from 1 - amount to 1 + amount, 0 to 1.

    Examples
    --------
    >>> x = np.array([90, 100, 110], dtype=np.uint8).reshape(1, 1, 1, 3)
    >>> Contrast(amount=0.5)(x, np.array([0]), Draws(seed=0, epoch=2, samples=[0]))[0]
    array([[[[ 86, 100, 114]]]], dtype=uint8)
    """

    amount: float

    def __post_init__(self) -> None:
        self.amount = number(self.amount, "amount", 0, 1)

    def __call__(self, x: Array, y: Array, draws: Draws) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, draws)
        work = working_dtype(x.dtype)
        factor = factors(draws, self.amount, work)
        mean = x.mean(axis=(1, 2, 3), keepdims=True, dtype=work)
        out = x * factor
        out += mean * (1 - factor)
        return as_levels(out, x.dtype), y


def factors(draws: Draws, amount: float, dtype: np.dtype[Any]) -> Array:
    """Return one factor from 1 - amount to 1 + amount for each sample: (N, 1, 1, 1)"""
    factor = 1 + amount * (2 * draws.uniform() - 1)
    return factor.astype(dtype).reshape(-1, 1, 1, 1)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return in what to compute with images of a dtype: at least float32."""
    return np.result_type(dtype, np.float32)


def as_levels(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return floating numbers in the dtype of the images: for uint8 rounded and cut off, in place."""
    if dtype == np.uint8:
        values += 0.5
        np.clip(values, 0, 255, out=values)
    return values.astype(dtype, copy=False)


def per_channel(value: Any, name: str) -> float | list[float]:
    """Return one number as a float, or one for each channel as a list of float, which repr and model files can hold."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite number or a list with one for each channel, got {value!r}")
    return array.astype(np.float64).tolist()


def above_zero(value: Any, name: str) -> float:
    """Return ``value`` as a finite float above 0, or raise an error that names the argument."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and 0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)
