"""Every layer passes every check; deliberately broken layers show that every check can fail."""

import numpy as np
import pytest

from cnn import Module, Parameter
from cnn.core.checks import check_grad, check_input
from cnn.errors import InputError
from cnn.utils.gradcheck import gradcheck
from tests.conformance import CASES, CHECKS, NOT_APPLICABLE, applies, draw, failures

RUNS = [
    pytest.param(make, shape, check, id=f"{type(make()).__name__}{i}-{check.__name__}")
    for i, (make, shape) in enumerate(CASES)
    for check in CHECKS
    if applies(check, make)
]


@pytest.mark.parametrize(("make", "shape", "check"), RUNS)
def test_layer(make, shape, check):
    check(make, shape)


def test_only_the_checks_of_empty_and_single_sample_batches_are_skipped_and_only_for_two_layers():
    skipped = {(type(make()).__name__, c.__name__) for make, _ in CASES for c in CHECKS if not applies(c, make)}
    assert {check for _, check in skipped} == set(NOT_APPLICABLE)
    assert {layer for layer, _ in skipped} == {"BatchNorm1d", "BatchNorm2d"}
    for layer in ("BatchNorm1d", "BatchNorm2d"):  # in evaluation the checks apply to them
        assert any(layer in run.id and "empty_batch" in run.id for run in RUNS)


class Correct(Module):
    """y = x w with a square w, implemented correctly. Each layer below changes it in one point."""

    def __init__(self, size=3):
        self.size = size
        self.weight = Parameter(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32))

    def forward(self, x):
        """(N, D) -> (N, D)"""
        x = check_input(x, self.weight.dtype)
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


class TransposedWeightGradient(Correct):
    def weight_grad(self, x, grad):
        return grad.T @ x


class NoSumOverTheBatch(Correct):
    def weight_grad(self, x, grad):
        return np.outer(x[0], grad[0]) if len(x) else 0 * self.weight.data


class GradientTimesN(Correct):
    def weight_grad(self, x, grad):
        return len(x) * (x.T @ grad)


class NoInputGradient(Correct):
    def input_grad(self, grad):
        return np.zeros_like(grad)


class TransposedInputGradient(Correct):
    def input_grad(self, grad):
        return grad @ self.weight.data


class WritesIntoInput(Correct):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        x = check_input(x, self.weight.dtype)
        x *= 2
        self.save_for_backward(x)
        return x @ self.weight.data / 2


class WritesIntoGradient(Correct):
    def input_grad(self, grad):
        grad[...] = grad @ self.weight.data.T
        return grad


class ReusesItsOutput(Correct):
    def output(self, x):
        if not hasattr(self, "buffer") or self.buffer.shape != x.shape or self.buffer.dtype != x.dtype:
            self.buffer = np.empty(x.shape, x.dtype)
        return np.matmul(x, self.weight.data, out=self.buffer)


class OverwritesWeightGradient(Correct):
    def backward(self, grad):
        """(N, D) -> (N, D)"""
        self.weight.grad = None
        return super().backward(grad)


class SavesItsInputInAnAttribute(Correct):
    """Does not use save_for_backward: a second backward doubles gradients silently, and memory is never released."""

    def save_for_backward(self, x):
        self.kept = x

    def saved(self):
        return (self.kept,)


class SavesOnlyInTraining(Correct):
    def save_for_backward(self, x):
        if self.training:
            super().save_for_backward(x)


class SavesInsideNoGrad(Correct):
    def save_for_backward(self, x):
        self._saved = (x,)


class Promotes(Correct):
    def output(self, x):
        return x @ self.weight.data * np.float64(1)


class WorksInFloat16(Correct):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        check_input(x, self.weight.dtype)
        self.save_for_backward(x)
        return self.output(x)


class ReadsMemoryOrder(Correct):
    def output(self, x):
        return x.ravel(order="K").reshape(x.shape) @ self.weight.data


