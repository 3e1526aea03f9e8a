"""Moments that fade away become zero instead of denormal, and nothing else changes."""

import copy

import numpy as np
import pytest

from cnn.module import Parameter
from cnn.optim import SGD, Adagrad, Adam, AdamW, Muon, NAdam, Optimizer, RMSprop
from cnn.optim.denormals import EVERY, flush_denormals
from cnn.optim.state import ARRAY

TINY = np.finfo(np.float32).tiny
FADING = [
    Adam(lr=0.01),
    AdamW(lr=0.01),
    NAdam(lr=0.01),
    SGD(lr=0.01, momentum=0.9),
    SGD(lr=0.01, momentum=0.9, nesterov=True),
    RMSprop(lr=0.01, centered=True, momentum=0.9),
    Adagrad(lr=0.01),
    Muon(lr=0.01),
]


def trained(optimizer, steps, grads=None):
    """A parameter after steps with these gradients, or zeros, and the optimizer."""
    parameter = Parameter(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))
    optimizer = copy.deepcopy(optimizer)
    optimizer.set_params([parameter])
    run(optimizer, parameter, steps, grads)
    return parameter, optimizer


def run(optimizer, parameter, steps, grads=None):
    for step in range(steps):
        parameter.grad = np.zeros((3, 4), np.float32) if grads is None else grads[step]
        optimizer.step()


def arrays(optimizer):
    return {name: value for name, value in optimizer.state_dict()["memory"][0].items() if isinstance(value, np.ndarray)}


@pytest.mark.kernels
@pytest.mark.parametrize("optimizer", FADING, ids=repr)
def test_denormal_moments_become_zero_and_others_keep_their_bits(optimizer):
    grads = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    parameter, optimizer = trained(optimizer, 1, grads)
    state = optimizer.state_dict()
    for value in state["memory"][0].values():
        if isinstance(value, np.ndarray):
            value[0] = [1e-40, 3e-39, 0, 1e-45]
    ends = {}
    for steps in (0, EVERY - 1):
        optimizer.load_state_dict(state | {"steps": steps})
        parameter.data = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
        run(optimizer, parameter, 1)
        ends[steps] = arrays(optimizer) | {"weight": parameter.data}
    for name, kept in ends[0].items():
        flushed = ends[EVERY - 1][name]
        is_denormal = (np.abs(kept) < TINY) & (kept != 0)
        assert name == "weight" or is_denormal.any()
        assert (flushed[is_denormal] == 0).all() or name == "weight"
        np.testing.assert_array_equal(np.where(is_denormal, 0, flushed), np.where(is_denormal, 0, kept))


@pytest.mark.kernels
@pytest.mark.parametrize("optimizer", FADING, ids=repr)
def test_after_a_long_time_without_gradients_none_is_denormal(optimizer):
    gradients = np.zeros((1500, 3, 4), np.float32)
    gradients[0] = np.linspace(-1e-18, 1e-18, 12).reshape(3, 4)
    _, optimizer = trained(optimizer, 1500 // EVERY * EVERY, gradients)
    for value in arrays(optimizer).values():
        assert ((value == 0) | (np.abs(value) >= TINY)).all()


@pytest.mark.parametrize("optimizer", FADING, ids=repr)
def test_a_saved_optimizer_goes_on_with_the_same_bits(optimizer):
    grads = np.random.default_rng(0).normal(size=(60, 3, 4)).astype(np.float32) * np.float32(1e-19)
    unbroken, first = trained(optimizer, 60, grads)
    parameter, other = trained(optimizer, 23, grads)
    assert other.state_dict()["steps"] == 23
    resumed = copy.deepcopy(optimizer)
    resumed.set_params([parameter])
    resumed.load_state_dict(other.state_dict())
    run(resumed, parameter, 37, grads[23:])
    np.testing.assert_array_equal(parameter.data, unbroken.data)
    for name, value in arrays(first).items():
        np.testing.assert_array_equal(arrays(resumed)[name], value)


def test_a_state_of_an_earlier_version_has_no_number_of_steps():
    _, optimizer = trained(Adam(), 3)
    state = optimizer.state_dict()
    del state["steps"]
    optimizer.load_state_dict(state)
    assert optimizer.state_dict()["steps"] == 0
    with pytest.raises(ValueError, match="steps must be"):
        optimizer.load_state_dict(state | {"steps": -1})


def test_groups_are_flushed_at_the_steps_of_the_optimizer():
    parameters = [Parameter(np.ones(3, np.float32)) for _ in range(2)]
    optimizer = SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.2), strict=True)], momentum=0.9)
    for step in range(EVERY):
        for parameter in parameters:
            parameter.grad = np.full(3, 1e-40 if step == 0 else 0, np.float32)
        optimizer.step()
    for group in optimizer.param_groups:
        assert (group._state[0]["b"] == 0).all()


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9)], ids=repr)
def test_a_parameter_that_is_trained_in_every_other_step_is_flushed_too(optimizer):
    parameters = [Parameter(np.ones(3, np.float32)) for _ in range(2)]
    optimizer = copy.deepcopy(optimizer)
    optimizer.set_params(parameters)
    for step in range(EVERY):
        optimizer.zero_grad()
        parameters[step % 2].grad = np.full(3, 1e-39 if step < 2 else 0, np.float32)
        optimizer.step()
    for memory in optimizer.state_dict()["memory"]:
        assert (memory["m" if "m" in memory else "b"] == 0).all()


def test_the_state_of_an_optimizer_of_a_user_stays_as_it_is():
    class Keeping(Optimizer):
        def update(self, parameter, grad, state):
            state["smallest"] = np.full(2, 1e-45, np.float32)

    parameter = Parameter(np.ones(2, np.float32))
    optimizer = Keeping([parameter])
    for _ in range(EVERY):
        parameter.grad = np.ones(2, np.float32)
        optimizer.step()
    assert (optimizer._state[0]["smallest"] > 0).all()


def test_what_a_subclass_keeps_beside_it_stays_as_it_is():
    class Counting(SGD):
        def update_all(self, parameters, grads, states):
            super().update_all(parameters, grads, states)
            states[0]["mine"] = np.full(2, 1e-45, np.float32)

    parameter = Parameter(np.ones(2, np.float32))
    optimizer = Counting([parameter], momentum=0.9)
    for _ in range(EVERY):
        parameter.grad = np.ones(2, np.float32)
        optimizer.step()
    assert (optimizer._state[0]["mine"] > 0).all()


def test_infinity_and_the_sign_of_zero_stay():
    values = np.array([np.inf, -0.0, 0.0, -1e-40], np.float32)
    flush_denormals([{"v": values}], {"v": ARRAY})
    assert values.tolist() == [np.inf, 0, 0, 0]
    assert np.signbit(values).tolist() == [False, True, False, True]
