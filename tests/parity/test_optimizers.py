"""Optimizers, groups, gradient clipping and weight averages against PyTorch, over 100 steps. Adam: test_adam.py."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn import Parameter, Sequential, optim
from cnn.layers import Conv2d, Flatten, Linear, ReLU
from cnn.loss import MSELoss
from cnn.optim import Optimizer, WeightAverage, clip_grad_norm_, clip_grad_value_, decay_groups
from cnn.utils.gradcheck import difference
from tests.parity.oracle import TOLERANCE, Tally, give_weights, tensor

SHAPES = [(4, 3), (4,), (2, 3, 2, 2), (1,)]
MATRICES = [(4, 3), (3, 5), (2, 2), (1, 6)]

lrs = st.sampled_from([0.0, 1e-4, 1e-2, 0.1])
decays = st.sampled_from([0.0, 1e-3, 0.1])
betas = st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.9), (0.99, 0.99)])
epses = st.sampled_from([1e-8, 1e-3, 1.0])
momenta = st.sampled_from([0.0, 0.5, 0.9])

SETTINGS = {
    "SGD": st.fixed_dictionaries(
        {"lr": lrs, "momentum": momenta, "dampening": st.sampled_from([0.0, 0.5, 1.0]), "weight_decay": decays}
    )
    | st.fixed_dictionaries({"lr": lrs, "momentum": st.just(0.9), "nesterov": st.just(True), "weight_decay": decays}),
    "AdamW": st.fixed_dictionaries({"lr": lrs, "betas": betas, "eps": epses, "weight_decay": decays}),
    "RMSprop": st.fixed_dictionaries(
        {
            "lr": lrs,
            "alpha": st.sampled_from([0.5, 0.9, 0.99]),
            "eps": epses,
            "weight_decay": decays,
            "momentum": momenta,
            "centered": st.booleans(),
        }
    ),
    "Adagrad": st.fixed_dictionaries(
        {
            "lr": lrs,
            "lr_decay": st.sampled_from([0.0, 0.1]),
            "weight_decay": decays,
            "initial_accumulator_value": st.sampled_from([0.0, 0.5]),
            "eps": st.sampled_from([1e-10, 1e-3]),
        }
    ),
    "NAdam": st.fixed_dictionaries(
        {
            "lr": lrs,
            "betas": betas,
            "eps": epses,
            "weight_decay": decays,
            "momentum_decay": st.sampled_from([0.0, 4e-3, 0.5]),
            "decoupled_weight_decay": st.booleans(),
        }
    ),
    "Muon": st.fixed_dictionaries(
        {
            "lr": lrs,
            "weight_decay": decays,
            "momentum": momenta,
            "nesterov": st.booleans(),
            "ns_coefficients": st.sampled_from([(3.4445, -4.775, 2.0315), (1.5, -0.5, 0.0)]),
            "eps": st.sampled_from([1e-7, 1.0]),
            "ns_steps": st.integers(1, 5),
            "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
        }
    ),
}


@pytest.fixture(autouse=True)
def as_exact_as_ours(monkeypatch):
    """Make PyTorch keep float64: NAdam's product of mu has the default dtype, and Muon rounds to bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    yield
    torch.set_default_dtype(before)


