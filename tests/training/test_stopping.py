"""EarlyStopping, StopAt and TimeBudget: when they stop training, and with which weights."""

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.layers import Linear
from cnn.optim import ReduceLROnPlateau
from cnn.training.callbacks import EarlyStopping, Scheduled, StopAt, TimeBudget
from tests.training.small_training import EPOCHS, STEPS, Clock, X, epochs_of, net, plain, step_at


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("cnn.training.stopping.time", clock)
    return clock


def test_early_stopping_restores_the_weights_and_buffers_of_the_best_epoch():
    model, stopping, after = net(), EarlyStopping(patience=2), []
    for number in range(EPOCHS * STEPS):
        model.train_step(X[number], X[number][:, :1])
        step = step_at(number, model)
        if step.metrics is not None:
            after.append(plain(model.state_dict()))
        if stopping(step):
            break
    assert (step.epoch, stopping.best_epoch, stopping.best, stopping.waited) == (4, 2, 0.5, 2)
    assert len({json.dumps(str(state)) for state in after}) == 4  # they differ from epoch to epoch
    assert plain(model.state_dict()) == after[3]
    stopping.end(step)
    assert plain(model.state_dict()) == after[1]
    assert any("running_mean" in name for name in stopping.weights)  # buffers are included
    assert plain(stopping.weights) == after[1]


@pytest.mark.parametrize("last", [7, 14])
def test_the_best_weights_are_restored_however_training_ends(last):
    """In the middle of an epoch, or after the last epoch."""
    model, stopping = net(), EarlyStopping(patience=50)
    for number in range(last + 1):
        model.train_step(X[number], X[number][:, :1])
        step = step_at(number, model)
        assert stopping(step) is False
        if number == 5:
            best = plain(model.state_dict())
    assert plain(model.state_dict()) != best
    stopping.end(step)
    assert plain(model.state_dict()) == best


def test_without_a_whole_epoch_the_model_keeps_its_weights():
    model, stopping = net(), EarlyStopping()
    stopping(step_at(0, model))
    before = plain(model.state_dict())
    stopping.end(step_at(0, model))
    assert plain(model.state_dict()) == before


@pytest.mark.parametrize(
    ("metric", "min_delta", "values", "best_epoch", "ends"),
    [
        ("val_loss", 0.0, [0.5, 0.4, 0.4, 0.3, 0.3, 0.3], 4, 6),
        ("val_loss", 0.25, [0.5, 0.375, 0.25], 1, 3),
        ("val_accuracy", 0.0, [0.5, 0.6, 0.6, 0.55], 2, 4),
        ("train_accuracy", 0.0, [0.5, 0.4, 0.6, 0.6, 0.6], 3, 5),
        ("train_loss", 0.0, [0.1, 0.5, 0.5], 1, 3),
        ("val_loss", 0.0, [0.5, math.nan, 0.4, math.nan, math.nan], 3, 5),
        ("val_loss", 0.0, [math.nan, math.inf], None, 2),
        ("val_loss", 0.0, [math.inf, 0.5, -math.inf, 0.6], 2, 4),
    ],
)
def test_what_counts_as_an_improvement_and_how_long_it_waits(metric, min_delta, values, best_epoch, ends):
    stopping = EarlyStopping(patience=2, monitor=metric, min_delta=min_delta)
    answers = [stopping(step) for step in epochs_of(values, Linear(1, 1), metric)]
    assert stopping.best_epoch == best_epoch
    assert answers == [False] * (ends - 1) + [True]
    assert stopping.best == (None if best_epoch is None else values[best_epoch - 1])


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, math.nan]), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from(["val_loss", "val_accuracy"]),
)
def test_early_stopping_agrees_with_a_search_over_all_epochs(values, patience, metric):
    if metric == "val_accuracy":
        values = [0.1 if math.isnan(value) else value for value in values]
    model, stopping = Linear(1, 1), EarlyStopping(patience, metric)
    sign = -1 if metric == "val_accuracy" else 1
    for i, step in enumerate(epochs_of(values, model, metric)):
        ended = stopping(step)
        known = [sign * value for value in values[: i + 1] if not math.isnan(value)]
        first = next((j for j, value in enumerate(values) if known and sign * value == min(known)), -1)
        assert stopping.best_epoch == (first + 1 or None)
        assert stopping.waited == i - first
        assert ended is (i - first >= patience)


