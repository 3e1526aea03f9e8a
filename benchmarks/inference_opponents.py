"""How long inference takes here, with PyTorch, ONNX Runtime and OpenVINO: the nets of two suites of `cnn bench`.

python benchmarks/inference_opponents.py FILE           # measures for five minutes, writes FILE, prints the table
python benchmarks/inference_opponents.py FILE --table   # only prints the table

FILE is docs/results/inference.json for the table in docs/performance.md.

All libraries take turns, each in a process of its own, with the same number of threads, and what is not installed is
left out. Before a net is timed, the results of all are compared. PyTorch is measured in two memory formats, and the
faster one counts. On Linux, `chrt -r 1` before the command keeps other programs from working during a turn; they still
do in the pauses, which the printed share of other programs includes, and they still share caches and memory.

Needs: pip install "cnn[fast,onnx]" torch onnxruntime openvino
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from cnn.bench import machine, opponents, pytorch, turns
from cnn.bench.cases import INFERENCE, choose
from cnn.bench.ours import OURS
from cnn.bench.results import Result, geometric_mean
from cnn.bench.run import check_results
from cnn.kernels import get_num_threads

COLUMNS = {"PyTorch": pytorch.FORMATS, "ONNX Runtime": (opponents.ONNXRUNTIME,), "OpenVINO": (opponents.OPENVINO,)}
ROUNDS, SECONDS = 7, 6.0  # least number of turns, and duration of all turns of a case


def installed():
    """Return the versions of the opponents that are installed, by name."""
    found = {"PyTorch": pytorch.version()} if pytorch.installed() else {}
    for name in (opponents.ONNXRUNTIME, opponents.OPENVINO):
        try:
            opponents.check_installed(name)
            found[opponents.NAMES[name]] = opponents.version(name)
        except ValueError as error:
            print(f"left out: {error}")
    return found


def timed(case, programs):
    """Return the result of a case with this library and the others."""
    with ExitStack() as stack:
        workers = turns.start(case, programs, stack)
        mine, *theirs = (worker.as_program() for worker in workers)
        check_results(case, mine, theirs, "that of another library")
        result = Result(case)
        result.seconds, result.others = turns.measure(workers, ROUNDS, SECONDS)
    return result


def measure(path):
    """Measure all cases and write the file."""
    threads, versions = get_num_threads(), installed()
    programs = tuple(program for name, all_programs in COLUMNS.items() if name in versions for program in all_programs)
    cases = [case for suite in ("small-images", "large-images") for case in choose(suite)[0] if case.kind == INFERENCE]
    rows = []
    for case in cases:
        result = timed(case, programs)
        rows.append(
            {
                "net": case.subject,
                "batch": case.batch,
                "median_s": {name: float(f"{result.median(name):.4g}") for name in result.seconds},
                "turns": len(result.seconds[OURS]),
                "others_share": result.others and round(result.others, 2),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    facts = machine.facts(threads)
    facts = {name: facts[name] for name in ("processor", "cores", "threads", "python", "numpy", "numba", "kernels")}
    path.write_text(json.dumps({"machine": facts, "versions": versions, "cases": rows}, indent=1) + "\n")


def milliseconds(row):
    """Return the milliseconds of a row by column: this library, and of the others each one's fastest program."""
    found = {OURS: 1000 * row["median_s"][OURS]}
    for name, programs in COLUMNS.items():
        times = [row["median_s"][program] for program in programs if program in row["median_s"]]
        if times:
            found[name] = 1000 * min(times)
    return found


def table(stored):
    """Return the lines of the table in docs/performance.md."""
    others = [name for name in COLUMNS if name in milliseconds(stored["cases"][0])]
    titles = ["net", "batch", OURS, *others, *(f"{OURS} / {name}" for name in others)]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in stored["cases"]:
        times = milliseconds(row)
        cells = [row["net"], row["batch"], *(f"{value:.3g}" for value in times.values())]
        cells += [f"{times[OURS] / times[name]:.2f}" for name in others]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for text, chosen in (("batch 1", lambda batch: batch == 1), ("larger batches", lambda batch: batch > 1)):
        rows = [milliseconds(row) for row in stored["cases"] if chosen(row["batch"])]
        means = [f"{geometric_mean(row[OURS] / row[name] for row in rows):.2f}" for name in others]
        lines.append(f"| geometric mean | {text} |{' |' * (len(others) + 1)} {' | '.join(means)} |")
    return lines


def summary(stored):
    """Return a line about the machine."""
    facts, busiest = stored["machine"], max(row["others_share"] or 0.0 for row in stored["cases"])
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    return (
        f"{facts['processor']}, {facts['threads']} threads; {versions}; median milliseconds of "
        f"{min(row['turns'] for row in stored['cases'])} turns or more; other programs took at most {busiest:.0%} of "
        "the processors during a case, pauses included."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the results, as JSON")
    parser.add_argument("--table", action="store_true", help="print the table of the file, measure nothing")
    args = parser.parse_args()
    if not args.table:
        measure(args.file)
    stored = json.loads(args.file.read_text(encoding="utf-8"))
    print("\n".join([*table(stored), "", summary(stored)]))


if __name__ == "__main__":
    main()
