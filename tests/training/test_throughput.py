"""Speed and time left, and the line that tells them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.training.throughput import Throughput, format_duration, progress_line
from tests.training.steps import Step, steps_of


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.floats(), st.floats(), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.integers(0, 130)
)  # fmt: skip
def test_a_line_fits_and_leaves_out_what_is_no_figure(epochs, steps, loss, accuracy, speed, left, width):
    text = progress_line(Step(1, epochs, steps, steps, loss, accuracy), speed, left, width)
    assert len(text) <= width
    assert "nan" not in text
    assert not text or re.match(rf"(epoch )? *1/{epochs}(  |$)", text)
    assert text == text.rstrip()


def test_an_hour_and_regression():
    step = Step(2, 9, 7, 40, 2.5e7, float("nan"))
    assert progress_line(step, 0.01234, 3723) == "epoch 2/9  step  7/40  loss 2.5e+07  0.0123 samples/s  1:02:03 left"
    assert progress_line(step) == "epoch 2/9  step  7/40  loss 2.5e+07"
    assert format_duration(90_061) == "25:01:01"


def pace_after(epochs, steps, begin, end, seconds=0.5, validation=0.0, saving=0.0):
    """Add steps begin to end - 1 of a training; return the pace, the last step, and the seconds that really are left."""
    pace, now, at, last = Throughput(), 50.0, {}, None
    for i, step in enumerate(steps_of(epochs, steps)):
        now += (
            seconds + (validation if step.step == steps else 0) + (saving if step.step == 1 and step.epoch > 1 else 0)
        )
        at[i] = now
        if begin <= i < end:
            pace.add(step, 16, now)
            last = step
    return pace, last, now - at[end - 1]


@pytest.mark.parametrize("begin", [0, 3, 19, 20])
@pytest.mark.parametrize(("steps", "validation", "saving"), [(20, 2.0, 1.0), (20, 0.0, 0.0), (3, 5.0, 0.0)])
@pytest.mark.parametrize("after", [1, 5])
def test_time_left_is_right_after_an_epoch_wherever_this_process_began(begin, steps, validation, saving, after):
    pace, last, left = pace_after(20, steps, begin, begin + 2 * steps + after, 0.5, validation, saving)
    assert pace.samples_per_second == pytest.approx(32, rel=1e-9)
    assert pace.seconds_left(last) == pytest.approx(left)


@pytest.mark.parametrize("steps", [1, 2])
def test_epochs_of_one_step_or_two(steps):
    pace, last, left = pace_after(50, steps, 0, 9)
    assert pace.samples_per_second == pytest.approx(32)
    assert pace.seconds_left(last) == pytest.approx(left)
    assert pace_after(50, steps, 0, 50 * steps)[0].seconds_left(Step(50, 50, steps, steps)) == 0


def test_nothing_is_known_after_one_step_nor_by_a_clock_that_stands_still():
    pace = Throughput()
    for step in steps_of(1, 9):
        pace.add(step, 16, 5.0)
        assert pace.samples_per_second is None
        assert pace.seconds_left(step) is None


def test_a_coarse_clock_gives_the_same_speed():
    pace = Throughput()
    for i, step in enumerate(steps_of(1, 10_001)):
        pace.add(step, 16, i // 16 * 0.016)  # a millisecond each, told every 16
        if i == 400:
            assert pace.samples_per_second == pytest.approx(16_000, rel=0.05)
    assert pace.samples_per_second == pytest.approx(16_000, rel=1e-2)


def test_a_new_speed_shows_soon_and_a_night_asleep_is_forgotten():
    pace, now = Throughput(), 0.0
    for step in steps_of(1, 10**5):
        if step.step == 500:
            now += 8 * 3600  # the lid was closed
        now += 0.1 if step.step < 1500 else 0.2
        pace.add(step, 10, now)
        pace.seconds_left(step)
        if step.step == 499:
            assert pace.samples_per_second == pytest.approx(100)
        if step.step == 1499:
            assert pace.samples_per_second == pytest.approx(100, rel=0.01)
        if step.step == 2000:
            assert pace.samples_per_second == pytest.approx(50, rel=0.01)
            return


def test_without_the_number_of_samples_there_is_no_speed():
    pace = Throughput()
    for step in steps_of(1, 5):
        pace.add(step, 0, step.step * 2.0)
    assert pace.samples_per_second is None
    assert pace.seconds_left(Step(1, 1, 3, 5)) == pytest.approx(4)


def test_time_that_runs_back_is_left_out():
    pace = Throughput()
    for step in steps_of(1, 9):
        pace.add(step, 10, step.step * 0.5 - (1000 if step.step > 4 else 0))
    assert pace.samples_per_second == pytest.approx(20)
    assert pace.seconds_left(Step(1, 1, 5, 9)) == pytest.approx(2)
