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
    name : str
        What messages call the array: x, prediction, or the name of a parameter.
    outputs : callable
        () -> the outputs, each times its gradient.
    array : ndarray
        What to nudge; ``outputs`` reads it.
    right : Slopes
        Of the sum of the outputs.
    is_input : bool
        Whether the first axis of the array counts samples.
    samples : int
        How many the batch has.
    step : float
        How far each number is nudged.
    ignores_grad : bool
        Whether backward gives the same for another gradient of the output.
    """

    def __init__(
        self,
        name: str,
        outputs: Callable[[], Array],
        array: Array,
        right: Slopes,
        is_input: bool,
        samples: int,
        step: float,
        ignores_grad: bool = False,
    ) -> None:
        self.name, self.outputs, self.array, self.right = name, outputs, array, right
        self.is_input, self.samples, self.step, self.ignores_grad = is_input, samples, step, ignores_grad

    def cause(self, found: Array) -> str:
        """Name the mistake that explains the gradient that was found, or nothing."""
        if not np.isfinite(found).all():
            return "it holds NaN or infinity"
        if not found.any():
            return "it is zero everywhere"
        if self.ignores_grad:
            return "it is the same for another grad: grad is not multiplied in"
        return self._factor(found) or self._moved(found) or self._one_sample(found) or self._mean(found)

    def where(self, found: Array, tolerance: float) -> str:
        """Tell which numbers are wrong."""
        wrong = self._wrong(found, tolerance)
        count = int(wrong.sum())
        text = f"at {'all' if count == wrong.size else f'{count} of'} {wrong.size} numbers"
        for sign, holds in (("<", self.array < 0), (">", self.array > 0)):
            if 1 < count < wrong.size and not holds.all() and holds[wrong].all():
                return f"{text}, all where {self.name} {sign} 0"
        return text

    def _wrong(self, found: Array, tolerance: float) -> Array:
        right = self.right.central
        return np.asarray(~(np.abs(found - right) <= tolerance * (np.abs(right).max() or 1)))

    def shape(self, found: Array) -> str:
        """Explain a gradient of another shape."""
        right = self.right.central
        shapes = f"it has shape {found.shape}, not {right.shape}"
        if found.shape[1:] == right.shape and found.shape[:1] == (self.samples,):
            return f"{shapes}: it is not summed over the batch (axis 0)"
        if found.size == right.size and difference(found.reshape(right.shape), right) <= FIT:
            more = [n for n in found.shape if n != 1] == [n for n in right.shape if n != 1] and found.ndim > right.ndim
            return f"{shapes}: {'sum without keepdims' if more else f'reshape it to {right.shape}'}"
        if sorted(found.shape) == sorted(right.shape) and (moved := self._moved(found)):
            return f"{shapes}: {moved}"
        return shapes

    # Kinks

    def kink(self, found: Array, tolerance: float) -> tuple[bool, str]:
        """Explain errors that are all where the slope jumps; the first is True if nobody can tell what is right."""
        kinks = np.abs(self.right.jump) > JUMP * (np.abs(self.right.central).max() or 1)
        if not kinks.any() or np.any(~kinks & self._wrong(found, tolerance)):
            return False, ""
        at = [tuple(map(int, index)) for index in np.argwhere(kinks)]
        for first in at[:8]:
            if tie := self._tie(found, first, at):
                return False, tie
        return True, (
            f"it cannot be checked here: {self.name} lies on a kink at {list(at[0])}: move it, for example "
            f"{self.name} + 0.1 * np.random.default_rng(0).normal(size={self.array.shape})"
        )

    def _tie(self, found: Array, first: tuple[int, ...], kinks: list[tuple[int, ...]]) -> str:
        """Find the numbers of the window in which ``first`` ties, and see whether they get too much together."""
        above = self.right.central + self.right.jump / 2
        scale = np.abs(above).max()
        window = [first]
        for other in kinks:
            if other != first and self.array[other] == self.array[first]:
                both = self._together([first, other])
                if abs(both.central + both.jump / 2 - above[first] - above[other]).item() > JUMP * scale:
                    window.append(other)
        together = self._together(window)
        gets, should = [float(found[at]) for at in window], together.central.item()
        smooth = abs(together.jump.item()) <= JUMP * scale
        if len(window) == 1 or not smooth or abs(sum(gets) - should) <= FIT * scale:
            return ""
        return (
            f"values tie in a window, at {' and '.join(str(list(at)) for at in window)}, and get "
            f"{' + '.join(f'{value:.4g}' for value in gets)} instead of {should:.4g} in all: only the first gets it"
        )

    def _together(self, indices: list[tuple[int, ...]]) -> Slopes:
        """Nudge several numbers at once."""
        before, shift, at = self.array.copy(), np.zeros(1), tuple(np.transpose(indices))

        def function() -> float:
            self.array[at] = before[at] + shift[0]
            try:
                return float(self.outputs().sum())
            finally:
                self.array[...] = before

        return slopes(function, shift, self.step)

    # Guesses

    def _factor(self, found: Array) -> str:
        right = self.right.central
        factor = float(np.sum(found * right) / max(np.sum(right * right), np.finfo(float).tiny))
        if factor == 0 or difference(found, factor * right) > FIT:
            return ""
        n, size, is_loss = self.samples, self.array.size, self.name == "prediction"
        counts = {"N": n, f"{self.name}.size": size}
        if self.is_input:
            counts["values per sample"] = size // n
        if not is_loss:
            counts["grad.size"] = self.outputs().size
        for name, count in counts.items():
            doubt = ", or the factor is wrong" if count == 2 else ""
            if count > 1 and math.isclose(factor, count, rel_tol=FIT):
                reason = "a sum that should be a mean" if is_loss else f"multiplied by {name} too often"
                return f"it is {name} = {count} times the right one: {reason}{doubt}"
            if count > 1 and math.isclose(factor, 1 / count, rel_tol=FIT):
                reason = f"divided by {name}: the loss has already divided, a layer only sums"
                reason = "a mean that should be a sum" if is_loss else reason
                bottom = f"({name})" if " " in name else name
                return f"it is 1/{bottom} = 1/{count} times the right one: {reason}{doubt}"
        reason = "the sign is wrong" if math.isclose(factor, -1, rel_tol=FIT) else "a constant factor is wrong"
        number = "1/2" if math.isclose(factor, 0.5, rel_tol=FIT) else f"{factor:.4g}"
        return f"it is {number} times the right one: {reason}"

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
        """Try errors a + b z that all values of one mean share, z being standardised as in a normalisation."""
        error = found - self.right.central
        if not self.is_input or error.ndim < 2:
            return ""
        pixels = tuple(range(2, error.ndim))
        places = {"the batch": (0, *pixels), "each sample": tuple(range(1, error.ndim))}
        places |= {"the pixels of each channel": pixels} if error.ndim > 3 else {}
        places["the last axis"] = (error.ndim - 1,)
        for what, axes in places.items():
            count = math.prod(error.shape[axis] for axis in axes)
            centred = self.array - self.array.mean(axis=axes, keepdims=True)
            std = centred.std(axis=axes, keepdims=True)
            z = centred / np.where(std > 0, std, 1)
            a = np.broadcast_to(error.mean(axis=axes, keepdims=True), error.shape)
            bz = (error * z).mean(axis=axes, keepdims=True) * z
            if count > 1 and difference(error, a) <= FIT:
                if pixels and what == "the batch":
                    return "the error is the same for all samples and pixels of a channel: - mean(grad) is missing"
                return f"the error is constant along {what}: it misses the part that goes through the mean over {what}"
            if count > 2 and difference(error, bz) <= FIT:
                return f"the error is proportional to x - mean over {what}: the part through the variance is missing"
            if count > 2 and difference(error, a + bz) <= FIT:
                return f"the error is a + b x along {what}: the parts through mean and variance are missing"
        return ""
