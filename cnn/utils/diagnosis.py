"""The likely cause of a wrong gradient: common mistakes, each compared with the actual error."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from cnn.module import Array
from cnn.utils.numeric import FiniteDifferences, difference, finite_differences

MATCH_TOLERANCE = 1e-4  # a mistake explains a gradient if it predicts it up to this max|a - b| / max|b|
KINK_THRESHOLD = 1e-3  # at a kink, forward and backward differences differ by more than this times the largest slope


class GradientDiagnosis:
    """The search for the likely cause of a wrong gradient of one array.

    Parameters
    ----------
    name : str
        The name of the array in messages: x, prediction, or the name of a parameter.
    outputs : callable
        () -> the outputs of the module, each times its gradient.
    array : ndarray
        The array to perturb; ``outputs`` reads it.
    expected : FiniteDifferences
        The finite differences of the sum of the outputs.
    is_input : bool
        Whether the first axis of the array is the batch axis.
    samples : int
        The batch size.
    step : float
        Size of the perturbation of each element.
    ignores_grad : bool
        Whether backward returns the same for another gradient of the output.
    """

    def __init__(
        self,
        name: str,
        outputs: Callable[[], Array],
        array: Array,
        expected: FiniteDifferences,
        is_input: bool,
        samples: int,
        step: float,
        ignores_grad: bool = False,
    ) -> None:
        self.name, self.outputs, self.array, self.expected = name, outputs, array, expected
        self.is_input, self.samples, self.step, self.ignores_grad = is_input, samples, step, ignores_grad

    def cause(self, found: Array) -> str:
        """Describe the mistake that explains the gradient, or return an empty string."""
        if not np.isfinite(found).all():
            return "it contains NaN or infinity"
        if not found.any():
            return "it is zero everywhere"
        if self.ignores_grad:
            return "it does not depend on grad: backward must multiply by grad"
        return self._factor(found) or self._axes(found) or self._one_sample(found) or self._normalisation(found)

    def where(self, found: Array, tolerance: float) -> str:
        """Describe which elements are wrong."""
        wrong = self._wrong(found, tolerance)
        count = int(wrong.sum())
        text = f"at {'all' if count == wrong.size else f'{count} of'} {wrong.size} elements"
        for sign, mask in (("<", self.array < 0), (">", self.array > 0)):
            if 1 < count < wrong.size and not mask.all() and mask[wrong].all():
                return f"{text}, all where {self.name} {sign} 0"
        return text

    def _wrong(self, found: Array, tolerance: float) -> Array:
        expected = self.expected.central
        return np.asarray(~(np.abs(found - expected) <= tolerance * (np.abs(expected).max() or 1)))

    def shape(self, found: Array) -> str:
        """Explain a gradient with the wrong shape."""
        expected = self.expected.central
        shapes = f"it has shape {found.shape}, not {expected.shape}"
        if found.shape[1:] == expected.shape and found.shape[:1] == (self.samples,):
            return f"{shapes}: it is not summed over the batch (axis 0)"
        if found.size == expected.size and difference(found.reshape(expected.shape), expected) <= MATCH_TOLERANCE:
            sizes, expected_sizes = ([n for n in shape if n != 1] for shape in (found.shape, expected.shape))
            keeps_dims = sizes == expected_sizes and found.ndim > expected.ndim
            return f"{shapes}: {'sum without keepdims' if keeps_dims else f'reshape it to {expected.shape}'}"
        if sorted(found.shape) == sorted(expected.shape) and (wrong_axes := self._axes(found)):
            return f"{shapes}: {wrong_axes}"
        return shapes

    # Kinks

    def kink(self, found: Array, tolerance: float) -> tuple[bool, str]:
        """Explain errors that are all at kinks: -> (whether the correct gradient is undefined there, message)."""
        kinks = np.abs(self.expected.jump) > KINK_THRESHOLD * (np.abs(self.expected.central).max() or 1)
        if not kinks.any() or np.any(~kinks & self._wrong(found, tolerance)):
            return False, ""
        at = [tuple(map(int, index)) for index in np.argwhere(kinks)]
        for first in at[:8]:
            if tie := self._tie(found, first, at):
                return False, tie
        return True, (
            f"it cannot be checked at this point: {self.name} is at a kink at {list(at[0])}: change it, for example "
            f"{self.name} + 0.1 * np.random.default_rng(0).normal(size={self.array.shape})"
        )

    def _tie(self, found: Array, first: tuple[int, ...], kinks: list[tuple[int, ...]]) -> str:
        """Find the elements of a window that tie with ``first``, and check whether their gradients are too large."""
        forward = self.expected.central + self.expected.jump / 2
        scale = np.abs(forward).max()
        window = [first]
        for other in kinks:
            if other != first and self.array[other] == self.array[first]:
                both = self._joint_differences([first, other])
                if abs(both.central + both.jump / 2 - forward[first] - forward[other]).item() > KINK_THRESHOLD * scale:
                    window.append(other)
        joint = self._joint_differences(window)
        gradients, total = [float(found[at]) for at in window], joint.central.item()
        smooth = abs(joint.jump.item()) <= KINK_THRESHOLD * scale
        if len(window) == 1 or not smooth or abs(sum(gradients) - total) <= MATCH_TOLERANCE * scale:
            return ""
        return (
            f"tied values in a window, at {' and '.join(str(list(at)) for at in window)}, get "
            f"{' + '.join(f'{value:.4g}' for value in gradients)} instead of {total:.4g} in total: only the first "
            "should get it"
        )

    def _joint_differences(self, indices: list[tuple[int, ...]]) -> FiniteDifferences:
        """Perturb several elements by the same amount."""
        before, shift, at = self.array.copy(), np.zeros(1), tuple(np.transpose(indices))

        def function() -> float:
            self.array[at] = before[at] + shift[0]
            try:
                return float(self.outputs().sum())
            finally:
                self.array[...] = before

        return finite_differences(function, shift, self.step)

    # Mistakes

    def _factor(self, found: Array) -> str:
        expected = self.expected.central
        factor = float(np.sum(found * expected) / max(np.sum(expected * expected), np.finfo(float).tiny))
        if factor == 0 or difference(found, factor * expected) > MATCH_TOLERANCE:
            return ""
        n, size, is_loss = self.samples, self.array.size, self.name == "prediction"
        counts = {"N": n, f"{self.name}.size": size}
        if self.is_input:
            counts["values per sample"] = size // n
        if not is_loss:
            counts["grad.size"] = self.outputs().size
        for name, count in counts.items():
            alternative = ", or the factor is wrong" if count == 2 else ""
            if count > 1 and math.isclose(factor, count, rel_tol=MATCH_TOLERANCE):
                reason = "a sum that should be a mean" if is_loss else f"multiplied by {name} once too often"
                return f"it is {name} = {count} times the correct gradient: {reason}{alternative}"
            if count > 1 and math.isclose(factor, 1 / count, rel_tol=MATCH_TOLERANCE):
                reason = f"divided by {name}: the loss has already divided, a layer only sums"
                reason = "a mean that should be a sum" if is_loss else reason
                denominator = f"({name})" if " " in name else name
                return f"it is 1/{denominator} = 1/{count} times the correct gradient: {reason}{alternative}"
        is_negated = math.isclose(factor, -1, rel_tol=MATCH_TOLERANCE)
        reason = "the sign is wrong" if is_negated else "a constant factor is wrong"
        number = "1/2" if math.isclose(factor, 0.5, rel_tol=MATCH_TOLERANCE) else f"{factor:.4g}"
        return f"it is {number} times the correct gradient: {reason}"

    def _axes(self, found: Array) -> str:
        """Try permuted axes, and a kernel that is rotated by 180 degrees."""
        expected = self.expected.central
        for axes in itertools.permutations(range(expected.ndim)):
            permuted = expected.transpose(axes)
            if axes == tuple(range(expected.ndim)) or permuted.shape != found.shape:
                continue
            if difference(found, permuted) <= MATCH_TOLERANCE:
                order = "" if expected.ndim == 2 else f" (its axes are in the order {axes})"
                return f"it is transposed{order}"
        if expected.ndim >= 3 and difference(found, expected[..., ::-1, ::-1]) <= MATCH_TOLERANCE:
            return "its last two axes are rotated by 180 degrees"
        return ""

    def _one_sample(self, found: Array) -> str:
        """Try the gradients of single samples."""
        shape = self.outputs().shape
        if self.is_input or not shape or shape[0] != self.samples or self.samples < 2:
            return ""
        for sample in (0, self.samples - 1):

            def its_output(sample: int = sample) -> float:
                return float(self.outputs()[sample].sum())

            if difference(found, finite_differences(its_output, self.array, self.step).central) <= MATCH_TOLERANCE:
                return f"it is the gradient of sample {sample} only: it is not summed over the batch"
        return ""

    def _normalisation(self, found: Array) -> str:
        """Try errors a + b z with a and b constant over the axes of a normalisation, and z its normalised values."""
        error = found - self.expected.central
        if not self.is_input or error.ndim < 2:
            return ""
        pixels = tuple(range(2, error.ndim))
        axes_by_name = {"the batch": (0, *pixels), "each sample": tuple(range(1, error.ndim))}
        axes_by_name |= {"the pixels of each channel": pixels} if error.ndim > 3 else {}
        axes_by_name["the last axis"] = (error.ndim - 1,)
        for name, axes in axes_by_name.items():
            count = math.prod(error.shape[axis] for axis in axes)
            centred = self.array - self.array.mean(axis=axes, keepdims=True)
            std = centred.std(axis=axes, keepdims=True)
            z = centred / np.where(std > 0, std, 1)
            a = np.broadcast_to(error.mean(axis=axes, keepdims=True), error.shape)
            bz = (error * z).mean(axis=axes, keepdims=True) * z
            if count > 1 and difference(error, a) <= MATCH_TOLERANCE:
                if pixels and name == "the batch":
                    return "the error is the same for all samples and pixels of a channel: - mean(grad) is missing"
                return f"the error is constant along {name}: the term through the mean over {name} is missing"
            if count > 2 and difference(error, bz) <= MATCH_TOLERANCE:
                return f"the error is proportional to x - mean over {name}: the term through the variance is missing"
            if count > 2 and difference(error, a + bz) <= MATCH_TOLERANCE:
                return f"the error is a + b x along {name}: the terms through mean and variance are missing"
        return ""
