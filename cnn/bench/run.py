"""All measurements of a suite."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from cnn.bench import machine, ours
from cnn.bench.cases import LAYER, Case, choose
from cnn.bench.memory import step_memory
from cnn.bench.results import Report, Result
from cnn.bench.timing import in_turn
from cnn.kernels import get_num_threads

ROUNDS, NET_SECONDS, LAYER_SECONDS = 5, 6.0, 2.0
TOLERANCE = 1e-3  # max|ours - theirs| / max|theirs| of what the programs must agree on before they are timed
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
    """Measure this library, in turn with PyTorch.

    Parameters
    ----------
    suite : str
        "all", "train", "inference", "layers", "memory", the name of a net or the class of a layer.
    against : {"torch", "nothing"}, optional
        By default PyTorch, if it is installed.
    rounds : int
        How many turns each program has, at least.
    seconds : float, optional
        How long the turns of one case take; by default 6 for a net and 2 for a single layer.
    progress : callable
        Called with a line about each case.

    Raises
    ------
    ValueError
        If PyTorch is wanted and not installed, or there is no such suite.
    RuntimeError
        If the programs do not compute the same: then nothing is timed.
    """
    began = time.perf_counter()
    timed, weighed = choose(suite)
    pytorch = None if against == NOTHING else _pytorch()
    if pytorch is None and against == TORCH:
        raise ValueError("PyTorch is not installed: pip install torch, or measure alone with --against nothing")
    told = LEFT_OUT if against == NOTHING else GET_TORCH if pytorch is None else pytorch.version()
    threads = get_num_threads()
    report = Report(suite, machine.facts(threads), told, machine.gemm_rate(threads))
    cases = timed + [case for case in weighed if case not in timed]
    with nullcontext() if pytorch is None else pytorch.threads(threads):
        for i, case in enumerate(cases, start=1):
            result = Result(case, multiply_adds=case.multiply_adds())
            programs = _programs(case, pytorch)
            if case in timed:
                usual = LAYER_SECONDS if case.kind == LAYER else NET_SECONDS
                runs = {program.name: program.run for program in programs}
                with machine.Others() as others:
                    result.seconds = in_turn(runs, rounds, usual if seconds is None else seconds)
                result.others = others.share
            if case in weighed:
                if case not in timed:
                    programs[0].run(2)  # so that all is compiled that the processes will load
                result.memory = {program.name: step_memory(case, program.name) for program in programs}
            del programs
            report.results.append(result)
            progress(f"{i:>{len(str(len(cases)))}}/{len(cases)}  {case.kind}: {case.name}  {_short(result)}")
    report.seconds = time.perf_counter() - began
    return report


def _pytorch() -> Any:
    from cnn.bench import pytorch  # when it is needed: importing PyTorch takes a second

    return pytorch if pytorch.installed() else None


def _programs(case: Case, pytorch: Any) -> list[ours.Program]:
    """Return the programs of a case, ours first, which have shown that they compute the same."""
    model = ours.fresh(case)
    x, y = case.data()
    theirs = []
    for name in () if pytorch is None else pytorch.formats(case):
        theirs.append(pytorch.program(case, model, pytorch.tensor(x, name), pytorch.tensor(y), name))
    mine = ours.program(case, model, x, y)  # last, because its first step changes the weights that the others copy
    if theirs:
        _check(case, mine, theirs)
    return [mine, *theirs]


def _check(case: Case, mine: ours.Program, theirs: Sequence[ours.Program]) -> None:
    """Raise an error unless all of them compute the same."""
    expected = mine.probe()
    for program in theirs:
        for name, found in program.probe().items():
            error = _difference(expected[name], found)
            if not error <= TOLERANCE:  # nan is an error too
                raise RuntimeError(
                    f"{case.kind}, {case.name}: the {name} is not PyTorch's ({program.name}): they are {error:.1e} "
                    f"apart, more than {TOLERANCE:.0e}, so this was not timed"
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
        texts.append(f"PyTorch {1000 * result.theirs:.4g} ms ({result.rival}), ratio {result.ratio:.2f}")
    if result.memory_ratio is not None:
        texts.append(f"memory {result.memory_ratio:.2f} of PyTorch's")
    return ", ".join(texts)
