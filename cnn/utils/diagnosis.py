"""What is probably wrong with a gradient: the usual mistakes, each tried on the numbers."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from cnn.module import Array
from cnn.utils.numeric import Slopes, difference, slopes

FIT = 1e-4  # how closely a guess must explain the numbers, as max|a - b| / max|b|
JUMP = 1e-3  # a difference of the slopes to the right and left beyond this share of the largest slope is a kink


class Probe:
    """What is known of one array whose gradient is wrong.

    Parameters
    ----------
    outputs : callable
        () -> the outputs, each times its gradient.
    array : ndarray
        What to nudge; ``outputs`` reads it.
    right : Slopes
        Of the sum of the outputs.
    is_input : bool
        Whether the first axis of the array counts samples.
    step : float
        How far each number is nudged.
    """

    def __init__(
        self, outputs: Callable[[], Array], array: Array, right: Slopes, is_input: bool, samples: int, step: float
    ) -> None:
        self.outputs, self.array, self.right = outputs, array, right
        self.is_input, self.samples, self.step = is_input, samples, step

    def cause(self, found: Array, tolerance: float) -> str:
        """Name the mistake that explains the gradient that was found, or nothing."""
        if not np.isfinite(found).all():
            return "it holds NaN or infinity"
        if found.shape != self.right.central.shape:
            return self._shape(found)
        guesses = (self._kink(found, tolerance), self._zero(found), self._factor(found), self._moved(found))
        return next(filter(None, guesses), "") or self._one_sample(found) or self._mean(found)

    def _shape(self, found: Array) -> str:
        right = self.right.central
        shapes = f"it has shape {found.shape}, not {right.shape}"
        if found.shape[1:] == right.shape and found.shape[:1] == (self.samples,):
            return f"{shapes}: it is not summed over the batch (axis 0)"
        if sorted(found.shape) == sorted(right.shape) and self._moved(found):
            return f"{shapes}: {self._moved(found)}"
        return shapes

    def _kink(self, found: Array, tolerance: float) -> str:
        """Explain errors that are all where the slope jumps."""
        scale = np.abs(self.right.central).max() or 1
        kinks = np.abs(self.right.jump) > JUMP * scale
        if not kinks.any() or np.any(~kinks & (np.abs(found - self.right.central) > tolerance * scale)):
            return ""
        left, right = self.right.central - self.right.jump / 2, self.right.central + self.right.jump / 2
        if together := self._together(kinks):
            gets, should = float(found[kinks].sum()), together.central.item()
            if abs(gets - should) > FIT * scale and abs(together.jump.item()) <= JUMP * scale:
                return (
                    f"values tie, as in the window of a pool, and get a gradient of {gets:.6g} in all instead of "
                    f"{should:.6g}: only one of them, the first, gets it"
                )
        at = tuple(int(i) for i in np.argwhere(kinks)[0])
        return (
            f"x lies on a kink: at {list(at)} the slope is {left[at]:.6g} to the left and {right[at]:.6g} to the right "
            "(a ReLU at 0, or values that tie in a pool), so central differences tell nothing there: move it"
        )

    def _together(self, kinks: Array) -> Slopes | None:
        """Nudge all the numbers that lie on a kink at once."""
        before, shift = self.array.copy(), np.zeros(1)

        def function() -> float:
            self.array[kinks] = before[kinks] + shift[0]
            try:
                return float(self.outputs().sum())
            finally:
                self.array[...] = before

        return slopes(function, shift, self.step) if kinks.sum() > 1 else None

    def _zero(self, found: Array) -> str:
        return "it is zero everywhere" if not found.any() else ""

    def _factor(self, found: Array) -> str:
        right = self.right.central
        factor = float(np.sum(found * right) / max(np.sum(right * right), np.finfo(float).tiny))
        if factor == 0 or difference(found, factor * right) > FIT:
            return ""
        return f"it is {self._number(factor)} times the right one: {self._reason(factor)}"

    def _number(self, factor: float) -> str:
        n, size = self.samples, self.array.size
        known = {-1.0: "-1", 2.0: "2", 0.5: "1/2", float(size): f"{size}", 1 / size: f"1/{size}"}
        known |= {float(n): f"N = {n}", 1 / n: f"1/N = 1/{n}"} if n > 1 else {}
        fits = [text for value, text in known.items() if math.isclose(value, factor, rel_tol=FIT)]
        return fits[-1] if fits else f"{factor:.6g}"

    def _reason(self, factor: float) -> str:
        n = self.samples
        if math.isclose(factor, -1, rel_tol=FIT):
            return "the sign is wrong"
        reasons = {float(n): "a sum over the batch that should be a mean"}
        reasons[1 / n] = "a mean over the batch that should be a sum, or that is taken twice"
        fits = [text for value, text in reasons.items() if n > 1 and math.isclose(value, factor, rel_tol=FIT)]
        if not fits:
            return "a constant factor is wrong"
        return fits[0] + (", or the factor is wrong" if n == 2 else "")

    def _moved(self, found: Array) -> str:
        """Try other orders of the axes, and a window that is turned around."""
        right = self.right.central
        for axes in itertools.permutations(range(right.ndim)):
            moved = right.transpose(axes)
            if axes != tuple(range(right.ndim)) and moved.shape == found.shape and difference(found, moved) <= FIT:
                order = "" if right.ndim == 2 else f" (its axes are in the order {axes})"
                return f"it is transposed{order}"
        if right.ndim >= 3 and difference(found, right[..., ::-1, ::-1]) <= FIT:
            return "its last two axes are turned by 180 degrees"
        return ""

    def _one_sample(self, found: Array) -> str:
        """Try the gradients of single samples."""
        shape = self.outputs().shape
        if self.is_input or not shape or shape[0] != self.samples or self.samples < 2:
            return ""
        for sample in (0, self.samples - 1):

            def its_output(sample: int = sample) -> float:
                return float(self.outputs()[sample].sum())

            if difference(found, slopes(its_output, self.array, self.step).central) <= FIT:
                return f"it is the part of sample {sample} alone: it is not summed over the batch"
        return ""

    def _mean(self, found: Array) -> str:
        """Try errors that all values of one mean share, as in a normalisation."""
        error = found - self.right.central
        if not self.is_input or error.ndim < 2:
            return ""
        pixels = tuple(range(2, error.ndim))
        places = {
            "the batch": (0, *pixels),
            "each sample": tuple(range(1, error.ndim)),
            "the last axis": (error.ndim - 1,),
        }
        for what, axes in places.items():
            shared = np.broadcast_to(error.mean(axis=axes, keepdims=True), error.shape)
            if math.prod(error.shape[axis] for axis in axes) > 1 and difference(error, shared) <= FIT:
                return f"the error is constant along {what}: it misses the part that goes through the mean over {what}"
        return ""
