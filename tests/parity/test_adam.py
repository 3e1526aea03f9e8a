import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.layers import Linear
from cnn.module import Parameter
from cnn.optim import Adam
from cnn.utils.gradcheck import difference
from tests.parity.oracle import tensor

SHAPES = [(4, 3), (4,), (2, 3, 2, 2), (1,)]


def run_both(steps, dtype, **settings):
    """Train four arrays on the same random gradients; the last one has no gradient in two of three steps."""
    rng = np.random.default_rng(0)
    ours = [Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]
    theirs = [torch.nn.Parameter(tensor(p.data)) for p in ours]
    our_adam, their_adam = Adam(ours, **settings), torch.optim.Adam(theirs, **settings)
    for step in range(steps):
        our_adam.zero_grad()
        their_adam.zero_grad()
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            grad = (rng.normal(size=p.shape) * 10 ** rng.uniform(-3, 1)).astype(dtype)
            if i == len(ours) - 1 and step % 3:
                continue
            p.accumulate_grad(grad)
            q.grad = tensor(grad)
        our_adam.step()
        their_adam.step()
    return max(difference(p.data, q.detach()) for p, q in zip(ours, theirs, strict=True))


def test_a_hundred_steps():
    assert run_both(100, np.float64) <= 1e-10
    assert run_both(100, np.float32) <= 3e-5


@settings(max_examples=25)
@given(
    lr=st.sampled_from([0.0, 1e-4, 1e-2, 0.5]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.9), (0.99, 0.99)]),
    eps=st.sampled_from([1e-8, 1e-3, 1.0]),
    weight_decay=st.sampled_from([0.0, 1e-4, 0.1]),
)
def test_a_hundred_steps_with_any_settings(lr, betas, eps, weight_decay):
    assert run_both(100, np.float64, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay) <= 1e-10


def test_a_frozen_array_is_not_decayed():
    """Without a gradient nothing changes, not even by weight decay."""
    ours = [Parameter([1.0, 2.0]), Parameter([3.0])]
    ours[1].accumulate_grad(np.array([1.0]))
    Adam(ours, lr=0.1, weight_decay=0.5).step()
    np.testing.assert_array_equal(ours[0].data, [1, 2])
    assert ours[1].data[0] != 3


@pytest.mark.parametrize(("before", "after"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_the_state_follows_a_model_that_is_converted(before, after):
    rng = np.random.default_rng(0)
    ours = Linear(3, 2, rng=0).to(before)
    theirs = torch.nn.Linear(3, 2).to(getattr(torch, np.dtype(before).name))
    theirs.load_state_dict({name: tensor(a) for name, a in ours.state_dict().items()})
    our_adam, their_adam = Adam(ours.parameters(), lr=0.01), torch.optim.Adam(theirs.parameters(), lr=0.01)
    for step in range(40):
        if step == 20:
            ours.to(after)
            torch_after = getattr(torch, np.dtype(after).name)
            theirs.to(torch_after)
            for state in their_adam.state.values():
                state.update({key: state[key].to(torch_after) for key in ("exp_avg", "exp_avg_sq")})
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            grad = rng.normal(size=p.shape).astype(p.dtype)
            p.grad = None
            p.accumulate_grad(grad)
            q.grad = tensor(grad)
        our_adam.step()
        their_adam.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert p.dtype == after
        assert difference(p.data, q.detach()) <= 3e-5
