"""Times of several programs that do the same work. They take turns, so that a slow phase of the machine affects all."""

import gc
import math
import time
from collections.abc import Callable, Mapping

WARMUP_STEPS, WARMUP_SECONDS = 3, 0.3
TURN_SECONDS = 0.03  # a turn has as many steps as fill this time, so that the resolution of the clock does not matter
PAUSE_SECONDS = 0.02  # between turns: worker threads of OpenMP, which PyTorch uses, keep spinning for some time


def time_in_turns(
    programs: Mapping[str, Callable[[int], object]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Run programs in turn until the time is up, each for at least ``rounds`` turns, and return the times of a step.

    First each program is warmed up, because a first step may compile. In a turn of several steps the first is not
    timed, because the processor caches still hold the data of the other program.

    Parameters
    ----------
    programs : mapping of str to callable
        ``program(count)`` takes ``count`` steps.
    rounds : int
        At least 1.
    seconds : float
        Duration of all turns together.

    Returns
    -------
    dict of str to list of float
        Seconds of a step, one value per round: values at the same index were measured one right after the other.

    Examples
    --------
    >>> taken = time_in_turns({"list": lambda count: [list(range(9999)) for _ in range(count)]}, rounds=2, seconds=0)
    >>> len(taken["list"])
    2
    """
    return alternate({name: Turn(run) for name, run in programs.items()}, rounds, seconds)


class Turn:
    """A turn of one program, which is warmed up first.

    Parameters
    ----------
    run : callable
        ``run(count)`` takes ``count`` steps.
    """

    def __init__(self, run: Callable[[int], object]) -> None:
        self.run = run
        self.count = max(1, math.ceil(TURN_SECONDS / _warm_up(run)))
        gc.collect()

    def __call__(self) -> float:
        """Take the turn and return the seconds of a step."""
        if self.count > 1:
            self.run(1)
        return _timed(self.run, self.count) / self.count


def alternate(turns: Mapping[str, Callable[[], float]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Take turns until the time is up, at least ``rounds`` of each, and return what they returned."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    began, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - began < seconds:
        done += 1
        for name, turn in turns.items():
            if len(turns) > 1:
                time.sleep(PAUSE_SECONDS)
            taken[name].append(turn())
    return taken


def _warm_up(run: Callable[[int], object]) -> float:
    """Take steps until nothing is left to compile or allocate; return the seconds of a step."""
    began, taken = time.perf_counter(), [_timed(run, 1)]
    while len(taken) < WARMUP_STEPS or time.perf_counter() - began < WARMUP_SECONDS:
        taken.append(_timed(run, 1))
    return max(min(taken), 1e-6)


def _timed(run: Callable[[int], object], count: int) -> float:
    """Return the seconds of ``count`` steps, with the garbage collector off."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        run(count)
        return time.perf_counter() - began
    finally:
        if was_enabled:
            gc.enable()
