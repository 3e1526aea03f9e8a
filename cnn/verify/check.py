"""What one check found, and what was not checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cnn.module import Array
from cnn.utils.numeric import difference

NUMERIC, FLOAT64, FLOAT32, ONNX = "differences", "torch float64", "torch float32", "ONNX"  # what is compared with
TOLERANCES = {NUMERIC: 1e-6, FLOAT64: 1e-10, FLOAT32: 3e-5, ONNX: 3e-5}


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
        Which case, and which array of it.
    error : float
        max|a - b| / max|b|; infinite if there is nothing to compare.
    message : str
        What went wrong, if the error does not tell.
    tolerance : float
        The largest error that passes; that of the source by default.
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


class LeftOut(Exception):  # noqa: N818  # no error: it says why a vector does not concern us
    """Why an ONNX vector is left out."""


class Omission(NamedTuple):
    """An ONNX vector that was left out, and why."""

    folder: str
    name: str
    operator: str
    reason: str


def compare(subject: str, source: str, what: str, ours: Any, theirs: Any) -> Check:
    """Compare two arrays, dtype and shape included."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        message = f"{ours.dtype} of shape {ours.shape}, not {theirs.dtype} of shape {theirs.shape}"
        return Check(subject, source, what, np.inf, message)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return Check(subject, source, what, 0.0 if np.array_equal(ours, theirs, equal_nan=True) else np.inf)
    return Check(subject, source, what, difference(ours, theirs))


def guarded(subject: str, source: str, what: str, run: Callable[[], list[Check]]) -> list[Check]:
    """Run checks; an error is a failure."""
    try:
        return run()
    except LeftOut:
        raise
    except Exception as error:
        return [Check(subject, source, what, np.inf, f"{type(error).__name__}: {error}")]


def draw(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> Array:
    """Draw normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
