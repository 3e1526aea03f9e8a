import numpy as np
import pytest

from cnn import Parameter, Sequential
from cnn.layers import Linear, Tanh
from cnn.loss import MSELoss
from cnn.optim import Adam, Optimizer


class GradientDescent(Optimizer):
    def update(self, parameter, grad, state):
        parameter.data -= self.lr * grad
        state["t"] = state.get("t", 0) + 1


def with_grad(values):
    parameter = Parameter(values)
    parameter.accumulate_grad(np.ones(parameter.shape, parameter.dtype))
    return parameter


def test_step_updates_parameters_with_a_gradient_and_keeps_a_state_for_each():
    trained, other = with_grad([1.0]), Parameter([1.0])
    optimizer = GradientDescent([trained, other], lr=0.25)
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal([trained.data[0], other.data[0]], [0.5, 1])
    assert optimizer._state == [{"t": 2}, {}]


def test_step_without_any_gradient_is_an_error():
    with pytest.raises(RuntimeError, match="found no gradient: call backward before step"):
        GradientDescent([Parameter([1.0])]).step()


def test_zero_grad():
    parameter = with_grad([1.0])
    GradientDescent([parameter]).zero_grad()
    assert parameter.grad is None


def test_a_sequential_passes_its_parameters():
    optimizer = Adam()
    model = Sequential([Linear(2, 3), Tanh(), Linear(3, 1)], loss_func=MSELoss(), optimizer=optimizer)
    assert [id(p) for p in optimizer.params] == [id(p) for p in model.parameters()]


def test_a_sequential_does_not_change_an_optimizer_with_parameters():
    """So part of a model can be trained alone."""
    layers = [Linear(2, 3), Tanh(), Linear(3, 1)]
    before = layers[0].weight.data.copy()
    model = Sequential(layers, loss_func=MSELoss(), optimizer=Adam(layers[2].parameters()))
    model.train_step(np.ones((2, 2), np.float32), np.ones((2, 1)))
    np.testing.assert_array_equal(layers[0].weight.data, before)


def test_params_are_parameters():
    with pytest.raises(TypeError, match=r"pass model.parameters\(\)"):
        Adam([np.ones(2)])


@pytest.mark.parametrize("lr", [-1e-3, float("nan"), float("inf")])
def test_lr_is_at_least_zero(lr):
    with pytest.raises(ValueError, match="lr must be a finite number of at least 0"):
        Adam(lr=lr)
