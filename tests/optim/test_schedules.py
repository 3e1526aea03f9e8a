import math

import numpy as np
import pytest

from cnn import Parameter, Sequential, optim
from cnn.layers import Linear
from cnn.loss import MSELoss
from cnn.optim import (
    SGD,
    Adagrad,
    Adam,
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
)


def test_a_schedule_sets_the_rate_of_an_optimizer_that_a_model_takes_later():
    optimizer = Adam(lr=0.5)
    schedule = ExponentialLR(optimizer, gamma=0.5)
    model = Sequential([Linear(2, 1, rng=0)], loss_func=MSELoss(), optimizer=optimizer)
    model.train_step(np.ones((2, 2), np.float32), np.ones((2, 1)))
    schedule.step()
    assert model.optimizer.lr == 0.25
    assert schedule.get_last_lr() == [0.25]


def test_every_group_starts_from_its_own_rate():
    optimizer = SGD([{"params": [Parameter([1.0])], "lr": 8.0}, {"params": [Parameter([1.0])]}], lr=4.0)
    schedule = StepLR(optimizer, step_size=1, gamma=0.5)
    schedule.step()
    assert schedule.get_last_lr() == [4.0, 2.0]
    assert schedule.base_lrs == [8.0, 4.0]


def test_a_custom_schedule():
    class Root(Schedule):
        def factor(self, t):
            return 1 / math.sqrt(t + 1)

    optimizer = SGD(lr=1.0)
    schedule = ChainedScheduler([Root(optimizer), ExponentialLR(optimizer, 0.5)])
    for _ in range(3):
        schedule.step()
    assert optimizer.lr == pytest.approx(1 / 16, rel=1e-15)
    with pytest.raises(NotImplementedError, match="factor"):
        Schedule(optimizer)


MAKERS = [
    lambda o: StepLR(o, 3),
    lambda o: CosineAnnealingWarmRestarts(o, 3, 2),
    lambda o: OneCycleLR(o, 0.1, total_steps=20),
    lambda o: SequentialLR(o, [LinearLR(o), CosineAnnealingLR(o, 8)], [5]),
    lambda o: ChainedScheduler([LinearLR(o), ExponentialLR(o, 0.9)]),
    lambda o: ReduceLROnPlateau(o, patience=1, cooldown=1, factor=0.5),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_new_schedule_continues_from_the_state(make):
    metric = (1.0,) if make is MAKERS[-1] else ()
    first = SGD([{"params": [Parameter([1.0])], "lr": 0.5}, {"params": [Parameter([1.0])]}])
    second = SGD([{"params": [Parameter([1.0])], "lr": 0.5}, {"params": [Parameter([1.0])]}])
    schedule = make(first)
    for _ in range(7):
        schedule.step(*metric)
    resumed = make(second)
    resumed.load_state_dict(schedule.state_dict())
    for _ in range(5):
        assert [(g.lr, g.momentum) for g in second.param_groups] == [(g.lr, g.momentum) for g in first.param_groups]
        schedule.step(*metric)
        resumed.step(*metric)
    if not metric:
        assert schedule.state_dict() == {"last_epoch": 12, "lrs": schedule.get_last_lr()}


def test_one_cycle_cycles_betas_and_ends():
    optimizer = Adam(betas=(0.5, 0.75))
    schedule = OneCycleLR(optimizer, 1.0, total_steps=10)
    assert optimizer.betas == (0.95, 0.75)
    for _ in range(10):
        schedule.step()
    with pytest.raises(
        ValueError,
        match="step 11 of a OneCycleLR of 10 steps: create it with total_steps=11 or more, and call step only once",
    ):
        schedule.step()
    assert schedule.last_epoch == 10


def test_one_cycle_whose_rise_takes_no_step():
    """Then the first step has the peak rate (PyTorch divides by zero)."""
    optimizer = SGD()
    OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=0.1)
    assert optimizer.lr == 1.0


