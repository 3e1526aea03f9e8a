"""Times of several programs that do the same work, in turn, so that what slows the machine down meets all alike."""

import gc
import math
import time
from collections.abc import Callable, Mapping

WARM_STEPS, WARM_SECONDS = 3, 0.3
TURN_SECONDS = 0.03  # a turn of quick steps has as many as fill this, so that the clock does not matter
PAUSE_SECONDS = 0.02  # between turns: helper threads of OpenMP, which PyTorch uses, go on spinning for some time


def in_turn(programs: Mapping[str, Callable[[int], object]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Run programs in turn, each for ``rounds`` turns at least, until the time is up.

    Before, each is run until it is warm: a first step may compile. The first step of a turn of several is not timed,
    for it finds the caches full of the other program's numbers.

    Parameters
    ----------
    programs : mapping of str to callable
        ``program(count)`` takes so many steps.
    rounds : int
        At least 1.
    seconds : float
        How long all of them together may take.

    Returns
    -------
    dict of str to list of float
        Seconds of a step, a value a round: values at the same place were taken one right after the other.

    Examples
    --------
    >>> taken = in_turn({"list": lambda count: [list(range(9999)) for _ in range(count)]}, rounds=2, seconds=0)
    >>> len(taken["list"])
    2
    """
    counts = {name: max(1, math.ceil(TURN_SECONDS / _warm(run))) for name, run in programs.items()}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    gc.collect()
    began, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - began < seconds:
        done += 1
        for name, run in programs.items():
            if len(programs) > 1:
                time.sleep(PAUSE_SECONDS)
            if counts[name] > 1:
                run(1)
            taken[name].append(_timed(run, counts[name]) / counts[name])
    return taken


def _warm(run: Callable[[int], object]) -> float:
    """Take steps until they have nothing more to prepare; return the seconds of a step."""
    began, taken = time.perf_counter(), [_timed(run, 1)]
    while len(taken) < WARM_STEPS or time.perf_counter() - began < WARM_SECONDS:
        taken.append(_timed(run, 1))
    return max(min(taken), 1e-6)


def _timed(run: Callable[[int], object], count: int) -> float:
    """Return the seconds of so many steps, during which no garbage is collected."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        run(count)
        return time.perf_counter() - began
    finally:
        if was_enabled:
            gc.enable()
