"""Throughput, remaining time, and the progress line that shows them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.training.throughput import Throughput, format_duration, progress_line
from tests.training.steps import Step, steps_of


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.floats(), st.floats(), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.integers(0, 130)
)  # fmt: skip
def test_a_line_fits_and_leaves_out_nan(epochs, steps, loss, accuracy, speed, left, width):
    text = progress_line(Step(1, epochs, steps, steps, loss, accuracy), speed, left, width)
    assert len(text) <= width
    assert "nan" not in text
    assert not text or re.match(rf"(epoch )? *1/{epochs}(  |$)", text)
    assert text == text.rstrip()


def test_an_hour_and_a_regression_loss():
    step = Step(2, 9, 7, 40, 2.5e7, float("nan"))
    assert progress_line(step, 0.01234, 3723) == "epoch 2/9  step  7/40  loss 2.5e+07  0.0123 samples/s  1:02:03 left"
    assert progress_line(step) == "epoch 2/9  step  7/40  loss 2.5e+07"
    assert format_duration(90_061) == "25:01:01"


def throughput_after(epochs, steps, begin, end, seconds=0.5, validation=0.0, saving=0.0):
    """Add the steps begin to end - 1; return the throughput, the last step, and the true remaining seconds."""
    throughput, now, at, last = Throughput(), 50.0, {}, None
    for i, step in enumerate(steps_of(epochs, steps)):
        now += (
            seconds + (validation if step.step == steps else 0) + (saving if step.step == 1 and step.epoch > 1 else 0)
        )
        at[i] = now
        if begin <= i < end:
            throughput.add(step, 16, now)
            last = step
    return throughput, last, now - at[end - 1]


@pytest.mark.parametrize("begin", [0, 3, 19, 20])
@pytest.mark.parametrize(("steps", "validation", "saving"), [(20, 2.0, 1.0), (20, 0.0, 0.0), (3, 5.0, 0.0)])
@pytest.mark.parametrize("after", [1, 5])
def test_the_remaining_time_is_exact_after_an_epoch_wherever_this_process_began(
    begin, steps, validation, saving, after
):
    throughput, last, left = throughput_after(20, steps, begin, begin + 2 * steps + after, 0.5, validation, saving)
    assert throughput.samples_per_second == pytest.approx(32, rel=1e-9)
    assert throughput.seconds_left(last) == pytest.approx(left)


@pytest.mark.parametrize("steps", [1, 2])
def test_epochs_of_one_step_or_two(steps):
    throughput, last, left = throughput_after(50, steps, 0, 9)
    assert throughput.samples_per_second == pytest.approx(32)
    assert throughput.seconds_left(last) == pytest.approx(left)
    assert throughput_after(50, steps, 0, 50 * steps)[0].seconds_left(Step(50, 50, steps, steps)) == 0


def test_nothing_is_known_after_one_step_or_if_the_clock_does_not_advance():
    throughput = Throughput()
    for step in steps_of(1, 9):
        throughput.add(step, 16, 5.0)
        assert throughput.samples_per_second is None
        assert throughput.seconds_left(step) is None


def test_a_coarse_clock_gives_the_same_speed():
    throughput = Throughput()
    for i, step in enumerate(steps_of(1, 10_001)):
        throughput.add(step, 16, i // 16 * 0.016)  # a millisecond each, but the clock advances every 16 ms
        if i == 400:
            assert throughput.samples_per_second == pytest.approx(16_000, rel=0.05)
    assert throughput.samples_per_second == pytest.approx(16_000, rel=1e-2)


def test_a_new_speed_shows_soon_and_a_long_pause_is_soon_forgotten():
    throughput, now = Throughput(), 0.0
    for step in steps_of(1, 10**5):
        if step.step == 500:
            now += 8 * 3600  # the machine was asleep
        now += 0.1 if step.step < 1500 else 0.2
        throughput.add(step, 10, now)
        throughput.seconds_left(step)
        if step.step == 499:
            assert throughput.samples_per_second == pytest.approx(100)
        if step.step == 1499:
            assert throughput.samples_per_second == pytest.approx(100, rel=0.01)
        if step.step == 2000:
            assert throughput.samples_per_second == pytest.approx(50, rel=0.01)
            return


def test_without_the_number_of_samples_there_is_no_speed():
    throughput = Throughput()
    for step in steps_of(1, 5):
        throughput.add(step, 0, step.step * 2.0)
    assert throughput.samples_per_second is None
    assert throughput.seconds_left(Step(1, 1, 3, 5)) == pytest.approx(4)


def test_a_clock_that_is_set_back_is_ignored():
    throughput = Throughput()
    for step in steps_of(1, 9):
        throughput.add(step, 10, step.step * 0.5 - (1000 if step.step > 4 else 0))
    assert throughput.samples_per_second == pytest.approx(20)
    assert throughput.seconds_left(Step(1, 1, 5, 9)) == pytest.approx(2)