class MeanOverTheBatch(Correct):
    def output(self, x):
        return (x - x.mean(axis=0) if len(x) else x) @ self.weight.data

    def weight_grad(self, x, grad):
        return (x - x.mean(axis=0)).T @ grad if len(x) else 0 * self.weight.data

    def input_grad(self, grad):
        grad = grad @ self.weight.data.T
        return grad - grad.mean(axis=0) if len(grad) else grad


class AcceptsAnyInput(Correct):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        x = np.asarray(x, self.weight.dtype)
        self.save_for_backward(x)
        return self.output(x)


class AcceptsAnyGradient(Correct):
    def backward(self, grad):
        """(N, D) -> (N, D)"""
        (x,) = self.saved()
        grad = np.zeros_like(x) if grad is None else np.resize(grad, x.shape).astype(x.dtype)
        self.weight.accumulate_grad(self.weight_grad(x, grad))
        return self.input_grad(grad)


class WrongShapesInDocstring(Correct):
    def forward(self, x):
        """(N, C, H, W) -> (N, K)"""
        return super().forward(x)


class FailsOnEmptyBatch(Correct):
    def forward(self, x):
        """(N, D) -> (N, D)"""
        if hasattr(x, "shape") and len(x) == 0:
            raise InputError("empty")
        return super().forward(x)


class ForgetsArgument(Correct):
    def __init__(self, width=3):
        super().__init__(width)


class HidesState(Correct):
    """A number that the output depends on is not a Buffer, so it is not saved."""

    count = 0

    def __init__(self, size=3):
        super().__init__(size)
        HidesState.count += 1
        self.number = HidesState.count

    def output(self, x):
        return super().output(x) * self.number


def test_a_correct_layer_fails_no_check():
    assert failures(Correct, (4, 3)) == set()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (TransposedWeightGradient, "numeric_gradients"),
        (NoSumOverTheBatch, "numeric_gradients"),
        (GradientTimesN, "numeric_gradients"),
        (NoInputGradient, "numeric_gradients"),
        (TransposedInputGradient, "numeric_gradients"),
        (WritesIntoInput, "inputs_not_modified"),
        (WritesIntoGradient, "inputs_not_modified"),
        (ReusesItsOutput, "outputs_not_modified"),
        (OverwritesWeightGradient, "gradients_accumulate"),
        (SavesItsInputInAnAttribute, "saved_state_emptied"),
        (SavesItsInputInAnAttribute, "second_backward_raises"),
        (SavesItsInputInAnAttribute, "backward_alone_raises"),
        (SavesOnlyInTraining, "saved_state_emptied"),
        (SavesInsideNoGrad, "no_grad_saves_nothing"),
        (Promotes, "dtype_kept"),
        (WorksInFloat16, "float16_is_widened"),
        (ReadsMemoryOrder, "memory_layout_makes_no_difference"),
        (MeanOverTheBatch, "batch_of_one"),
        (FailsOnEmptyBatch, "empty_batch"),
        (AcceptsAnyInput, "wrong_dtype_raises"),
        (AcceptsAnyGradient, "wrong_gradient_raises"),
        (WrongShapesInDocstring, "shape_arrow"),
        (ForgetsArgument, "repr_evaluates"),
        (HidesState, "state_round_trip"),
    ],
)
def test_a_broken_layer_fails_the_check(broken, check):
    assert check in failures(broken, (4, 3))


def test_every_check_fails_for_a_broken_layer_above():
    named = {check for _, check in test_a_broken_layer_fails_the_check.pytestmark[0].args[1]}
    assert named == {check.__name__ for check in CHECKS}


def test_gradcheck_returns_the_error_and_leaves_the_layer_unchanged():
    layer = Correct()
    weight = layer.weight.data.copy()
    assert 0 <= gradcheck(layer, draw((2, 3))) <= 1e-6
    assert layer.weight.dtype == np.float32
    assert layer.weight.grad is None
    np.testing.assert_array_equal(layer.weight.data, weight)


@pytest.mark.parametrize(("broken", "name"), [(TransposedWeightGradient, "weight"), (NoInputGradient, "the input")])
def test_gradcheck_names_the_array(broken, name):
    with pytest.raises(AssertionError, match=f"the gradient of {name} is off"):
        gradcheck(broken(), draw((2, 3)))
