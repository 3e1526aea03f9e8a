"""Is one checkout as fast as another? Child processes of both run the cases of `cnn bench` in turn, round by round.

Each round runs the first checkout, the second, and the first once more: the last one shows how far the times of equal
code are apart. Printed are, for each case, the median over the rounds of second / first and of first again / first, and
their geometric means.

    python benchmarks/compare_checkouts.py BEFORE AFTER [--rounds 4] [--suite all] [--seconds 0.3]

BEFORE and AFTER are folders of checkouts of this repository; both run with the Python that runs this script.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Times = dict[str, float]


def measure(suite: str, seconds: float) -> Times:
    """Return the median seconds of a call of each case, by its name; this runs in the child."""
    import cnn
    from cnn.bench import ours
    from cnn.bench.cases import choose

    cnn.set_num_threads(2)
    new_model: Any = getattr(ours, "new_model", None) or ours.fresh  # its name before
    found = {}
    for case in choose(suite)[0]:
        model = new_model(case)
        program = ours.program(case, model, *case.data())
        program.run(3)
        began = time.perf_counter()
        program.run(1)
        once = time.perf_counter() - began
        count = max(1, round(seconds / 7 / once))
        blocks = []
        for _ in range(7):
            began = time.perf_counter()
            program.run(count)
            blocks.append((time.perf_counter() - began) / count)
        found[f"{case.kind}: {case.name}"] = statistics.median(blocks)
    return found


def child(checkout: Path, suite: str, seconds: float) -> Times:
    """Measure a checkout in a process of its own."""
    command = [sys.executable, __file__, "--child", "--suite", suite, "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def main() -> None:
    """Measure in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--suite", default="all")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.suite, args.seconds)))
        return
    before, after = (path.resolve() for path in args.checkouts)
    for checkout in (before, after):
        child(checkout, args.suite, 0.0)  # compiles what is not yet compiled
    ratios: dict[str, list[tuple[float, float]]] = {}
    for number in range(1, args.rounds + 1):
        first, second, again = (child(path, args.suite, args.seconds) for path in (before, after, before))
        for name, seconds in first.items():
            ratios.setdefault(name, []).append((second[name] / seconds, again[name] / seconds))
        means = [geometric_mean(pairs[-1][i] for pairs in ratios.values()) for i in (0, 1)]
        print(f"round {number}: after / before {means[0]:.3f}, before / before {means[1]:.3f}", flush=True)
    medians = {
        name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in ratios.items()
    }
    for name, (changed, same) in sorted(medians.items(), key=lambda item: -item[1][0]):
        print(f"{changed:6.3f} {same:6.3f}  {name}")
    means = [geometric_mean(pair[i] for pair in medians.values()) for i in (0, 1)]
    print(f"geometric mean of {len(medians)} cases: after / before {means[0]:.3f}, before / before {means[1]:.3f}")


if __name__ == "__main__":
    main()
