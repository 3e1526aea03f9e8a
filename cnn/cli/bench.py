"""The command that measures speed: `cnn bench`."""

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cnn import kernels
from cnn.bench.cases import INFERENCE, LAYER, TRAIN, choose
from cnn.bench.memory import NOT_MEASURED
from cnn.bench.ours import OURS
from cnn.bench.results import DISTURBED, Report, Result
from cnn.bench.run import NOTHING
from cnn.bench.run import bench as measure
from cnn.cli.terminal import note, say

TITLES = {
    TRAIN: "training: a step with Adam",
    INFERENCE: "inference: forward in evaluation mode",
    LAYER: "single layers: forward and backward, batch 64",
}
TIMES = (
    "ms: median of a step. torch: PyTorch, in the faster of its two memory formats. ratio: ours by torch's. quartiles: "
    "of that ratio from turn to turn."
)
GEMM = (
    "gemm: our multiply-adds a second, counted as a plain convolution needs them, as a share of the {:.0f} GFLOP/s "
    "that float32 products of 1024 x 1024 reached in this run with as many threads."
)
MEMORY = (
    "MiB: what a training step takes at most, over what there was before the model, in processes of its own: ours, "
    "and PyTorch's in the memory format that takes less."
)


def check(args: argparse.Namespace) -> None:
    """Raise an error that says what is wrong with the arguments."""
    timed, _ = choose(args.suite)
    if args.plot is None:
        return
    if args.plot.suffix.lower() != ".png":
        raise ValueError(f"argument --plot: expected a name that ends in .png, got {str(args.plot)!r}")
    if not args.plot.parent.is_dir():
        raise ValueError(f"argument --plot: the folder {args.plot.parent} does not exist")
    if args.against == NOTHING or not timed:
        raise ValueError("argument --plot: it draws our time by PyTorch's, which this does not measure")


def bench(args: argparse.Namespace) -> int:
    """Measure, print what came out, and draw it."""
    with _used(args.threads, args.kernels):
        report = measure(args.suite, args.against, args.rounds, args.seconds, note)
    if args.json:
        say(json.dumps(_facts(report), indent=2))
    else:
        _print(report)
    if args.plot is not None:
        _draw(report, args.plot)
    return 0


@contextmanager
def _used(threads: int | None, name: Any) -> Iterator[None]:
    """Use so many threads, and kernels of that name, if they are given."""
    before: tuple[int, Any] = kernels.get_num_threads(), kernels.active()
    try:
        if name is not None:
            kernels.use(name)
    except ImportError as error:  # of Numba
        raise ValueError(str(error)) from error
    try:
        if threads is not None:
            kernels.set_num_threads(threads)
        yield
    finally:
        if threads is not None:
            kernels.set_num_threads(before[0])
        if name is not None:
            kernels.use(before[1])


def _print(report: Report) -> None:
    for line in _machine(report):
        _wrapped(line)
    for kind, title in TITLES.items():
        results = [result for result in report.results if result.case.kind == kind]
        if results:
            say()
            say(_table(title, results, report))
    say()
    if any(result.seconds for result in report.results):
        _wrapped(TIMES)
    if any(result.share(report.gemm_rate) for result in report.results):
        _wrapped(GEMM.format(report.gemm_rate))
    if report.with_memory:
        told = any(size is not None for result in report.with_memory for size in result.memory.values())
        _wrapped(MEMORY if told else NOT_MEASURED)
    if report.disturbed:
        most = max(result.others or 0.0 for result in report.disturbed)
        _wrapped(
            f"Other programs took more than {DISTURBED:.0%} of the processors during {len(report.disturbed)} of "
            f"{len(report.results)} cases, {most:.0%} at most: measure again when nothing else runs."
        )


def _machine(report: Report) -> list[str]:
    facts = report.machine
    numba = f"Numba {facts['numba']}" if facts["numba"] else "no Numba"
    return [
        f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {facts['system']}",
        f"cnn {facts['cnn']} with the kernels {facts['kernels']!r}, Python {facts['python']}, NumPy {facts['numpy']} "
        f"with {facts['blas']}, {numba}",
        f"PyTorch {report.torch}",
    ]


def _table(title: str, results: Sequence[Result], report: Report) -> str:
    timed, weighed = any(result.seconds for result in results), any(result.memory for result in results)
    against = any(result.faster_format for result in results)
    heads = ["ms"] * timed + ["torch ms", "format", "ratio", "quartiles"] * (timed and against) + ["gemm"] * timed
    heads += ["MiB"] * weighed + ["torch MiB", "ratio"] * (
        weighed and any(len(result.memory) > 1 for result in results)
    )
    rows = [[title, *heads]]
    for result in results:
        cells = [_milliseconds(result.ours)] if timed else []
        if timed and against:
            cells += [_milliseconds(result.theirs), result.faster_format or "-", _number(result.ratio)]
            cells += ["-" if result.quartiles is None else "{:.2f}-{:.2f}".format(*result.quartiles)]
        if timed:
            share = result.share(report.gemm_rate)
            cells += ["-" if share is None else f"{share:.{0 if share >= 0.1 else 1}%}"]
        if weighed:
            cells += [_mebibytes(result.memory.get(OURS))]
            cells += [_mebibytes(result.their_memory), _number(result.memory_ratio)] if "torch MiB" in heads else []
        rows.append([result.case.name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.{3 if seconds < 0.01 else 2 if seconds < 0.1 else 1}f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.{2 if count < 2**20 else 1}f}"


def _wrapped(text: str) -> None:
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    say(textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def _draw(report: Report, path: Any) -> None:
    from cnn.report import plots  # matplotlib takes its time

    groups = {
        title.partition(":")[0]: {
            result.case.name: (result.ratio, *result.quartiles)
            for result in report.of(kind)
            if result.ratio is not None and result.quartiles is not None
        }
        for kind, title in TITLES.items()
    }
    groups = {title: bars for title, bars in groups.items() if bars}
    if not groups:
        raise ValueError(f"nothing was compared, so nothing is drawn: PyTorch is {report.torch}")
    plots.save(plots.ratios(groups), path)
    note(f"drawn in {path}")


def _facts(report: Report) -> dict[str, Any]:
    return {
        "suite": report.suite,
        "machine": report.machine | {"gemm_gflops": report.gemm_rate},
        "torch": report.torch,
        "seconds": round(report.seconds, 1),
        "cases": [_case_facts(result, report) for result in report.results],
    }


def _case_facts(result: Result, report: Report) -> dict[str, Any]:
    case = result.case
    programs = {
        name: dict(zip(("median_s", "quartiles_s", "rounds"), result.spread(name), strict=True))
        for name in result.seconds
    }
    return {
        "kind": case.kind,
        "name": case.subject,
        "batch": case.batch,
        "input_shape": case.shape,
        "programs": programs,
        "faster_format": result.faster_format,
        "ratio": result.ratio,
        "ratio_quartiles": result.quartiles,
        "multiply_adds": result.multiply_adds,
        "gemm_share": result.share(report.gemm_rate),
        "memory_bytes": result.memory,
        "memory_ratio": result.memory_ratio,
        "others_share": result.others,
    }
