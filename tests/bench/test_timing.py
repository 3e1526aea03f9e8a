"""Times in turn, by a clock that only the programs move."""

import gc
from types import SimpleNamespace

import pytest

from cnn.bench import timing


class Clock:
    """Time that passes only in sleep and in programs."""

    def __init__(self, monkeypatch):
        self.now, self.log = 0.0, []
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.now, sleep=self.sleep))

    def sleep(self, seconds):
        self.now += seconds
        self.log.append("pause")

    def program(self, name, seconds, first=0.0):
        """Return a program whose step takes so long, and the first of all longer."""
        left = [first]

        def run(count):
            self.log.append((name, count, gc.isenabled()))
            self.now += count * seconds + left.pop() if left else count * seconds

        return run


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_turns_are_interleaved_warm_and_in_bundles(clock):
    programs = {"slow": clock.program("slow", 0.5, first=60), "quick": clock.program("quick", 0.0125, first=9)}
    taken = timing.in_turn(programs, rounds=3, seconds=0)
    assert taken == {"slow": [0.5] * 3, "quick": [pytest.approx(0.0125)] * 3}  # nothing of the first steps
    began = clock.log.index("pause")
    warm, turns = clock.log[:began], clock.log[began:]
    assert [name for name, *_ in warm] == ["slow"] * 3 + ["quick"] * 3
    one_round = ["pause", ("slow", 1, False), "pause", ("quick", 1, True), ("quick", 3, False)]
    assert turns == 3 * one_round  # 3 quick steps fill a turn; before them one that is not timed


def test_it_goes_on_until_the_time_is_up(clock):
    taken = timing.in_turn({"a": clock.program("a", 0.5)}, rounds=2, seconds=3)
    assert taken == {"a": [0.5] * 6}
    assert "pause" not in clock.log  # nobody to wait for


def test_the_garbage_collector_is_as_it_was(clock):
    gc.disable()
    try:
        timing.in_turn({"a": clock.program("a", 0.5)}, rounds=1, seconds=0)
        assert not gc.isenabled()
    finally:
        gc.enable()

    def fail(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timing.in_turn({"a": fail}, rounds=1, seconds=0)
    assert gc.isenabled()


def test_a_step_that_the_clock_does_not_see(clock, monkeypatch):
    monkeypatch.setattr(timing, "WARM_SECONDS", 0.0)
    assert timing.in_turn({"a": clock.program("a", 0.0)}, rounds=1, seconds=0)["a"] == [0.0]
