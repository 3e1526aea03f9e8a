"""Callbacks: their decisions, the final weights, and that a resumed one decides the same."""

import copy
import math

import numpy as np
import pytest

from cnn.layers import Linear
from cnn.optim import (
    SGD,
    ChainedScheduler,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WeightAverage,
)
from cnn.training.callbacks import Averaged, EarlyStopping, Scheduled, StopAt, TimeBudget
from tests.training.small_training import EPOCHS, STEPS, Clock, X, epochs_of, net, plain, run, step_at, through_json


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("cnn.training.stopping.time", clock)
    return clock


MAKERS = {
    "early stopping": lambda model: EarlyStopping(patience=2),
    "early stopping that never stops": lambda model: EarlyStopping(patience=9, monitor="val_accuracy"),
    "time": lambda model: TimeBudget(minutes=70 / 60),
    "step lr": lambda model: Scheduled(StepLR(model.optimizer, 2, 0.3)),
    "cosine": lambda model: Scheduled(CosineAnnealingLR(model.optimizer, 15), every="step"),
    "one cycle": lambda model: Scheduled(OneCycleLR(model.optimizer, 0.02, total_steps=15), every="step"),
    "chained": lambda model: Scheduled(
        ChainedScheduler([LinearLR(model.optimizer, total_iters=4), StepLR(model.optimizer, 3)]), every="step"
    ),
    "sequential": lambda model: Scheduled(
        SequentialLR(model.optimizer, [LinearLR(model.optimizer), CosineAnnealingLR(model.optimizer, 9)], [5]), "step"
    ),
    "plateau": lambda model: Scheduled(ReduceLROnPlateau(model.optimizer, patience=0, factor=0.5), monitor="val_loss"),
    "averaged": lambda model: Averaged(decay=0.7),
}


@pytest.mark.parametrize("name", MAKERS)
def test_interrupted_after_any_step_the_result_is_the_same(name, clock):
    make = MAKERS[name]
    uninterrupted = run(make, clock)
    for kill in range(1, uninterrupted["steps_done"]):
        saved = run(make, clock, until=kill)
        clock.now += 12345.0  # time in which nothing runs
        resumed = run(make, clock, saved=saved)
        assert plain(resumed) == plain(uninterrupted), f"after step {kill}"


@pytest.mark.parametrize("name", MAKERS)
def test_state_dict_returns_the_loaded_state(name, clock):
    saved = run(MAKERS[name], clock, until=7)
    fresh = MAKERS[name](net())
    fresh.load_state_dict(saved["callback"])
    assert plain(through_json(fresh.state_dict())) == plain(saved["callback"])


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_does_not_change_during_later_steps(name, clock):
    model = net()
    callback = MAKERS[name](model)
    for number in range(4):
        model.train_step(X[number], X[number][:, :1])
        callback(step_at(number, model))
    state = callback.state_dict()
    before = plain(copy.deepcopy(state))
    resumed_model = net()
    resumed = MAKERS[name](resumed_model)
    resumed.load_state_dict(state)
    for each, trained in ((callback, model), (resumed, resumed_model)):
        for number in range(4, 9):
            trained.train_step(X[number], X[number][:, :1])
            each(step_at(number, trained))
    assert plain(state) == before


def test_a_second_training_run_starts_afresh(clock):
    model = net()
    stopping, budget, averaged = EarlyStopping(patience=2), TimeBudget(10), Averaged()
    for _ in range(2):
        clock.now += 5000.0
        for number in range(2 * STEPS):
            for callback in (stopping, budget, averaged):
                assert not callback(step_at(number, model, [0.5, 0.6]))
            clock.now += 1.0
        assert (stopping.best_epoch, stopping.waited) == (1, 1)
        assert budget.seconds == 5.0
        assert averaged.average.n_averaged == 6
    other = net()
    averaged(step_at(0, other))
    assert averaged.average.model is other


@pytest.mark.parametrize("every", ["epoch", "step"])
def test_a_schedule_is_stepped_per_epoch_or_per_step(every):
    model = net()
    scheduled = Scheduled(StepLR(model.optimizer, 1, 0.5), every)
    rates = []
    for number in range(6):
        scheduled(step_at(number, model))
        rates.append(model.optimizer.lr)
    steps = [1, 2, 3, 4, 5, 6] if every == "step" else [0, 0, 1, 1, 1, 2]
    assert rates == [0.1 * 0.5**n for n in steps]


def test_a_plateau_gets_the_metric_of_each_epoch():
    model = net()
    scheduled = Scheduled(ReduceLROnPlateau(model.optimizer, "max", 0.5, patience=0), monitor="val_accuracy")
    rates = []
    for number in range(EPOCHS * STEPS):
        scheduled(step_at(number, model))
        rates.append(model.optimizer.lr)
    assert rates[2::3] == [0.1, 0.1, 0.05, 0.025, 0.0125]


def test_a_cycle_that_is_too_short_is_rejected_at_the_first_step():
    model = net()
    short = Scheduled(OneCycleLR(model.optimizer, 0.1, total_steps=14), every="step")
    with pytest.raises(ValueError, match="OneCycleLR of 14 steps is too short: use total_steps=15"):
        short(step_at(0, model))
    exact = Scheduled(OneCycleLR(model.optimizer, 0.1, total_steps=15), every="step")
    for number in range(EPOCHS * STEPS):
        exact(step_at(number, model))
    resumed = Scheduled(OneCycleLR(model.optimizer, 0.1, total_steps=14), every="step")
    resumed.load_state_dict({**exact.state_dict(), "schedule": {"last_epoch": 6, "lrs": [0.1]}})
    with pytest.raises(ValueError, match="total_steps=15"):
        resumed(step_at(6, model))


