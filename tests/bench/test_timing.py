"""Times of programs that take turns, with a fake clock that only they and sleep advance."""

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
        """Return a program whose steps take ``seconds``, the very first ``first`` seconds longer."""
        left = [first]

        def run(count):
            self.log.append((name, count, gc.isenabled()))
            self.now += count * seconds + left.pop() if left else count * seconds

        return run


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_turns_are_interleaved_after_a_warm_up_and_have_several_quick_steps(clock):
    programs = {"slow": clock.program("slow", 0.5, first=60), "quick": clock.program("quick", 0.0125, first=9)}
    taken = timing.time_in_turns(programs, rounds=3, seconds=0)
    assert taken == {"slow": [0.5] * 3, "quick": [pytest.approx(0.0125)] * 3}  # the first steps are not included
    began = clock.log.index("pause")
    warm_up, turns = clock.log[:began], clock.log[began:]
    assert [name for name, *_ in warm_up] == ["slow"] * 3 + ["quick"] * 3
    one_round = ["pause", ("slow", 1, False), "pause", ("quick", 1, True), ("quick", 3, False)]
    assert turns == 3 * one_round  # 3 quick steps fill a turn, after one that is not timed


def test_it_continues_until_the_time_is_up(clock):
    taken = timing.time_in_turns({"a": clock.program("a", 0.5)}, rounds=2, seconds=3)
    assert taken == {"a": [0.5] * 6}
    assert "pause" not in clock.log  # there is no other program


def test_the_state_of_the_garbage_collector_is_restored(clock):
    gc.disable()
    try:
        timing.time_in_turns({"a": clock.program("a", 0.5)}, rounds=1, seconds=0)
        assert not gc.isenabled()
    finally:
        gc.enable()

    def fail(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timing.time_in_turns({"a": fail}, rounds=1, seconds=0)
    assert gc.isenabled()


def test_a_step_shorter_than_the_clock_resolution(clock, monkeypatch):
    monkeypatch.setattr(timing, "WARMUP_SECONDS", 0.0)
    assert timing.time_in_turns({"a": clock.program("a", 0.0)}, rounds=1, seconds=0)["a"] == [0.0]