def run_both(name, dtype, steps=100, convert=None, **chosen):
    """Train arrays on the same random gradients; the last one has no gradient in two of three steps."""
    rng = np.random.default_rng(0)
    ours = [Parameter(rng.normal(size=shape).astype(dtype)) for shape in (MATRICES if name == "Muon" else SHAPES)]
    theirs = [torch.nn.Parameter(tensor(p.data)) for p in ours]
    our_optimizer, their_optimizer = getattr(optim, name)(ours, **chosen), getattr(torch.optim, name)(theirs, **chosen)
    for step in range(steps):
        if convert and step == steps // 2:
            for p, q in zip(ours, theirs, strict=True):
                p.to(convert)
                q.data = tensor(p.data)
                state = their_optimizer.state[q]
                state.update({key: a.to(q.dtype) for key, a in state.items() if torch.is_tensor(a) and a.ndim})
        our_optimizer.zero_grad()
        their_optimizer.zero_grad()
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            if i == len(ours) - 1 and step % 3:
                continue
            grad = (rng.normal(size=p.shape) * 10 ** rng.uniform(-3, 1)).astype(p.dtype)
            p.accumulate_grad(grad)
            p.grad.flags.writeable = False  # an update only reads it
            q.grad = tensor(grad)
        our_optimizer.step()
        their_optimizer.step()
    kept = [array for state in our_optimizer._state for array in state.values() if isinstance(array, np.ndarray)]
    assert {array.dtype for array in [*kept, *(p.data for p in ours)]} == {np.dtype(convert or dtype)}
    return max(difference(p.data, q.detach()) for p, q in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_with_the_defaults(name):
    assert run_both(name, np.float64) <= 1e-10
    assert run_both(name, np.float32) <= 3e-5


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_with_any_settings(name):
    tally = Tally()

    @settings(max_examples=25)
    @given(SETTINGS[name])
    def check(chosen):
        assert run_both(name, np.float64, **chosen) <= 1e-10
        tally.seen.add(repr(chosen))

    check()
    tally.report(at_least=15)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("before", "after"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_the_state_follows_a_model_that_is_converted(name, before, after):
    chosen = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    chosen |= {"centered": True} if name == "RMSprop" else {}
    assert run_both(name, before, steps=20, convert=after, **chosen) <= 3e-5


def test_muon_with_the_rounding_of_pytorch(monkeypatch):
    """With the bfloat16 of torch.optim.Muon the steps agree to its 8 bits of precision."""
    monkeypatch.undo()
    assert run_both("Muon", np.float32, lr=0.1) <= 0.03


def test_muon_treats_a_convolution_weight_as_a_matrix():
    rng = np.random.default_rng(0)
    conv, matrix = Parameter(rng.normal(size=(4, 3, 2, 2))), Parameter(np.zeros((4, 12)))
    matrix.data = conv.data.reshape(4, 12)
    for _ in range(5):
        conv.grad = rng.normal(size=conv.shape)
        matrix.grad = conv.grad.reshape(4, 12)
        for parameter in (conv, matrix):
            optim.Muon([parameter], lr=0.1).step()
    np.testing.assert_array_equal(conv.data.reshape(4, 12), matrix.data)


def net():
    """Return a small net in both libraries, in float64, and a function that draws batches for it."""
    ours = Sequential([Conv2d(1, 2, 3, rng=0), ReLU(), Flatten(), Linear(18, 3, rng=1)], loss_func=MSELoss())
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 3))
    give_weights(ours.to(np.float64), theirs)
    rng = np.random.default_rng(2)
    return ours, theirs, lambda: (rng.normal(size=(6, 1, 5, 5)), rng.normal(size=(6, 3)))


def gradients(ours, theirs, batch):
    x, y = batch
    ours.zero_grad()
    theirs.zero_grad()
    ours.loss_and_grad(x, y)
    torch.nn.functional.mse_loss(theirs(tensor(x)), tensor(y)).backward()


def largest_difference(ours, theirs):
    return max(difference(p.data, q.detach()) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", [name for name in ("Adam", *SETTINGS) if name != "Muon"])
def test_groups_clipping_and_an_average_in_a_net(name):
    ours, theirs, batch = net()
    groups = [
        {"params": slice(0, 1), "lr": 0.02},
        {"params": slice(1, 2), "weight_decay": 0.1},
        {"params": slice(2, 4)},
    ]
    if name in ("Adam", "AdamW", "NAdam"):
        groups[0]["betas"] = (0.5, 0.9)
    our_optimizer, their_optimizer = (
        getattr(library, name)([{**g, "params": list(model.parameters())[g["params"]]} for g in groups], lr=0.003)
        for library, model in ((optim, ours), (torch.optim, theirs))
    )
    ours.optimizer = our_optimizer
    average = WeightAverage(ours, decay=0.9)
    multi = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    their_average = torch.optim.swa_utils.AveragedModel(theirs, multi_avg_fn=multi)
    for step in range(100):
        gradients(ours, theirs, batch())
        norm = clip_grad_norm_(ours.parameters(), 0.5)
        assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5).item(), rel=1e-10)
        if step == 50:
            our_optimizer.param_groups[2]["lr"] = their_optimizer.param_groups[2]["lr"] = 0.001
        our_optimizer.step()
        their_optimizer.step()
        average.update()
        their_average.update_parameters(theirs)
    assert largest_difference(ours, theirs) <= 1e-10
    with average.applied():
        assert largest_difference(ours, their_average) <= 1e-10
    assert largest_difference(ours, theirs) <= 1e-10


