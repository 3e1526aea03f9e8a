"""A process that trains one net for a few steps and prints the memory that this took, for memory.py."""

import contextlib
import ctypes
import gc
import json
import statistics
import sys
from dataclasses import replace
from typing import Any

from cnn.bench import ours
from cnn.bench.cases import Case, training
from cnn.bench.memory import forget_highest, highest, resident
from cnn.kernels import empty_cache, set_num_threads, use

REPEATS, STEPS, FIRST_BATCH = 3, 4, 2


def measured(case: Case, program: str) -> int | None:
    """Return the bytes that training takes at most: the median of three models, one after the other.

    A model before these trains on a tiny batch, so that compilers, threads and BLAS have what they keep; it is not
    counted.
    """
    tiny = replace(case, batch=FIRST_BATCH)
    _program(tiny, program, *_data(tiny, program)).run(STEPS)
    x, y = _data(case, program)
    _tidy()
    before, peaks = resident(), []
    for _ in range(REPEATS):
        steps = _program(case, program, x, y)
        _tidy()  # what making it took is no part of a step
        forget_highest()
        steps.run(STEPS)
        peaks.append(highest())
        del steps
        _tidy()
    if before is None or None in peaks:
        return None
    return max(0, round(statistics.median(peaks)) - before)  # type: ignore[type-var, arg-type]  # no None among them


def _program(case: Case, program: str, x: Any, y: Any) -> ours.Program:
    model = ours.fresh(case)
    if program == ours.OURS:
        return ours.program(case, model, x, y)
    from cnn.bench import pytorch

    return pytorch.program(case, model, x, y, program)


def _data(case: Case, program: str) -> tuple[Any, Any]:
    x, y = case.data()
    if program == ours.OURS:
        return x, y
    from cnn.bench import pytorch

    return pytorch.tensor(x, program).clone(), pytorch.tensor(y).clone()


def _tidy() -> None:
    """Give what is kept for later back to the system: by us, and by the C library where it can (glibc)."""
    gc.collect()
    empty_cache()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library of that name
        ctypes.CDLL(None).malloc_trim(0)


def main(settings: dict[str, Any]) -> None:
    """Print the bytes, or null."""
    set_num_threads(settings["threads"])
    use(settings["kernels"])
    case, program = training(settings["net"], settings["batch"]), settings["program"]
    threads: Any = contextlib.nullcontext()
    if program != ours.OURS:
        from cnn.bench import pytorch

        threads = pytorch.threads(settings["threads"])
    with threads:
        print(json.dumps(measured(case, program)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