def test_rates_stay_python_floats():
    """A NumPy float64 would promote float32 weights to float64."""
    optimizer = SGD([Parameter(np.ones(1, np.float32))], lr=np.float64(1))
    for schedule in (
        CosineAnnealingLR(optimizer, 5, np.float64(0.1)),
        OneCycleLR(optimizer, np.float64(0.1), 9),
        ReduceLROnPlateau(optimizer, min_lr=np.float64(0.1), factor=np.float64(0.5), patience=0),
    ):
        for _ in range(4):
            schedule.step(*((1.0,) if isinstance(schedule, ReduceLROnPlateau) else ()))
            assert type(optimizer.lr) is float
            assert type(optimizer.momentum) is float


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("StepLR", {"step_size": 0}, "step_size must be an integer of at least 1"),
        ("StepLR", {"step_size": 2, "gamma": -1}, "gamma must be"),
        ("MultiStepLR", {"milestones": [2.5]}, "each of milestones must be an integer"),
        ("LinearLR", {"start_factor": 0}, "start_factor must be above 0"),
        ("LinearLR", {"end_factor": 2}, "neither factor above 1"),
        ("LinearLR", {"total_iters": 0}, "total_iters must be an integer of at least 1"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max must be an integer"),
        ("CosineAnnealingWarmRestarts", {"T_0": 1.5}, "T_0 must be an integer"),
        ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 0}, "T_mult must be an integer"),
        ("OneCycleLR", {"max_lr": 1}, "OneCycleLR needs total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR", {"max_lr": [1, 2], "total_steps": 5}, "max_lr must be one number or 1, one for each group"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "pct_start": 1.5}, "pct_start must be at most 1"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "anneal_strategy": "sine"}, "anneal_strategy"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "div_factor": 0}, "div_factor"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "max_momentum": 1}, "max_momentum must be below 1"),
        ("ReduceLROnPlateau", {"mode": "best"}, 'mode must be "min" or "max"'),
        ("ReduceLROnPlateau", {"threshold_mode": "any"}, "threshold_mode"),
        ("ReduceLROnPlateau", {"factor": 1}, "factor must be below 1"),
        ("ReduceLROnPlateau", {"patience": -1}, "patience must be an integer"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(name, arguments, message):
    optimizer = SGD(lr=0.5, momentum=0.25)
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(optimizer, **arguments)
    assert (optimizer.lr, optimizer.momentum) == (0.5, 0.25)


def test_arguments_that_do_not_fit_together():
    optimizer, other = SGD(lr=0.5), SGD(lr=0.5)
    step = StepLR(optimizer, 3)
    model = Sequential([Linear(2, 1)])
    for make in (lambda o: StepLR(o, 3), lambda o: OneCycleLR(o, 0.1), ReduceLROnPlateau):
        with pytest.raises(TypeError, match=r"^optimizer must be an Optimizer, got Sequential: pass model.optimizer$"):
            make(model)
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, got Sequential"):
        SequentialLR(model, [step, step], [3])
    with pytest.raises(TypeError, match="milestones must be a list of steps"):
        MultiStepLR(optimizer, 3)
    with pytest.raises(ValueError, match="Adagrad has no momentum to cycle"):
        OneCycleLR(Adagrad(), 1.0, total_steps=5)
    with pytest.raises(ValueError, match="2 schedulers need 1 rising milestones"):
        SequentialLR(optimizer, [step, step], [])
    with pytest.raises(ValueError, match="3 schedulers need 2 rising milestones"):
        SequentialLR(optimizer, [step] * 3, [4, 3])
    with pytest.raises(ValueError, match="must have the same optimizer"):
        SequentialLR(other, [step, step], [3])
    with pytest.raises(TypeError, match="schedulers must be a list of schedules"):
        SequentialLR(optimizer, [step, ReduceLROnPlateau(optimizer)], [3])
    with pytest.raises(TypeError, match="schedulers must be a list of schedules"):
        ChainedScheduler([])


def groups(*own):
    return [{"params": [Parameter([1.0])], **settings} for settings in own]


@pytest.mark.parametrize("make", MAKERS)
def test_groups_that_come_after_the_schedule_are_an_error(make):
    optimizer = SGD()
    schedule = make(optimizer)
    optimizer.set_params(groups({}, {}))
    message = "was created when the optimizer had 1 group, but it has 2 now: give the optimizer its parameters"
    with pytest.raises(ValueError, match=message):
        schedule.step(*((1.0,) if isinstance(schedule, ReduceLROnPlateau) else ()))
    assert optimizer.param_groups[0].lr == optimizer.lr


@pytest.mark.parametrize("make", MAKERS)
def test_one_group_that_comes_after_the_schedule(make):
    optimizer, other = SGD(lr=0.5), SGD([Parameter([1.0])], lr=0.5)
    schedules = make(optimizer), make(other)
    optimizer.set_params(groups({}))
    for _ in range(9):
        for schedule in schedules:
            schedule.step(*((1.0,) if isinstance(schedule, ReduceLROnPlateau) else ()))
        assert schedules[0].get_last_lr() == schedules[1].get_last_lr() == [optimizer.lr]


def test_the_fix_in_the_error_message_works():
    """A schedule created after the groups were set starts from the rates of the groups."""
    optimizer = SGD(lr=1.0)
    LinearLR(optimizer, 0.5)
    optimizer.set_params(groups({"lr": 0.25}, {}))
    assert StepLR(optimizer, 3).base_lrs == [0.25, 1.0]


@pytest.mark.parametrize("make", MAKERS)
def test_the_rate_of_the_optimizer_is_that_of_groups_that_agree(make):
    optimizer = SGD(groups({}, {"weight_decay": 0.1}), lr=0.5)
    schedule = make(optimizer)
    seen = set()
    for _ in range(7):
        schedule.step(*((1.0,) if isinstance(schedule, ReduceLROnPlateau) else ()))
        assert [optimizer.lr] * 2 == schedule.get_last_lr()
        assert optimizer.momentum == optimizer.param_groups[1].momentum
        seen.add(optimizer.lr)
    assert len(seen) > 1


def test_a_warm_up_from_zero():
    class WarmUp(Schedule):
        def factor(self, t):
            return min(t, 4) / 4

    optimizer = SGD(lr=2.0)
    schedule = WarmUp(optimizer)
    rates = [optimizer.lr]
    for _ in range(6):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0, 0.5, 1, 1.5, 2, 2, 2], rel=1e-15)