NO_VALIDATION = {"train_loss": 0.5, "train_accuracy": 0.5, "val_loss": math.nan, "val_accuracy": math.nan}


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_metric_that_needs_validation_data_raises_without_it(metric, epoch):
    model = net()
    plateau = ReduceLROnPlateau(model.optimizer, mode="max" if metric == "val_accuracy" else "min")
    for callback in (EarlyStopping(monitor=metric), StopAt(**{metric: 0.5}), Scheduled(plateau, monitor=metric)):
        step = SimpleNamespace(epoch=epoch, epochs=3, step=2, steps=2, metrics=NO_VALIDATION, model=model)
        with pytest.raises(ValueError, match=rf"{metric} is nan.*pass validation_data=\(x_val, y_val\)"):
            callback(step)


def test_nan_without_classes():
    metrics = {**NO_VALIDATION, "train_accuracy": math.nan}
    with pytest.raises(ValueError, match="pass validation_data"):
        EarlyStopping()(SimpleNamespace(epoch=1, step=2, metrics=metrics, model=None))
    stopping = EarlyStopping()
    assert not stopping(
        SimpleNamespace(epoch=2, step=2, metrics=metrics, model=None)
    )  # it had numbers in the first epoch
    assert stopping.waited == 1
    for epoch in (1, 2):
        with pytest.raises(ValueError, match="because the targets are not classes: watch val_loss"):
            StopAt(val_accuracy=1.0)(
                SimpleNamespace(epoch=epoch, step=2, metrics={**metrics, "val_loss": 0.5}, model=None)
            )


def test_an_unknown_metric_is_reported_with_the_measured_ones():
    step = SimpleNamespace(epoch=1, step=2, metrics={"train_loss": 0.5, "seconds": 1.0}, model=None)
    with pytest.raises(
        ValueError, match="val_loss is not measured: the metrics of this training run are train_loss, seconds"
    ):
        EarlyStopping()(step)


def test_stop_at_needs_every_target_in_the_same_epoch():
    stop = StopAt(val_loss=0.4, train_accuracy=0.6)
    reached = [(0.4, 0.5), (0.5, 0.7), (0.4, 0.6)]
    metrics = [
        {**NO_VALIDATION, "val_accuracy": 0.5, "val_loss": loss, "train_accuracy": accuracy}
        for loss, accuracy in reached
    ]
    steps = [SimpleNamespace(epoch=1, step=4, metrics=one) for one in metrics]
    assert [stop(step) for step in steps] == [False, False, True]
    assert stop(SimpleNamespace(epoch=1, step=1, metrics=None)) is False
    steps[2].metrics["val_loss"] = math.nan
    assert stop(steps[2]) is False


def test_the_time_budget_counts_training_time_on_a_monotonic_clock(clock):
    budget = TimeBudget(minutes=1)
    answers = []
    for number in range(8):
        answers.append(budget(step_at(number, None)))
        clock.now += 10.0
    assert answers == [False] * 6 + [True] * 2
    assert budget.seconds == 70.0
    late = TimeBudget(minutes=1)  # created after some steps of a custom loop
    assert late(step_at(5, None)) is False
    assert late.seconds == 0.0
    resumed = TimeBudget(minutes=1)
    clock.now += 1e6
    resumed.load_state_dict({"seconds": 55.0})
    clock.now += 4.0
    assert resumed(step_at(3, None)) is False
    clock.now += 1.0
    assert resumed(step_at(4, None)) is True
