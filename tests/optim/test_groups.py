import copy

import numpy as np
import pytest

from cnn import Parameter, Sequential
from cnn.layers import Linear, ReLU
from cnn.loss import MSELoss
from cnn.optim import SGD, Adam, AdamW, Optimizer, decay_groups


class GradientDescent(Optimizer):
    def update(self, parameter, grad, state):
        parameter.data -= self.lr * grad


class Shrinking(Optimizer):
    """Calls super().__init__ before it sets its own setting."""

    def __init__(self, params=None, lr=0.1, fraction=0.5):
        super().__init__(params, lr)
        self.fraction = fraction

    def update(self, parameter, grad, state):
        parameter.data *= self.fraction


def with_grad(values):
    parameter = Parameter(values)
    parameter.accumulate_grad(np.ones(parameter.shape, parameter.dtype))
    return parameter


def test_without_groups_the_optimizer_is_the_group():
    optimizer = Adam([Parameter([1.0])], lr=0.5)
    assert optimizer.param_groups == [optimizer]
    optimizer.param_groups[0]["lr"] = 0.25
    assert optimizer.lr == 0.25
    assert optimizer["betas"] == (0.9, 0.999)


def test_update_reads_the_settings_of_the_group():
    a, b, c = (with_grad([1.0]) for _ in range(3))
    optimizer = GradientDescent([{"params": [a, b], "lr": 0.5}, {"params": iter([c])}], lr=0.25)
    optimizer.step()
    assert [p.data[0] for p in (a, b, c)] == [0.5, 0.5, 0.75]
    assert [id(p) for p in optimizer.params] == [id(a), id(b), id(c)]
    optimizer.zero_grad()
    assert c.grad is None


def test_settings_reach_the_groups_that_have_none_of_their_own():
    optimizer = AdamW([{"params": [Parameter([1.0])], "lr": 0.5}, {"params": [Parameter([1.0])], "weight_decay": 0.0}])
    optimizer.lr = 0.25
    optimizer.weight_decay = 0.125
    assert [group.lr for group in optimizer.param_groups] == [0.5, 0.25]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.125, 0]


def test_a_rate_set_on_the_optimizer_replaces_one_set_in_a_group():
    """As a schedule sets it; only a rate that the group was given at its creation stays."""
    optimizer = SGD([{"params": [Parameter([1.0])]}, {"params": [Parameter([1.0])], "lr": 0.5}], lr=0.25)
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    assert [group.lr for group in optimizer.param_groups] == [0.125, 0.25]
    assert optimizer.lr == 0.125
    optimizer.lr = 1.0
    assert [group.lr for group in optimizer.param_groups] == [1.0, 0.25]


def test_a_setting_assigned_after_super_init():
    a, b = with_grad([1.0]), with_grad([1.0])
    Shrinking([{"params": [a]}, {"params": [b], "fraction": 0.25}], fraction=0.75).step()
    assert [a.data[0], b.data[0]] == [0.75, 0.25]


def test_reset_clears_every_group():
    a, b = with_grad([1.0]), with_grad([1.0])
    optimizer = SGD([{"params": [a]}, {"params": [b]}], lr=1.0, momentum=0.5)
    optimizer.step()
    optimizer.reset()
    optimizer.step()
    assert [a.data[0], b.data[0]] == [-1, -1]


def test_a_copy_has_its_own_groups():
    optimizer = SGD([{"params": [Parameter([1.0])]}], lr=0.5)
    copied = copy.deepcopy(optimizer)
    copied.lr = 0.25
    assert [optimizer.param_groups[0].lr, copied.param_groups[0].lr] == [0.5, 0.25]