def test_no_rate_is_below_zero():
    """In PyTorch it can be: after the last linear step, and where one schedule goes below eta_min of the other."""
    optimizer = SGD()
    schedule = OneCycleLR(optimizer, 1.0, total_steps=6, anneal_strategy="linear")
    for _ in range(6):
        schedule.step()
    assert optimizer.lr == 0
    optimizer = SGD(lr=0.1)
    schedule = ChainedScheduler([CosineAnnealingLR(optimizer, 1, eta_min=eta_min) for eta_min in (0.5, 0.0)])
    for _ in range(2):
        schedule.step()
    assert optimizer.lr == pytest.approx(0.1)


def test_a_chain_restarts_in_a_sequence():
    """PyTorch cannot do this."""
    optimizer = SGD(lr=1.0)
    chain = ChainedScheduler([LinearLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.5)])
    schedule = SequentialLR(optimizer, [StepLR(optimizer, 1, 0.5), chain], [2])
    rates = [optimizer.lr]
    for _ in range(4):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates == pytest.approx([schedule.rate(1.0, t) for t in range(5)], rel=1e-15)
    assert rates == pytest.approx([1, 0.5, 0.5, 0.375, 0.25], rel=1e-15)


def test_groups_with_their_own_rate_keep_it():
    optimizer = SGD(groups({"lr": 8.0}, {}), lr=4.0)
    schedule = StepLR(optimizer, 1, gamma=0.5)
    schedule.step()
    assert (optimizer.lr, schedule.get_last_lr()) == (2.0, [4.0, 2.0])
    optimizer.lr = 1.0
    assert schedule.get_last_lr() == [4.0, 1.0]


def test_the_metric_must_be_a_number_and_nan_is_a_bad_epoch():
    schedule = ReduceLROnPlateau(SGD())
    for wrong in (None, "low", [1.0]):
        with pytest.raises(TypeError, match="metrics must be a number, such as the validation loss, got"):
            schedule.step(wrong)
    assert schedule.num_bad_epochs == 0
    schedule.step(math.nan)
    assert (schedule.num_bad_epochs, schedule.best) == (1, math.inf)


def test_repr():
    optimizer = SGD(lr=1.0)
    step, half = StepLR(optimizer, 3), LinearLR(optimizer, 0.5)
    step.step()
    assert repr(step) == "StepLR(step_size=3, last_epoch=1)"
    assert repr(ChainedScheduler([half])) == (
        "ChainedScheduler(schedulers=[LinearLR(start_factor=0.5, last_epoch=0)], last_epoch=0)"
    )
    cycle = OneCycleLR(optimizer, [0.5], epochs=2, steps_per_epoch=5, base_momentum=0.5)
    assert repr(cycle) == "OneCycleLR(max_lr=[0.5], total_steps=10, base_momentum=[0.5], last_epoch=0)"
    assert repr(ReduceLROnPlateau(optimizer, "max")) == "ReduceLROnPlateau(mode='max', best=-inf)"
