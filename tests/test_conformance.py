"""Every layer passes every check; and every check can fail, which deliberately broken layers show."""

import numpy as np
import pytest

from cnn import Module, Parameter
from cnn.core.checks import check_grad, check_input
from cnn.errors import InputError
from cnn.utils.gradcheck import gradcheck
from tests.conformance import CASES, CHECKS, WITHOUT_MEANING, draw, failures, has_meaning

RUNS = [
    pytest.param(make, shape, check, id=f"{type(make()).__name__}{i}-{check.__name__}")
    for i, (make, shape) in enumerate(CASES)
    for check in CHECKS
    if has_meaning(check, make)
]


@pytest.mark.parametrize(("make", "shape", "check"), RUNS)
def test_layer(make, shape, check):
    check(make, shape)


def test_only_batches_of_none_and_one_are_left_out_and_only_of_two_layers():
    left_out = {(type(make()).__name__, c.__name__) for make, _ in CASES for c in CHECKS if not has_meaning(c, make)}
    assert {check for _, check in left_out} == set(WITHOUT_MEANING)
    assert {layer for layer, _ in left_out} == {"BatchNorm1d", "BatchNorm2d"}
    for layer in ("BatchNorm1d", "BatchNorm2d"):  # in evaluation they are asked
        assert any(layer in run.id and "batch_of_none" in run.id for run in RUNS)


class Sound(Module):
    """y = x w with a square w, all right. The layers below change one line each."""

    def __init__(self, size=3):
        self.size = size
        self.weight = Parameter(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32))

    def forward(self, x):
        """(N, D) -> (N, D)"""
        check_input(x, self.weight.dtype)
        self.save_for_backward(x)
        return self.output(x)

    def backward(self, grad):
        """(N, D) -> (N, D)"""
        (x,) = self.saved()
        check_grad(self, grad, x.shape, x.dtype)
        self.weight.accumulate_grad(self.weight_grad(x, grad))
        return self.input_grad(grad)

    def output(self, x):
        return x @ self.weight.data

    def weight_grad(self, x, grad):
        return x.T @ grad

    def input_grad(self, grad):
        return grad @ self.weight.data.T


class TransposedWeightGradient(Sound):
    def weight_grad(self, x, grad):
        return grad.T @ x


class NoSumOverTheBatch(Sound):
    def weight_grad(self, x, grad):
        return np.outer(x[0], grad[0]) if len(x) else 0 * self.weight.data


class GradientTimesN(Sound):
    def weight_grad(self, x, grad):
        return len(x) * (x.T @ grad)


class NoInputGradient(Sound):
    def input_grad(self, grad):
        return np.zeros_like(grad)


class TransposedInputGradient(Sound):
    def input_grad(self, grad):
        return grad @ self.weight.data


class WritesIntoInput(Sound):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        check_input(x, self.weight.dtype)
        x *= 2
        self.save_for_backward(x)
        return x @ self.weight.data / 2


class WritesIntoGradient(Sound):
    def input_grad(self, grad):
        grad[...] = grad @ self.weight.data.T
        return grad


class ReusesItsOutput(Sound):
    def output(self, x):
        if not hasattr(self, "buffer") or self.buffer.shape != x.shape or self.buffer.dtype != x.dtype:
            self.buffer = np.empty(x.shape, x.dtype)
        return np.matmul(x, self.weight.data, out=self.buffer)


class OverwritesWeightGradient(Sound):
    def backward(self, grad):
        """(N, D) -> (N, D)"""
        self.weight.grad = None
        return super().backward(grad)


class KeepsItsInputItself(Sound):
    """Forgets to use the slot: a second backward doubles silently, and memory is never given back."""

    def save_for_backward(self, x):
        self.kept = x

    def saved(self):
        return (self.kept,)


class SavesInTrainingAlone(Sound):
    def save_for_backward(self, x):
        if self.training:
            super().save_for_backward(x)


class SavesInsideNoGrad(Sound):
    def save_for_backward(self, x):
        self._saved = (x,)


class Promotes(Sound):
    def output(self, x):
        return x @ self.weight.data * np.float64(1)


