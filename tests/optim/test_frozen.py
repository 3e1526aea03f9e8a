"""Optimizers leave frozen parameters as they are and take them up later; groups can be added to one in use."""

import numpy as np
import pytest
import torch

from cnn.module import Parameter
from cnn.optim import SGD, Adagrad, Adam, AdamW, Muon, NAdam, RMSprop, StepLR

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda p: Adam(p, lr=0.1, weight_decay=0.1),
    "AdamW": lambda p: AdamW(p, lr=0.1, weight_decay=0.1),
    "NAdam": lambda p: NAdam(p, lr=0.1),
    "RMSprop": lambda p: RMSprop(p, lr=0.1, momentum=0.5),
    "Adagrad": lambda p: Adagrad(p, lr=0.1),
    "Muon": lambda p: Muon(p, lr=0.1, weight_decay=0.1),
}
RNG = np.random.default_rng(0)
GRADS = RNG.standard_normal((9, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_frozen_parameter_waits(make):
    """As if the frozen steps had not been, momentum included, even if a gradient is there; the other one goes on."""
    waiting, other, alone = (Parameter(np.ones((3, 4), np.float32)) for _ in range(3))
    both, one = make([waiting, other]), make([alone])
    for step, grad in enumerate(GRADS):
        waiting.requires_grad = step not in (3, 4, 5)
        waiting.grad, other.grad = grad.copy(), grad.copy()
        before = waiting.data.copy()
        both.step()
        if waiting.requires_grad:
            alone.grad = grad.copy()
            one.step()
        else:
            np.testing.assert_array_equal(waiting.data, before)
    np.testing.assert_allclose(waiting.data, alone.data, rtol=1e-6)
    assert not np.allclose(other.data, waiting.data)


def test_add_param_group_as_in_pytorch():
    ours, theirs = zip(*((Parameter(a), torch.nn.Parameter(torch.tensor(a))) for a in GRADS[:3]), strict=True)
    mine = Adam([ours[0]], lr=0.01)
    other = torch.optim.Adam([theirs[0]], lr=0.01)
    for step, grad in enumerate(GRADS):
        if step in (3, 6):
            extra = {"lr": 0.002} if step == 3 else {"betas": (0.8, 0.9)}
            mine.add_param_group({"params": [ours[step // 3]], **extra})
            other.add_param_group({"params": [theirs[step // 3]], **extra})
        for p, q in zip(ours, theirs, strict=True):
            p.grad, q.grad = grad.copy(), torch.tensor(grad)
        mine.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-5)
    assert [group.lr for group in mine.param_groups] == [0.01, 0.002, 0.01]
    mine.lr = 0.5
    assert [group.lr for group in mine.param_groups] == [0.5, 0.002, 0.5]
    fresh = Adam([{"params": [ours[0]]}, {"params": [ours[1]], "lr": 0.002}, {"params": [ours[2]]}], lr=0.5)
    fresh.load_state_dict(mine.state_dict())
    np.testing.assert_array_equal(fresh.param_groups[0]._state[0]["m"], mine.param_groups[0]._state[0]["m"])


def test_add_param_group_to_an_optimizer_that_has_none():
    weight = Parameter([1.0])
    optimizer = SGD(lr=0.1)
    optimizer.add_param_group({"params": [weight]})
    weight.grad = np.ones(1)
    optimizer.step()
    assert weight.data == pytest.approx([0.9])


def test_bad_groups():
    a, b = Parameter([1.0]), Parameter([1.0, 2.0])
    optimizer = SGD([a], lr=0.1)
    schedule = StepLR(optimizer, step_size=1)
    with pytest.raises(ValueError, match=r"a parameter of shape \(1,\) is in this optimizer already"):
        optimizer.add_param_group({"params": [b, a]})
    with pytest.raises(TypeError, match=r'such as \{"params"'):
        optimizer.add_param_group([b])
    with pytest.raises(ValueError, match="no setting 'rate'"):
        optimizer.add_param_group({"params": [b], "rate": 1})
    assert optimizer.param_groups == [optimizer]
    optimizer.add_param_group({"params": [b]})
    with pytest.raises(ValueError, match="group"):  # made for one group
        schedule.step()