def test_a_sequential_trains_groups():
    layers = [Linear(2, 3, rng=0), ReLU(), Linear(3, 1, rng=1)]
    before = [p.data.copy() for layer in layers for p in layer.parameters()]
    groups = [{"params": layers[0].parameters(), "lr": 0.0}, {"params": layers[2].parameters()}]
    model = Sequential(layers, loss_func=MSELoss(), optimizer=Adam(groups, lr=0.1))
    model.fit(np.ones((4, 2), np.float32), np.ones((4, 1)), epochs=2, verbose_freq=0, rng=0)
    changed = [not np.array_equal(p.data, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert changed == [False, False, True, True]
    with pytest.raises(ValueError, match="another model"):
        Sequential([Linear(2, 2)], optimizer=Adam(groups))


def test_step_without_any_gradient_is_an_error_in_groups_too():
    with pytest.raises(RuntimeError, match="found no gradient: call backward before step"):
        SGD([{"params": [Parameter([1.0])]}]).step()


def test_errors_of_groups():
    a, b = Parameter([1.0]), Parameter([1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"Adam has no setting 'decay': a group may have params, lr, betas, eps, weight"
    ):
        Adam([{"params": [a], "decay": 0.1}])
    with pytest.raises(ValueError, match=r"a parameter of shape \(2,\) is in two groups"):
        Adam([{"params": [b]}, {"params": [a, b]}])
    with pytest.raises(TypeError, match="each group must be a dict"):
        Adam([{"params": [a]}, b])
    with pytest.raises(TypeError, match="each group must be a dict"):
        Adam([{"lr": 0.1}])
    with pytest.raises(TypeError, match="not another group"):
        Adam([{"params": [{"params": [a]}]}])
    with pytest.raises(TypeError, match=r"pass model.parameters\(\)"):
        Adam([{"params": [np.ones(2)]}])


@pytest.mark.parametrize("wrong", [{"lr": -1}, {"betas": (0.9, 1.0)}, {"weight_decay": "much"}])
def test_wrong_settings_of_a_group_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Adam([{"params": [Parameter([1.0])], **wrong}])


def test_settings_that_depend_on_each_other_may_come_from_optimizer_and_group():
    groups = [{"params": [Parameter([1.0])], "nesterov": True}]
    assert SGD(groups, momentum=0.9).param_groups[0].nesterov
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        SGD(groups)


def test_decay_groups_cover_all_parameters():
    model = Sequential([Linear(2, 3), Linear(3, 1)])
    decayed, exempt = decay_groups(model, 0.1)
    assert [p.shape for p in decayed["params"]] == [(3, 2), (1, 3)]
    assert [p.shape for p in exempt["params"]] == [(3,), (1,)]
    assert [decayed["weight_decay"], exempt["weight_decay"]] == [0.1, 0]


def test_wrong_arguments_of_decay_groups():
    for wrong in ("a", None, -1):
        with pytest.raises(ValueError, match="weight_decay must be a finite number of at least 0"):
            decay_groups(Linear(2, 1), wrong)
    with pytest.raises(TypeError, match=r"^model must be a Module, got list: pass the model itself"):
        decay_groups(Linear(2, 1).parameters(), 0.1)


@pytest.mark.parametrize("empty", [[], iter([]), [{"params": []}]])
def test_an_empty_list_is_an_error(empty):
    with pytest.raises(ValueError, match=r"params is an empty list: pass model.parameters"):
        SGD(empty)


def test_a_group_may_be_empty_if_others_are_not():
    """As the group without decay in a model without biases."""
    assert len(SGD(decay_groups(Linear(2, 1, bias=False), 0.1)).params) == 1


@pytest.mark.parametrize("nest", [lambda p: [p], lambda p: [{"params": [p]}], lambda p: [[{"params": p}]]])
def test_a_nested_list(nest):
    with pytest.raises(TypeError, match=r"it is a nested list: remove the outer \[\]"):
        SGD(nest(Linear(2, 1).parameters()))


def test_repr_shows_settings_that_differ_from_the_defaults():
    assert repr(SGD(Linear(2, 1).parameters(), lr=0.1, momentum=0.9)) == "SGD(lr=0.1, momentum=0.9)"
    assert repr(Adam()) == "Adam()"
    optimizer = AdamW(decay_groups(Linear(2, 1), 0.1), lr=0.5)
    assert repr(optimizer) == "AdamW(lr=0.5, 2 groups)"
    assert repr(optimizer.param_groups) == "[AdamW(lr=0.5, weight_decay=0.1), AdamW(lr=0.5, weight_decay=0.0)]"
