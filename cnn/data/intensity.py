"""Transforms of pixel intensities: Normalize, Brightness, Contrast. transforms.py describes what a transform is."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cnn.core.explain import explain_init
from cnn.core.parameter import Array
from cnn.data.pixels import check_batch, number_in_range
from cnn.data.sample_rng import SampleRNG
from cnn.errors import InputError, ShapeError


@explain_init
@dataclass
class Normalize:
    """Normalise pixels to the inputs of a model, (scale pixel - mean) / std, as float32. Use it as the last transform.

    With the mean and the standard deviation of each channel over the training set, inputs have mean 0 and standard
    deviation 1, which speeds up training. The result is bit-identical to `Sequential.preprocess`; set
    ``model.preprocessing = normalize.preprocessing``, or in the other direction, give Normalize the numbers ``mean``,
    ``std`` and ``scale`` of ``model.preprocessing``.

    Parameters
    ----------
    mean, std : float or list of float
        One number for all channels or one for each, of scaled pixels; std above 0.
    scale : float, optional
        By default 1/255, and only uint8 is accepted. Required for floating-point images: 1 if their values are from 0
        to 1, 1/255 if they are from 0 to 255.

    Raises
    ------
    ValueError
        If ``std`` is not above 0, or the images have another number of channels or need a ``scale``.

    Source
    ------
    LeCun et al. 1998, Efficient BackProp, section 4.3.

    Examples
    --------
    >>> normalize = Normalize(mean=0.5, std=0.25)
    >>> x = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2)
    >>> normalize(x, np.array([0]), SampleRNG(seed=0, epoch=1, indices=[0]))[0]
    array([[[[-2.,  2.]]]], dtype=float32)
    >>> normalize.preprocessing
    {'scale': 0.00392156862745098, 'mean': 0.5, 'std': 0.25}
    """

    moves_pixels: ClassVar[bool] = False
    mixes_samples: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True  # draws no random numbers, so it is applied in evaluation too

    mean: Any
    std: Any
    scale: float | None = None

    def __post_init__(self) -> None:
        self.mean = per_channel(self.mean, "mean")
        self.std = per_channel(self.std, "std")
        if not np.all(np.array(self.std) > 0):
            raise ValueError(f"std must be above 0, got {self.std!r}")
        self.scale = None if self.scale is None else positive_number(self.scale, "scale")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The value for `Sequential.preprocessing`, which is saved with the model."""
        return {"scale": 1 / 255 if self.scale is None else self.scale, "mean": self.mean, "std": self.std}

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same shape, float32"""
        check_batch(x, rng)
        if self.scale is None and x.dtype != np.uint8:
            raise InputError(
                f"Normalize got {x.dtype}: set scale=1 if the values are from 0 to 1, scale=1/255 if from 0 to 255"
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


@explain_init
@dataclass
class Brightness:
    """Multiply each image by a random factor near 1; black stays black.

    uint8 is rounded, and clipped at 255; floating-point images, whose range is unknown, are not clipped.

    Parameters
    ----------
    amount : float
        From 0 to 1. Factors are uniformly distributed from 1 - amount to 1 + amount.

    Examples
    --------
    >>> x = np.array([0, 100, 250], dtype=np.uint8).reshape(1, 1, 1, 3)
    >>> Brightness(amount=0.5)(x, np.array([0]), SampleRNG(seed=0, epoch=2, indices=[0]))[0]
    array([[[[  0, 137, 255]]]], dtype=uint8)
    """

    moves_pixels: ClassVar[bool] = False
    mixes_samples: ClassVar[bool] = False

    amount: float

    def __post_init__(self) -> None:
        self.amount = number_in_range(self.amount, "amount", 0, 1)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, rng)
        return as_pixels(x * random_factors(rng, self.amount, compute_dtype(x.dtype)), x.dtype), y


@explain_init
@dataclass
class Contrast:
    """Multiply the differences of each image's pixels from their mean by a random factor near 1.

    uint8 is rounded, and clipped at 0 and 255; floating-point images are not clipped.

    Parameters
    ----------
    amount : float
        From 0 to 1. Factors are uniformly distributed from 1 - amount to 1 + amount.

    Examples
    --------
    >>> x = np.array([90, 100, 110], dtype=np.uint8).reshape(1, 1, 1, 3)
    >>> Contrast(amount=0.5)(x, np.array([0]), SampleRNG(seed=0, epoch=2, indices=[0]))[0]
    array([[[[ 86, 100, 114]]]], dtype=uint8)
    """

    moves_pixels: ClassVar[bool] = False
    mixes_samples: ClassVar[bool] = False

    amount: float

    def __post_init__(self) -> None:
        self.amount = number_in_range(self.amount, "amount", 0, 1)

    def __call__(self, x: Array, y: Array, rng: SampleRNG) -> tuple[Array, Array]:
        """(N, C, H, W) -> the same"""
        check_batch(x, rng)
        dtype = compute_dtype(x.dtype)
        factor = random_factors(rng, self.amount, dtype)
        mean = x.mean(axis=(1, 2, 3), keepdims=True, dtype=dtype)
        out = x * factor
        out += mean * (1 - factor)
        return as_pixels(out, x.dtype), y


def random_factors(rng: SampleRNG, amount: float, dtype: np.dtype[Any]) -> Array:
    """Return one random factor from 1 - amount to 1 + amount for each sample: (N, 1, 1, 1)"""
    factor = 1 + amount * (2 * rng.uniform() - 1)
    return factor.astype(dtype).reshape(-1, 1, 1, 1)


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype for computations with images of a dtype: at least float32."""
    return np.result_type(dtype, np.float32)


def as_pixels(values: Array, dtype: np.dtype[Any]) -> Array:
    """Convert floating-point values to the dtype of the images; for uint8 they are rounded and clipped, in place."""
    if dtype == np.uint8:
        values += 0.5
        np.clip(values, 0, 255, out=values)
    return values.astype(dtype, copy=False)


def per_channel(value: Any, name: str) -> float | list[float]:
    """Return one number as a float, or one for each channel as a list of float: types for repr and for model files."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite number or a list with one for each channel, got {value!r}")
    return array.astype(np.float64).tolist()


def positive_number(value: Any, name: str) -> float:
    """Return ``value`` as a finite float above 0, or raise an error that names the argument."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and 0 < value < math.inf):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)
