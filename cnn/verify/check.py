"""The result of one check, and the reason why a vector is left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cnn.module import Array
from cnn.utils.numeric import difference

NUMERIC, FLOAT64, FLOAT32, ONNX = "differences", "torch float64", "torch float32", "ONNX"  # the references
TOLERANCES = {NUMERIC: 1e-6, FLOAT64: 1e-10, FLOAT32: 3e-5, ONNX: 3e-5}
NOT_OURS = "an operator or argument that PyTorch's modules have, at least in part, and cnn does not"


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes
    ----------
    subject : str
        The class.
    source : str
        `NUMERIC`, `FLOAT64`, `FLOAT32` or `ONNX`.
    what : str
        The case and the array that was compared.
    error : float
        max|a - b| / max|b|; infinite if the two cannot be compared.
    message : str
        What went wrong, if the error alone does not say it.
    tolerance : float
        The largest error that passes; by default the tolerance of the source.
    """

    subject: str
    source: str
    what: str
    error: float
    message: str = ""
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance", self.tolerance or TOLERANCES[self.source])

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        text = self.message or f"off by {self.error:.1e}, more than {self.tolerance:.0e}"
        return f"{self.subject}, {self.source}: {self.what}: {text}"


class LeftOut(Exception):  # noqa: N818  # not an error: it says why a vector does not apply
    """Raised with the reason why an ONNX vector is left out."""


class Omission(NamedTuple):
    """An ONNX vector that was left out, and why."""

    folder: str
    name: str
    operator: str
    reason: str


def compare(subject: str, source: str, what: str, ours: Any, theirs: Any) -> Check:
    """Compare two arrays, including dtype and shape."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        message = f"{ours.dtype} of shape {ours.shape}, not {theirs.dtype} of shape {theirs.shape}"
        return Check(subject, source, what, np.inf, message)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return Check(subject, source, what, 0.0 if np.array_equal(ours, theirs, equal_nan=True) else np.inf)
    return Check(subject, source, what, difference(ours, theirs))


def guarded(subject: str, source: str, what: str, run: Callable[[], list[Check]]) -> list[Check]:
    """Run checks; an exception becomes a failed check."""
    try:
        return run()
    except LeftOut:
        raise
    except Exception as error:
        return [Check(subject, source, what, np.inf, f"{type(error).__name__}: {error}")]


def draw(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Array:
    """Return random numbers of the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
