"""A child process of memory.py that trains one net for a few steps and prints the memory that this took."""

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
from cnn.bench.memory import peak, reset_peak, resident
from cnn.kernels import empty_cache, set_num_threads, use

REPEATS, STEPS, WARMUP_BATCH = 3, 4, 2


def peak_memory(case: Case, program: str) -> int | None:
    """Return the peak memory of training in bytes: the median of three models, one after the other.

    Before them one more model trains on a tiny batch, as a warm-up, so that compilers, threads and BLAS have allocated
    what they keep.
    """
    tiny = replace(case, batch=WARMUP_BATCH)
    _program(tiny, program, *_data(tiny, program)).run(STEPS)
    x, y = _data(case, program)
    _free()
    before, peaks = resident(), []
    for _ in range(REPEATS):
        steps = _program(case, program, x, y)
        _free()  # memory used while making the model does not belong to a step
        reset_peak()
        steps.run(STEPS)
        peaks.append(peak())
        del steps
        _free()
    if before is None or None in peaks:
        return None
    return max(0, round(statistics.median(peaks)) - before)  # type: ignore[type-var, arg-type]  # none of them is None


def _program(case: Case, program: str, x: Any, y: Any) -> ours.Program:
    model = ours.new_model(case)
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


def _free() -> None:
    """Return cached memory to the system: that of this library, and that of the C library where it can (glibc)."""
    gc.collect()
    empty_cache()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library of that name
        ctypes.CDLL(None).malloc_trim(0)


def main(settings: dict[str, Any]) -> None:
    """Print the number of bytes, or null."""
    set_num_threads(settings["threads"])
    use(settings["kernels"])
    case, program = training(settings["net"], settings["batch"]), settings["program"]
    threads: Any = contextlib.nullcontext()
    if program != ours.OURS:
        from cnn.bench import pytorch

        threads = pytorch.threads(settings["threads"])
    with threads:
        print(json.dumps(peak_memory(case, program)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
