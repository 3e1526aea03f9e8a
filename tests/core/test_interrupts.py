"""Interrupts: signals to stop wait for the end of a step."""

import contextlib
import signal

import pytest

from cnn.core.interrupts import SIGNALS, Interrupted, Interrupts

pytestmark = pytest.mark.usefixtures("restored_handlers")
each_signal = pytest.mark.parametrize("number", SIGNALS)


@each_signal
def test_a_signal_waits_for_the_end_of_the_step(number):
    with Interrupts() as interrupts, contextlib.ExitStack() as stack:
        assert stack.enter_context(interrupts.delayed()) is None
        interrupts.check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as caught:
            interrupts.check()
        assert caught.value.status == 128 + number
        stack.pop_all()


def test_only_a_second_ctrl_c_does_not_wait():
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.delayed():  # noqa: PT012
        for number in (*SIGNALS[1:], *SIGNALS[1:]):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@each_signal
def test_a_signal_acts_at_once_outside_a_step(number):
    with Interrupts():
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
        if number != signal.SIGINT:
            signal.raise_signal(number)  # while saving: the second one is ignored


def test_a_signal_after_the_last_check_is_not_lost():
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.delayed():
        signal.raise_signal(signal.SIGTERM)


@each_signal
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_is_ignored_or_handled_is_left_alone(number, handler):
    before = signal.signal(number, handler)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(number) is handler
            interrupts.check()
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_inside_another_one_a_signal_counts_for_both():
    """The outer one decides when it is raised, so that nothing is between the two in which it would be lost."""
    with pytest.raises(Interrupted), Interrupts() as outer, outer.delayed():  # noqa: PT012
        with pytest.raises(Interrupted), Interrupts() as inner, inner.delayed():  # noqa: PT012
            assert inner.received is None
            signal.raise_signal(signal.SIGTERM)
            assert inner.received == outer.received == signal.SIGTERM
        with pytest.raises(Interrupted):
            outer.check()