class ReadsMemoryOrder(Sound):
    def output(self, x):
        return x.ravel(order="K").reshape(x.shape) @ self.weight.data


class MeanOverTheBatch(Sound):
    def output(self, x):
        return (x - x.mean(axis=0) if len(x) else x) @ self.weight.data

    def weight_grad(self, x, grad):
        return (x - x.mean(axis=0)).T @ grad if len(x) else 0 * self.weight.data

    def input_grad(self, grad):
        grad = grad @ self.weight.data.T
        return grad - grad.mean(axis=0) if len(grad) else grad


class TakesAnything(Sound):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        x = np.asarray(x, self.weight.dtype)
        self.save_for_backward(x)
        return self.output(x)


class TakesAnyGradient(Sound):
    def backward(self, grad):
        """(N, D) -> (N, D)"""
        (x,) = self.saved()
        grad = np.zeros_like(x) if grad is None else np.resize(grad, x.shape).astype(x.dtype)
        self.weight.accumulate_grad(self.weight_grad(x, grad))
        return self.input_grad(grad)


class WrongArrow(Sound):
    def forward(self, x):
        """(N, C, H, W) -> (N, K)"""
        return super().forward(x)


class NeedsASample(Sound):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        if hasattr(x, "shape") and len(x) == 0:
            raise InputError("nothing there")
        return super().forward(x)


class ForgetsArgument(Sound):
    def __init__(self, width=3):
        super().__init__(width)


class HidesANumber(Sound):
    """A number that the output depends on is no Buffer, so it is not saved."""

    count = 0

    def __init__(self, size=3):
        super().__init__(size)
        HidesANumber.count += 1
        self.number = HidesANumber.count

    def output(self, x):
        return super().output(x) * self.number


def test_a_sound_layer_fails_nothing():
    assert failures(Sound, (4, 3)) == set()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (TransposedWeightGradient, "numeric_gradients"),
        (NoSumOverTheBatch, "numeric_gradients"),
        (GradientTimesN, "numeric_gradients"),
        (NoInputGradient, "numeric_gradients"),
        (TransposedInputGradient, "numeric_gradients"),
        (WritesIntoInput, "given_arrays_untouched"),
        (WritesIntoGradient, "given_arrays_untouched"),
        (ReusesItsOutput, "outputs_untouched"),
        (OverwritesWeightGradient, "gradients_accumulate"),
        (KeepsItsInputItself, "saved_state_emptied"),
        (KeepsItsInputItself, "second_backward_raises"),
        (KeepsItsInputItself, "backward_alone_raises"),
        (SavesInTrainingAlone, "saved_state_emptied"),
        (SavesInsideNoGrad, "no_grad_keeps_nothing"),
        (Promotes, "dtype_kept"),
        (ReadsMemoryOrder, "memory_layout_is_invisible"),
        (MeanOverTheBatch, "batch_of_one"),
        (NeedsASample, "batch_of_none"),
        (TakesAnything, "wrong_dtype_raises"),
        (TakesAnyGradient, "wrong_gradient_raises"),
        (WrongArrow, "shape_arrow"),
        (ForgetsArgument, "repr_evaluates"),
        (HidesANumber, "state_round_trip"),
    ],
)
def test_a_broken_layer_is_found(broken, check):
    assert check in failures(broken, (4, 3))


def test_every_check_is_shown_to_fail_above():
    named = {check for _, check in test_a_broken_layer_is_found.pytestmark[0].args[1]}
    assert named == {check.__name__ for check in CHECKS}


def test_gradcheck_returns_the_error_and_leaves_the_layer_alone():
    layer = Sound()
    weight = layer.weight.data.copy()
    assert 0 <= gradcheck(layer, draw((2, 3))) <= 1e-6
    assert layer.weight.dtype == np.float32
    assert layer.weight.grad is None
    np.testing.assert_array_equal(layer.weight.data, weight)


@pytest.mark.parametrize(("broken", "name"), [(TransposedWeightGradient, "weight"), (NoInputGradient, "the input")])
def test_gradcheck_names_the_array(broken, name):
    with pytest.raises(AssertionError, match=f"the gradient of {name} is off"):
        gradcheck(broken(), draw((2, 3)))
