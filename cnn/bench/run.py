"""Run all cases of a suite."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np

from cnn.bench import machine, opponents, ours, turns
from cnn.bench.cases import LAYER, Case, choose
from cnn.bench.memory import step_memory
from cnn.bench.opponents import NAMES, NOTHING, TORCH
from cnn.bench.results import Report, Result
from cnn.bench.timing import time_in_turns
from cnn.kernels import get_num_threads

ROUNDS, NET_SECONDS, LAYER_SECONDS = 5, 6.0, 2.0
TOLERANCE = 1e-3  # of max|ours - theirs| / max|theirs|; the programs must agree this closely before they are timed
GET_TORCH = "not installed; pip install torch"
LEFT_OUT = "left out (--against nothing)"


def bench(
    suite: str = "all",
    against: str | None = None,
    rounds: int = ROUNDS,
    seconds: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure this library and another, by default PyTorch, taking turns.

    Parameters
    ----------
    suite : str
        One of `cnn.bench.cases.SUITES`, the name of a net or the class of a layer.
    against : {"torch", "torch-compile", "onnxruntime", "openvino", "nothing"}, optional
        By default PyTorch, if it is installed. Compiled PyTorch is compared in training, ONNX Runtime and OpenVINO in
        inference, each in a process of its own.
    rounds : int
        Least number of turns of each program.
    seconds : float, optional
        Duration of all turns of one case; by default 6 for a net and 2 for a single layer.
    progress : callable
        Called with a line about each case.

    Raises
    ------
    ValueError
        If what is requested is not installed, the suite is unknown, or it has no case that can be compared.
    RuntimeError
        If the programs do not compute the same results; that case is not timed.
    """
    began = time.perf_counter()
    timed, memory = choose(suite)
    if against is not None and opponents.in_own_process(against):
        opponents.check_installed(against)
        return _bench_in_processes(
            suite, opponents.measurable(timed, suite, against), against, rounds, seconds, progress
        )
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
            progress(_line(i, len(cases), result, NAMES[TORCH]))
    report.seconds = time.perf_counter() - began
    return report


def _bench_in_processes(
    suite: str,
    cases: Sequence[Case],
    against: str,
    rounds: int,
    seconds: float | None,
    progress: Callable[[str], None],
) -> Report:
    """Measure this library and an opponent, each in a process of its own for each case."""
    began, threads, title = time.perf_counter(), get_num_threads(), NAMES[against]
    version = opponents.version(against)
    report = Report(suite, machine.facts(threads), version, machine.gemm_rate(threads), opponent=title)
    for i, case in enumerate(cases, start=1):
        result = Result(case, multiply_adds=case.multiply_adds())
        with ExitStack() as stack:
            workers = turns.start(case, opponents.program_names(case, against), stack)
            mine, *theirs = (worker.as_program() for worker in workers)
            check_results(case, mine, theirs, title)
            result.seconds, result.others = turns.measure(workers, rounds, NET_SECONDS if seconds is None else seconds)
        report.results.append(result)
        progress(_line(i, len(cases), result, title))
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
        check_results(case, mine, theirs)
    return [mine, *theirs]


def check_results(case: Case, mine: ours.Program, theirs: Sequence[ours.Program], title: str = NAMES[TORCH]) -> None:
    """Raise an error unless all programs compute the same results."""
    expected = mine.probe()
    for program in theirs:
        for name, found in program.probe().items():
            error = _difference(expected[name], found)
            if not error <= TOLERANCE:  # nan is an error too
                raise RuntimeError(
                    f"{case.kind}, {case.name}: the {name} is not {title}'s ({program.name}): they differ by "
                    f"{error:.1e}, more than {TOLERANCE:.0e}, so this case was not timed"
                )


def _difference(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return float("inf")
    return float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(b))), 1e-12))


def _line(number: int, count: int, result: Result, title: str) -> str:
    case = result.case
    return f"{number:>{len(str(count))}}/{count}  {case.kind}: {case.name}  {_short(result, title)}"


def _short(result: Result, title: str) -> str:
    texts = []
    if result.ours is not None:
        texts.append(f"{1000 * result.ours:.4g} ms")
    if result.theirs is not None:
        texts.append(f"{title} {1000 * result.theirs:.4g} ms ({result.faster_format}), ratio {result.ratio:.2f}")
    if result.memory_ratio is not None:
        texts.append(f"memory {result.memory_ratio:.2f} of PyTorch's")
    return ", ".join(texts)
