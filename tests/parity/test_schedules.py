"""Schedules against torch.optim.lr_scheduler: every learning rate of every group, and the resulting weights."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn import optim
from cnn.module import Parameter
from cnn.utils.gradcheck import difference
from tests.parity.oracle import Tally, tensor

STEPS = 100
gammas = st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.01])
etas = st.sampled_from([0.0, 1e-3, 0.5])

STEP = st.fixed_dictionaries({"step_size": st.integers(1, 40), "gamma": gammas})
MULTI = st.fixed_dictionaries({"milestones": st.lists(st.integers(1, 120), max_size=6), "gamma": gammas})
EXPONENTIAL = st.fixed_dictionaries({"gamma": gammas})
LINEAR = st.fixed_dictionaries(
    {
        "start_factor": st.sampled_from([1e-3, 1 / 3, 1.0]),
        "end_factor": st.sampled_from([0.1, 0.7, 1.0]),
        "total_iters": st.integers(1, 120),
    }
)
COSINE = st.fixed_dictionaries({"T_max": st.integers(1, 120), "eta_min": etas})
RESTARTS = st.fixed_dictionaries({"T_0": st.integers(1, 30), "T_mult": st.integers(1, 3), "eta_min": etas})
CYCLE = st.fixed_dictionaries(
    {
        "max_lr": st.sampled_from([0.1, [0.1, 0.5]]),
        "pct_start": st.sampled_from([0.3, 0.5, 0.015, 0.25]),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "cycle_momentum": st.booleans(),
        "base_momentum": st.sampled_from([0.85, [0.5, 0.7]]),
        "max_momentum": st.sampled_from([0.95, [0.8, 0.9]]),
        "div_factor": st.sampled_from([25.0, 2.0]),
        "final_div_factor": st.sampled_from([1e4, 10.0]),
        "three_phase": st.booleans(),
    }
)
lengths = st.one_of(
    st.builds(lambda n: {"total_steps": n}, st.integers(STEPS, 150)), st.just({"epochs": 10, "steps_per_epoch": 11})
)
SCHEDULES = {
    "StepLR": STEP,
    "MultiStepLR": MULTI,
    "ExponentialLR": EXPONENTIAL,
    "LinearLR": LINEAR,
    "CosineAnnealingLR": COSINE,
    "CosineAnnealingWarmRestarts": RESTARTS,
    "OneCycleLR": st.builds(lambda cycle, length: cycle | length, CYCLE, lengths),
}
PLATEAU = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.sampled_from([0.0, 0.5, 0.9]),
        "patience": st.integers(0, 5),
        "threshold": st.sampled_from([0.0, 0.3]),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "cooldown": st.integers(0, 4),
        "min_lr": st.sampled_from([0.0, 0.05, [0.0, 0.02]]),
        "eps": st.sampled_from([1e-8, 1e-3]),
    }
)


def run_both(make, name="SGD", metric=None):
    """Train two groups on the same random gradients; compare learning rates and momentum at each step, then the weights.

    ``make(module, optimizer)`` returns the schedule of ``cnn.optim`` or of PyTorch.
    """
    rng = np.random.default_rng(0)
    ours = [Parameter(rng.normal(size=(3, 2))), Parameter(rng.normal(size=2))]
    theirs = [torch.nn.Parameter(tensor(p.data)) for p in ours]
    more = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    our_optimizer, their_optimizer = (
        getattr(module, name)([{"params": [p], "lr": 0.1}, {"params": [q]}], lr=0.03, **more)
        for module, (p, q) in ((optim, ours), (torch.optim, theirs))
    )
    ours_schedule, theirs_schedule = make(optim, our_optimizer), make(torch.optim.lr_scheduler, their_optimizer)
    for _ in range(STEPS):
        for group, expected in zip(our_optimizer.param_groups, their_optimizer.param_groups, strict=True):
            for setting in {"lr", "momentum", "betas"} & set(expected):
                np.testing.assert_allclose(group[setting], expected[setting], rtol=1e-10, atol=1e-12)
        assert ours_schedule.get_last_lr() == [group["lr"] for group in our_optimizer.param_groups]
        for p, q in zip(ours, theirs, strict=True):
            p.grad = rng.normal(size=p.shape)
            q.grad = tensor(p.grad)
        our_optimizer.step()
        their_optimizer.step()
        values = () if metric is None else (metric(),)
        ours_schedule.step(*values)
        with warnings.catch_warnings():  # about the closed forms, which SequentialLR itself uses
            warnings.simplefilter("ignore")
            theirs_schedule.step(*values)
    assert max(difference(p.data, q.detach()) for p, q in zip(ours, theirs, strict=True)) <= 1e-10


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_hundred_steps(name):
    tally = Tally()

    @settings(max_examples=25)
    @given(SCHEDULES[name], st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop"]))
    def check(chosen, optimizer):
        run_both(lambda module, o: getattr(module, name)(o, **chosen), optimizer)
        tally.seen.add(repr(chosen))

    check()
    tally.report(at_least=4 if name == "ExponentialLR" else 15)


@settings(max_examples=60)
@given(PLATEAU, st.integers(0, 10), st.booleans())
def test_a_plateau(chosen, seed, with_nan):
    rng = np.random.default_rng(seed)

    def metric():
        return math.nan if with_nan and rng.random() < 0.1 else rng.normal() + 1

    run_both(lambda module, o: module.ReduceLROnPlateau(o, **chosen), metric=metric)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("threshold", [0.0, 0.02])
def test_a_threshold(mode, threshold_mode, threshold):
    """The metric improves by about the threshold, with some noise."""
    rng = np.random.default_rng(0)
    t = iter(range(STEPS))

    def metric():
        return 5 * math.exp((-0.02 if mode == "min" else 0.02) * next(t)) + 0.1 * rng.normal()

    chosen = {"mode": mode, "threshold_mode": threshold_mode, "threshold": threshold, "factor": 0.9, "patience": 1}
    run_both(lambda module, o: module.ReduceLROnPlateau(o, **chosen), metric=metric)


def test_sequential_schedules():
    tally = Tally()
    parts = {name: SCHEDULES[name] for name in SCHEDULES if name != "OneCycleLR"}
    part = st.sampled_from(sorted(parts)).flatmap(lambda name: st.tuples(st.just(name), parts[name]))
    milestones = st.lists(st.integers(1, 90), min_size=1, max_size=3, unique=True).map(sorted)

    @settings(max_examples=40)
    @given(st.data(), milestones)
    def check(data, milestones):
        chosen = [data.draw(part) for _ in range(len(milestones) + 1)]

        def make(module, o):
            return module.SequentialLR(o, [getattr(module, name)(o, **kw) for name, kw in chosen], milestones)

        run_both(make)
        tally.seen.add(repr((chosen, milestones)))

    check()
    tally.report(at_least=30)


PAIRS = [
    [("ExponentialLR", {"gamma": 0.9}), ("ReduceLROnPlateau", {"factor": 0.5, "patience": 0})],
    [("ExponentialLR", {"gamma": 0.9}), ("StepLR", {"step_size": 2, "gamma": 0.5})],
    [("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}), ("LinearLR", {"total_iters": 20})],
    [("OneCycleLR", {"max_lr": 0.1, "total_steps": 200}), ("ExponentialLR", {"gamma": 0.99})],
    [("ExponentialLR", {"gamma": 0.9}), ("CosineAnnealingWarmRestarts", {"T_0": 5, "eta_min": 0.01})],
]


class Both:
    """Two schedules of one optimizer, stepped one after the other; a plateau gets a metric that never improves."""

    def __init__(self, module, optimizer, pair):
        self.optimizer = optimizer
        self.schedules = [getattr(module, name)(optimizer, **chosen) for name, chosen in pair]

    def step(self):
        for schedule in self.schedules:
            schedule.step(*([1.0] if type(schedule).__name__ == "ReduceLROnPlateau" else []))

    def get_last_lr(self):
        return [group["lr"] for group in self.optimizer.param_groups]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(name for name, _ in pair))
def test_two_schedules_of_one_optimizer(pair):
    run_both(lambda module, o: Both(module, o, pair))


class SetByHand:
    """A schedule, with the learning rate set by hand at the third step."""

    def __init__(self, schedule):
        self.schedule, self.steps = schedule, 0

    def step(self):
        self.steps += 1
        if self.steps == 3:
            for group in self.schedule.optimizer.param_groups:
                group["lr"] = 0.3
        self.schedule.step()

    def get_last_lr(self):
        return self.schedule.get_last_lr()


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.5}),
        ("LinearLR", {"total_iters": 9}),
        ("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.01}),
        ("CosineAnnealingWarmRestarts", {"T_0": 8, "eta_min": 0.01}),
    ],
)
def test_a_learning_rate_set_by_hand(name, chosen):
    run_both(lambda module, o: SetByHand(getattr(module, name)(o, **chosen)))


def test_chained_schedules():
    tally = Tally()
    factors = {"StepLR": STEP, "MultiStepLR": MULTI, "ExponentialLR": EXPONENTIAL, "LinearLR": LINEAR}
    factors["CosineAnnealingLR"] = st.fixed_dictionaries({"T_max": st.integers(1, 150)})
    part = st.sampled_from(sorted(factors)).flatmap(lambda name: st.tuples(st.just(name), factors[name]))

    @settings(max_examples=40)
    @given(st.lists(part, min_size=1, max_size=3))
    def check(chosen):
        assume(all(kw.get("gamma") != 0 for _, kw in chosen))  # 0 / 0: PyTorch's result depends on which schedule it is
        run_both(lambda module, o: module.ChainedScheduler([getattr(module, name)(o, **kw) for name, kw in chosen]))
        tally.seen.add(repr(chosen))

    check()
    tally.report(at_least=25)
