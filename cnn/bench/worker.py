"""A process that does the work of one case with one library, in turn with the other processes that turns.py starts.

It reads one word a line from standard input and answers each with a line of JSON. An answer comes only when no thread
of the process uses its processor any more: threads of most libraries wait for work in a busy loop for some time, which
would slow the other process down.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from cnn.bench import cases, ours
from cnn.bench.cases import Case
from cnn.bench.timing import Turn
from cnn.kernels import set_num_threads, use

SLICE_SECONDS, QUIET_SHARE, LONGEST_WAIT = 0.01, 0.05, 5.0


def become_quiet() -> None:
    """Wait until the threads of this process sleep: until it used hardly any processor time for a while.

    Raises
    ------
    RuntimeError
        If they still run after five seconds.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < LONGEST_WAIT:
        start, used = time.perf_counter(), time.process_time()
        time.sleep(SLICE_SECONDS)
        if time.process_time() - used < QUIET_SHARE * (time.perf_counter() - start):
            return
    raise RuntimeError(f"its threads still run {LONGEST_WAIT:g} s after the last call, so it cannot be compared")


def make_program(case: Case, name: str, threads: int, stack: ExitStack) -> ours.Program:
    """Return the program of a case: OURS, one of the runtimes, or compiled PyTorch in one of its memory formats."""
    model = ours.new_model(case)
    x, y = case.data()
    if name == ours.OURS:
        return ours.program(case, model, x, y)
    from cnn.bench import runtimes

    if name in runtimes.RUNTIMES:
        return runtimes.program(model.eval(), x, name, threads)
    from cnn.bench import pytorch

    stack.enter_context(pytorch.threads(threads))
    return pytorch.program(case, model, pytorch.tensor(x, name), pytorch.tensor(y), name, compiled=True)


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a probe as lists and numbers."""
    return {key: np.asarray(value).tolist() for key, value in found.items()}


def main(settings: dict[str, Any], read: Any, answer: Callable[[Any], None]) -> None:
    """Answer "probe", "warm up", "turn" and "processor seconds" until the input ends."""
    set_num_threads(settings["threads"])
    use(settings["kernels"])
    case = {cases.TRAIN: cases.training, cases.INFERENCE: cases.inference}[settings["kind"]](
        settings["net"], settings["batch"]
    )
    with ExitStack() as stack:
        program = make_program(case, settings["program"], settings["threads"], stack)
        turn: Turn | None = None
        for line in read:
            word = line.strip()
            found: Any = None
            if word == "probe":
                found = as_json(program.probe())
            elif word == "warm up":
                turn = Turn(program.run)
            elif word == "turn" and turn is not None:
                found = turn()
            become_quiet()
            answer(time.process_time() if word == "processor seconds" else found)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    main(json.loads(sys.argv[1]), sys.stdin, lambda found: print(json.dumps(found), file=answers, flush=True))