def test_a_schedule_of_another_optimizer_is_rejected_but_one_of_a_group_is_not():
    model = net()
    with pytest.raises(ValueError, match=r"another optimizer than the model: create it with model\.optimizer"):
        Scheduled(StepLR(SGD(), 1))(step_at(0, model))
    layers = model.layers
    model.optimizer = SGD([{"params": layers[0].parameters()}, {"params": layers[2].parameters(), "lr": 1.0}], lr=0.1)
    scheduled = Scheduled(StepLR(model.optimizer.param_groups[1], 1, 0.5), every="step")
    scheduled(step_at(0, model))
    assert [group.lr for group in model.optimizer.param_groups] == [0.1, 0.5]


def test_a_state_of_a_schedule_with_other_initial_rates_is_rejected():
    state = Scheduled(StepLR(SGD(lr=0.1), 1)).state_dict()
    with pytest.raises(ValueError, match=r"started from the learning rates \[0.1\], but now it starts from \[0.2\]"):
        Scheduled(StepLR(SGD(lr=0.2), 1)).load_state_dict(state)


def test_averaged_puts_the_weight_average_into_the_model():
    model, averaged = net(), Averaged(decay=0.7)
    average = WeightAverage(model, 0.7)
    for number in range(6):
        model.train_step(X[number], X[number][:, :1])
        step = step_at(number, model)
        assert averaged(step) is None
        average.update()
    trained = model.state_dict()
    with average.applied():
        expected = plain(model.state_dict())
    averaged.end(step)
    assert plain(model.state_dict()) == expected
    assert plain(model.state_dict()) != plain(trained)


def test_averages_are_applied_if_a_finished_training_run_is_resumed():
    saved = run(lambda model: Averaged(0.7), until=15)
    model, averaged = net(), Averaged(0.7)
    model.load_state_dict(saved["model"])
    averaged.load_state_dict(saved["callback"])
    averaged.end(step_at(14, model))
    assert plain(model.state_dict()) == plain(run(lambda model: Averaged(0.7))["model"])


def test_averages_of_another_model_are_rejected():
    averaged = Averaged()
    averaged.load_state_dict({"n_averaged": 3, "averages": {"weight": np.ones((1, 1), np.float32)}})
    with pytest.raises(ValueError, match="the saved averages belong to another model: weight"):
        averaged(step_at(4, net()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(patience=0), ValueError, "patience must be an integer of at least 1"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be a finite number of at least 0"),
        (
            lambda: EarlyStopping(monitor="val_los"),
            ValueError,
            "monitor must be one of train_loss, train_accuracy, val_loss, val_accuracy, got 'val_los'",
        ),
        (lambda: EarlyStopping(monitor="seconds"), ValueError, "monitor must be one of"),
        (lambda: EarlyStopping(monitor=["val_loss"]), ValueError, "monitor must be one of"),
        (lambda: StopAt(), ValueError, "StopAt needs a metric and its target"),
        (lambda: StopAt(accuracy=0.9), ValueError, "monitor must be one of train_loss, .* got 'accuracy'"),
        (lambda: StopAt(val_accuracy=93), ValueError, "val_accuracy is a fraction, at most 1, got 93.0"),
        (lambda: StopAt(val_loss=math.nan), ValueError, "val_loss must be a finite number"),
        (lambda: TimeBudget(0), ValueError, "minutes must be above 0"),
        (lambda: TimeBudget(math.inf), ValueError, "minutes must be a finite number"),
        (lambda: Scheduled(SGD()), TypeError, "schedule must be one of cnn.optim, such as StepLR"),
        (lambda: Scheduled(StepLR(SGD(), 1), "batch"), ValueError, 'every must be "epoch" or "step"'),
        (
            lambda: Scheduled(StepLR(SGD(), 1), monitor="val_loss"),
            ValueError,
            "StepLR does not watch a metric: leave out monitor=",
        ),
        (
            lambda: Scheduled(OneCycleLR(SGD(), 1, 9)),
            ValueError,
            r'OneCycleLR is stepped after every step: .*every="step"',
        ),
        (
            lambda: Scheduled(ReduceLROnPlateau(SGD())),
            ValueError,
            r'is stepped after every epoch: .*monitor="val_loss"',
        ),
        (lambda: Scheduled(ReduceLROnPlateau(SGD()), "step", "val_loss"), ValueError, "is stepped after every epoch"),
        (lambda: Scheduled(ReduceLROnPlateau(SGD()), monitor="loss"), ValueError, "monitor must be one of"),
        (lambda: Scheduled(ReduceLROnPlateau(SGD()), monitor="val_accuracy"), ValueError, 'mode="max"'),
        (lambda: Averaged(1.5), ValueError, "decay must be at most 1"),
        (lambda: Averaged(-0.5), ValueError, "decay must be a finite number of at least 0"),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_repr_shows_the_arguments(clock):
    stopping = EarlyStopping(3, min_delta=0.1)
    list(map(stopping, epochs_of([0.5, 0.2], Linear(1, 1))))
    assert repr(stopping) == "EarlyStopping(patience=3, min_delta=0.1, best=0.2, best_epoch=2)"
    assert repr(StopAt(val_loss=1, train_accuracy=0.5)) == "StopAt(val_loss=1.0, train_accuracy=0.5)"
    assert repr(TimeBudget(2)) == "TimeBudget(minutes=2.0, seconds=0.0)"
    scheduled = Scheduled(StepLR(SGD(), 3), every="step")
    assert repr(scheduled) == "Scheduled(schedule=StepLR(step_size=3, last_epoch=0), every='step')"
    assert repr(Averaged(0.5)) == "Averaged(decay=0.5, n_averaged=0)"