def test_a_custom_optimizer_has_parameter_groups():
    class GradientDescent(Optimizer):
        def update(self, parameter, grad, state):
            parameter.data -= self.lr * grad

    ours, theirs, batch = net()
    ours.optimizer = GradientDescent(
        [{"params": ours[0].parameters(), "lr": 0.1}, {"params": ours[3].parameters()}], lr=0.01
    )
    their_optimizer = torch.optim.SGD(
        [{"params": theirs[0].parameters(), "lr": 0.1}, {"params": theirs[3].parameters()}], lr=0.01
    )
    for _ in range(20):
        gradients(ours, theirs, batch())
        ours.optimizer.step()
        their_optimizer.step()
    assert largest_difference(ours, theirs) <= 1e-10


def test_decay_groups():
    ours, theirs, batch = net()
    ours.optimizer = optim.AdamW(decay_groups(ours, 0.5), lr=0.01)
    weights, biases = ([p for p in theirs.parameters() if (p.ndim > 1) == many] for many in (True, False))
    their_optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.5}, {"params": biases, "weight_decay": 0.0}], lr=0.01
    )
    for _ in range(20):
        gradients(ours, theirs, batch())
        ours.optimizer.step()
        their_optimizer.step()
    assert largest_difference(ours, theirs) <= 1e-10


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("norm_type", [2.0, 1, 3.5, 0.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, 1e3])
def test_clip_grad_norm(dtype, norm_type, max_norm):
    rng = np.random.default_rng(0)
    ours = [Parameter(np.zeros(shape, dtype)) for shape in [*SHAPES, (0, 2), (3,)]]
    theirs = [torch.nn.Parameter(tensor(p.data)) for p in ours]
    for p, q in list(zip(ours, theirs, strict=True))[:-1]:
        p.accumulate_grad(rng.normal(size=p.shape).astype(dtype))
        q.grad = tensor(p.grad)
    if norm_type == math.inf:  # PyTorch has no largest value of an empty array
        del ours[-2], theirs[-2]
    norm = clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item()
    assert norm == pytest.approx(expected, rel=TOLERANCE[np.dtype(dtype)])
    assert ours[-1].grad is None
    for p, q in list(zip(ours, theirs, strict=True))[:-1]:
        assert p.grad.dtype == dtype
        assert difference(p.grad, q.grad) <= TOLERANCE[np.dtype(dtype)]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_clip_grad_norm_of_nan_and_infinity(wrong):
    ours, theirs = Parameter([0.0, 0.0]), torch.nn.Parameter(torch.zeros(2))
    for norm_type in (2.0, math.inf):
        ours.grad, theirs.grad = np.array([wrong, 1.0]), tensor([wrong, 1.0])
        norm = clip_grad_norm_([ours], 1.0, norm_type)
        expected = torch.nn.utils.clip_grad_norm_([theirs], 1.0, norm_type).item()
        np.testing.assert_array_equal(norm, expected)
        np.testing.assert_array_equal(ours.grad, theirs.grad)
        ours.grad = np.array([wrong, 1.0])
        with pytest.raises(RuntimeError, match="so they cannot be clipped"):
            clip_grad_norm_([ours], 1.0, norm_type, error_if_nonfinite=True)
        np.testing.assert_array_equal(ours.grad, [wrong, 1.0])


def test_clip_grad_value():
    values = [math.nan, math.inf, -3.0, 0.5]
    ours, theirs = Parameter(np.zeros(4)), torch.nn.Parameter(torch.zeros(4))
    ours.grad, theirs.grad = np.array(values), tensor(values)
    clip_grad_value_(ours, 2.0)
    torch.nn.utils.clip_grad_value_(theirs, 2.0)
    np.testing.assert_array_equal(ours.grad, theirs.grad)
