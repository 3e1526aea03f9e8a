"""Run all cases of a suite."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from cnn.bench import machine, ours
from cnn.bench.cases import LAYER, Case, choose
from cnn.bench.memory import step_memory
from cnn.bench.results import Report, Result
from cnn.bench.timing import time_in_turns
from cnn.kernels import get_num_threads

ROUNDS, NET_SECONDS, LAYER_SECONDS = 5, 6.0, 2.0
TOLERANCE = 1e-3  # of max|ours - theirs| / max|theirs|; the programs must agree this closely before they are timed
TORCH, NOTHING = "torch", "nothing"
GET_TORCH = "not installed; pip install torch"
LEFT_OUT = "left out (--against nothing)"


def bench(
    suite: str = "all",
    against: str | None = None,
    rounds: int = ROUNDS,
    seconds: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure this library and PyTorch, taking turns.

    Parameters
    ----------
    suite : str
        "all", "train", "inference", "layers", "memory", the name of a net or the class of a layer.
    against : {"torch", "nothing"}, optional
        By default PyTorch, if it is installed.
    rounds : int
        Least number of turns of each program.
    seconds : float, optional
        Duration of all turns of one case; by default 6 for a net and 2 for a single layer.
    progress : callable
        Called with a line about each case.

    Raises
    ------
    ValueError
        If PyTorch is requested and not installed, or the suite is unknown.
    RuntimeError
        If the programs do not compute the same results; that case is not timed.
    """
    began = time.perf_counter()
    timed, memory = choose(suite)
    pytorch = None if against == NOTHING else _pytorch()
    if pytorch is None and against == TORCH:
        raise ValueError("PyTorch is not installed: pip install torch, or measure alone with --against nothing")
    torch_version = LEFT_OUT if against == NOTHING else GET_TORCH if pytorch is None else pytorch.version()
    threads = get_num_threads()
    report = Report(suite, machine.facts(threads), torch_version, machine.gemm_rate(threads))
    cases = timed + [case for case in memory if case not in timed]
    with nullcontext() if pytorch is None else pytorch.threads(threads):
        for i, case in enumerate(cases, start=1):
            result = Result(case, multiply_adds=case.multiply_adds())
            programs = _programs(case, pytorch)
            if case in timed:
                default = LAYER_SECONDS if case.kind == LAYER else NET_SECONDS
                runs = {program.name: program.run for program in programs}
                with machine.OtherPrograms() as others:
                    result.seconds = time_in_turns(runs, rounds, default if seconds is None else seconds)
                result.others = others.share
            if case in memory:
                if case not in timed:
                    programs[0].run(2)  # compiles everything that the child processes will load
                result.memory = {program.name: step_memory(case, program.name) for program in programs}
            del programs
            report.results.append(result)
            progress(f"{i:>{len(str(len(cases)))}}/{len(cases)}  {case.kind}: {case.name}  {_short(result)}")
    report.seconds = time.perf_counter() - began
    return report


def _pytorch() -> Any:
    from cnn.bench import pytorch  # only when needed: importing PyTorch takes a second

    return pytorch if pytorch.installed() else None


def _programs(case: Case, pytorch: Any) -> list[ours.Program]:
    """Return the programs of a case, ours first, after checking that they compute the same results."""
    model = ours.new_model(case)
    x, y = case.data()
    theirs = []
    for name in () if pytorch is None else pytorch.formats(case):
        theirs.append(pytorch.program(case, model, pytorch.tensor(x, name), pytorch.tensor(y), name))
    mine = ours.program(case, model, x, y)  # last, because its first step changes the weights that PyTorch copies
    if theirs:
        _check(case, mine, theirs)
    return [mine, *theirs]


def _check(case: Case, mine: ours.Program, theirs: Sequence[ours.Program]) -> None:
    """Raise an error unless all programs compute the same results."""
    expected = mine.probe()
    for program in theirs:
        for name, found in program.probe().items():
            error = _difference(expected[name], found)
            if not error <= TOLERANCE:  # nan is an error too
                raise RuntimeError(
                    f"{case.kind}, {case.name}: the {name} is not PyTorch's ({program.name}): they differ by "
                    f"{error:.1e}, more than {TOLERANCE:.0e}, so this case was not timed"
                )


def _difference(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return float("inf")
    return float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(b))), 1e-12))


def _short(result: Result) -> str:
    texts = []
    if result.ours is not None:
        texts.append(f"{1000 * result.ours:.4g} ms")
    if result.theirs is not None:
        texts.append(f"PyTorch {1000 * result.theirs:.4g} ms ({result.faster_format}), ratio {result.ratio:.2f}")
    if result.memory_ratio is not None:
        texts.append(f"memory {result.memory_ratio:.2f} of PyTorch's")
    return ", ".join(texts)
