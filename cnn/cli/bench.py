"""`cnn bench`: measure speed and memory, compared with PyTorch or another library."""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnn import kernels
from cnn.bench.cases import INFERENCE, LAYER, TRAIN, choose
from cnn.bench.memory import NOT_MEASURED
from cnn.bench.opponents import OPPONENTS, TORCH
from cnn.bench.ours import OURS
from cnn.bench.results import DISTURBED, Report, Result
from cnn.bench.run import LAYER_SECONDS, NET_SECONDS, ROUNDS
from cnn.bench.run import bench as measure
from cnn.cli.parser import Parser, integer_at_least, non_negative_number
from cnn.cli.terminal import print_data, print_stderr, print_stdout, print_wrapped

DESCRIPTION = "Measure speed and memory, compared with PyTorch if it is installed, or with another library."
EXAMPLE = """\
example:
  cnn bench train --plot speed.png
trains eight models on random batches, alternating with PyTorch, and prints for each the median milliseconds of a step,
the ratio of our time to PyTorch's, the quartiles of that ratio over the rounds, the speed as a share of the machine's
own rate of matrix products, and the memory. It takes about four minutes; "all" takes eight.

suites: all, train, inference, layers (40 layers drawn from the models of the zoo), memory; a model, such as resnet20;
a class of layers, such as conv2d; and, not in "all", small-images (inference of four models at batch 1, 64 and 256) and
large-images (resnet18 and mobilenet with images of 224 x 224 pixels at batch 1 and 8, and a training step of resnet18).
Run nothing else meanwhile; a warning is printed if other programs were running.

Each case is measured in alternation, after a warm-up, with the same number of threads: this library, PyTorch with
contiguous memory, and PyTorch with channels_last memory; the faster PyTorch counts. Inference runs without gradients,
and all programs have the same weights. Before anything is timed, their results are compared and must agree: the
largest difference may be a thousandth of the largest result.

--against onnxruntime and --against openvino compare inference: the model is exported to ONNX. --against torch-compile
compares training, and needs a C++ compiler. With these three, the libraries run in processes of their own, and each
waits until the threads of the other sleep."""

TITLES = {
    TRAIN: "training: one step with Adam",
    INFERENCE: "inference: forward in evaluation mode",
    LAYER: "single layers: forward and backward, batch 64",
}
TIMES = (
    "ms: median time of a step. {0} ms: the same for {1}{2}. ratio: our time divided by that of {1}. quartiles: of "
    "that ratio over the rounds."
)
GEMM = (
    "gemm: our multiply-adds per second, counted as for a direct convolution, as a share of the {:.0f} GFLOP/s "
    "that float32 products of 1024 x 1024 matrices reached in this run with the same number of threads."
)
MEMORY = (
    "MiB: peak memory of a training step, minus the memory before the model was made, each in a process of its own: "
    "ours, and PyTorch's in the memory format that takes less."
)


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn bench`."""
    suite = "what to measure (default all); see below"
    parser.add_argument("suite", nargs="?", default="all", metavar="SUITE", help=suite)
    against = (
        "torch (default if it is installed), torch-compile, onnxruntime, openvino, or nothing: measure only this "
        "library"
    )
    parser.add_argument("--against", choices=OPPONENTS, metavar="LIBRARY", help=against)
    seconds = f"time to spend on a case (default {NET_SECONDS:g}; single layers {LAYER_SECONDS:g})"
    parser.add_argument("--seconds", type=non_negative_number("2.5"), metavar="X", help=seconds)
    rounds = f"minimum number of rounds (default {ROUNDS})"
    parser.add_argument("--rounds", type=integer_at_least(1), default=ROUNDS, metavar="N", help=rounds)
    threads = "number of threads of both libraries (default: the number of cores)"
    parser.add_argument("--threads", type=integer_at_least(1), metavar="N", help=threads)
    backend = "backend of this library: reference, array or jit (default: the fastest available)"
    parser.add_argument("--backend", choices=("reference", "array", "jit"), metavar="NAME", help=backend)
    parser.add_argument("--json", action="store_true", help="print all measurements as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot the ratios into this PNG file")


def check(args: argparse.Namespace) -> None:
    """Raise a ValueError if the suite is unknown, or if --plot has nothing to plot or nowhere to write."""
    timed, _ = choose(args.suite)
    if args.plot is None:
        return
    if args.plot.suffix.lower() != ".png":
        raise ValueError(f"argument --plot: expected a name that ends in .png, got {str(args.plot)!r}")
    if not args.plot.parent.is_dir():
        raise ValueError(f"argument --plot: the folder {args.plot.parent} does not exist")
    if args.against not in (None, TORCH) or not timed:
        raise ValueError("argument --plot: it shows our time divided by PyTorch's, which would not be measured")


def run(args: argparse.Namespace) -> int:
    """Measure, print the results, plot them if wanted, and return the exit status."""
    with _threads_and_backend(args.threads, args.backend):
        report = measure(args.suite, args.against, args.rounds, args.seconds, print_stderr)
    if args.json:
        print_data(json.dumps(_json_results(report), indent=2))
    else:
        _print(report)
    if args.plot is not None:
        _plot(report, args.plot)
    return 0


@contextmanager
def _threads_and_backend(threads: int | None, backend: Any) -> Iterator[None]:
    """Use this number of threads and this backend for the duration of a `with` block, if they are given."""
    previous: tuple[int, Any] = kernels.get_num_threads(), kernels.active()
    try:
        if backend is not None:
            kernels.use(backend)
    except ImportError as error:  # Numba is not installed
        raise ValueError(str(error)) from error
    try:
        if threads is not None:
            kernels.set_num_threads(threads)
        yield
    finally:
        if threads is not None:
            kernels.set_num_threads(previous[0])
        if backend is not None:
            kernels.use(previous[1])


def _print(report: Report) -> None:
    for line in _machine_lines(report):
        print_wrapped(line)
    for kind, title in TITLES.items():
        results = [result for result in report.results if result.case.kind == kind]
        if results:
            print_stdout()
            print_stdout(_table(title, results, report))
    print_stdout()
    if any(result.seconds for result in report.results):
        torch = "torch" in _short_name(report)
        formats = ", in the faster of its two memory formats" if torch else ""
        print_wrapped(TIMES.format(_short_name(report), report.opponent, formats))
    if any(result.share(report.gemm_rate) for result in report.results):
        print_wrapped(GEMM.format(report.gemm_rate))
    if report.with_memory:
        measured = any(size is not None for result in report.with_memory for size in result.memory.values())
        print_wrapped(MEMORY if measured else NOT_MEASURED)
    if report.disturbed:
        most = max(result.others or 0.0 for result in report.disturbed)
        print_wrapped(
            f"Other programs took more than {DISTURBED:.0%} of the processors during {len(report.disturbed)} of "
            f"{len(report.results)} cases, {most:.0%} at most: measure again when nothing else is running."
        )


def _machine_lines(report: Report) -> list[str]:
    machine = report.machine
    numba = f"Numba {machine['numba']}" if machine["numba"] else "no Numba"
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}",
        f"cnn {machine['cnn']} with the {machine['kernels']} backend, Python {machine['python']}, "
        f"NumPy {machine['numpy']} with {machine['blas']}, {numba}",
        f"{report.opponent} {report.version}",
    ]


def _table(title: str, results: Sequence[Result], report: Report) -> str:
    has_times, has_memory = any(result.seconds for result in results), any(result.memory for result in results)
    has_pytorch = any(result.faster_format for result in results)
    headers = (
        ["ms"] * has_times
        + [f"{_short_name(report)} ms", "format", "ratio", "quartiles"] * (has_times and has_pytorch)
        + ["gemm"] * has_times
    )
    headers += ["MiB"] * has_memory + ["torch MiB", "ratio"] * (
        has_memory and any(len(result.memory) > 1 for result in results)
    )
    rows = [[title, *headers]]
    for result in results:
        cells = [_milliseconds(result.ours)] if has_times else []
        if has_times and has_pytorch:
            cells += [_milliseconds(result.theirs), result.faster_format or "-", _number(result.ratio)]
            cells += ["-" if result.quartiles is None else "{:.2f}-{:.2f}".format(*result.quartiles)]
        if has_times:
            share = result.share(report.gemm_rate)
            cells += ["-" if share is None else f"{share:.{0 if share >= 0.1 else 1}%}"]
        if has_memory:
            cells += [_mebibytes(result.memory.get(OURS))]
            cells += [_mebibytes(result.their_memory), _number(result.memory_ratio)] if "torch MiB" in headers else []
        rows.append([result.case.name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _short_name(report: Report) -> str:
    return "torch" if "PyTorch" in report.opponent else report.opponent.replace(" ", "").lower()


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.{3 if seconds < 0.01 else 2 if seconds < 0.1 else 1}f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.{2 if count < 2**20 else 1}f}"


def _plot(report: Report, path: Path) -> None:
    from cnn.report import plots  # here, because matplotlib is slow to import

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
        raise ValueError(f"nothing was compared, so there is no plot: {report.opponent} is {report.version}")
    plots.save(plots.ratios(groups), path)
    print_stderr(f"the plot is saved in {path}")


def _json_results(report: Report) -> dict[str, Any]:
    return {
        "suite": report.suite,
        "machine": report.machine | {"gemm_gflops": report.gemm_rate},
        "opponent": report.opponent,
        "opponent_version": report.version,
        "seconds": round(report.seconds, 1),
        "cases": [_json_case(result, report) for result in report.results],
    }


def _json_case(result: Result, report: Report) -> dict[str, Any]:
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
