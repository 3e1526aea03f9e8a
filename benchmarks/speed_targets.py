"""Does this library reach its speed targets? Prints each target with the measured value and the verdict.

python benchmarks/speed_targets.py [FILE]

FILE is the output of `cnn bench all --json`; "-" reads it from standard input. Without FILE the benchmark runs first,
which takes seven minutes. Ratios are our time, or memory, by PyTorch's: below 1 this library is faster, or needs less.
A target is printed only if the file has all the cases that it needs, measured together with PyTorch.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cnn.bench.cases import INFERENCE, INFERENCE_CASES, LAYER, LAYER_COUNT, REFERENCE, TRAIN, TRAIN_CASES
from cnn.bench.results import geometric_mean

REFERENCE_BATCHES, REFERENCE_TARGET, WITHOUT_NUMBA_TARGET = (64, 256), 0.65, 1.2
TRAINING_MEAN_TARGET, TRAINING_WORST_TARGET, MLP_TARGET = 0.75, 1.1, 0.5
INFERENCE_MEAN_TARGETS = {256: 0.75, 1: 0.8}  # by batch size
FAST_LAYERS_TARGET, FAST_LAYER, SLOW_LAYER = 32, 1.0, 1.3
MEMORY_TARGET = 1.0


@dataclass(frozen=True)
class Target:
    """One target with the measured value.

    Attributes
    ----------
    name : str
    value : float
        What was measured.
    limit : float
    is_upper_limit : bool
        Whether the value must be at most the limit; otherwise it must be at least the limit.
    note : str
        Printed in brackets after the verdict.
    """

    name: str
    value: float
    limit: float
    is_upper_limit: bool = True
    note: str = ""

    @property
    def reached(self):
        """Whether the value is within the limit."""
        return self.value <= self.limit if self.is_upper_limit else self.value >= self.limit

    def __str__(self):
        digits = 2 if self.is_upper_limit else 0
        side = "at most" if self.is_upper_limit else "at least"
        note = f" ({self.note})" if self.note else ""
        verdict = "reached" if self.reached else "not reached"
        return f"{self.name}: {self.value:.{digits}f}, {side} {self.limit:.{digits}f}: {verdict}{note}"


def targets(report):
    """Return the targets that a report has all cases for.

    Parameters
    ----------
    report : dict
        What `cnn bench --json` prints.
    """
    return [
        *reference_targets(report),
        *training_targets(report),
        *inference_targets(report),
        *layer_targets(report),
        *memory_targets(report),
    ]


def compared(report, kind):
    """Return the cases of one kind that were timed together with PyTorch."""
    return [case for case in report["cases"] if case["kind"] == kind and case["ratio"] is not None]


def label(case):
    """Return the name of a case as the tables of `cnn bench` have it."""
    if case["kind"] == LAYER:
        return f"{case['name']} {'x'.join(map(str, case['input_shape']))}"
    return f"{case['name']}, batch {case['batch']}"


def reference_targets(report):
    limit = REFERENCE_TARGET if report["machine"]["kernels"] == "jit" else WITHOUT_NUMBA_TARGET
    note = "" if limit == REFERENCE_TARGET else "the target without Numba"
    return [
        Target(f"training, the reference net ({REFERENCE}) at batch {batch}", case["ratio"], limit, note=note)
        for batch in REFERENCE_BATCHES
        for case in compared(report, TRAIN)
        if (case["name"], case["batch"]) == (REFERENCE, batch)
    ]


def training_targets(report):
    cases = compared(report, TRAIN)
    found = []
    if len(cases) == len(TRAIN_CASES):
        mean, worst = geometric_mean(case["ratio"] for case in cases), max(cases, key=lambda case: case["ratio"])
        found.append(Target(f"training, geometric mean of {len(cases)} cases", mean, TRAINING_MEAN_TARGET))
        found.append(Target("training, the worst case", worst["ratio"], TRAINING_WORST_TARGET, note=label(worst)))
    mlps = [case for case in cases if case["name"] == "mlp"]
    return found + [Target("training, the MLP of the spiral", case["ratio"], MLP_TARGET) for case in mlps]


def inference_targets(report):
    found = []
    for batch, limit in INFERENCE_MEAN_TARGETS.items():
        ratios = [case["ratio"] for case in compared(report, INFERENCE) if case["batch"] == batch]
        if len(ratios) == sum(case_batch == batch for _, case_batch in INFERENCE_CASES):
            name = f"inference at batch {batch}, geometric mean of {len(ratios)} nets"
            found.append(Target(name, geometric_mean(ratios), limit))
    return found


def layer_targets(report):
    cases = compared(report, LAYER)
    if len(cases) != LAYER_COUNT:
        return []
    fast = sum(case["ratio"] <= FAST_LAYER for case in cases)
    slow = [f"{label(case)} {case['ratio']:.2f}" for case in cases if case["ratio"] > SLOW_LAYER]
    name = f"single layers, number of {LAYER_COUNT} at {FAST_LAYER} or below"
    note = f"above {SLOW_LAYER}: {', '.join(slow) or 'none'}"
    return [Target(name, fast, FAST_LAYERS_TARGET, is_upper_limit=False, note=note)]


def memory_targets(report):
    cases = [case for case in report["cases"] if case["memory_ratio"] is not None]
    if len(cases) != len(TRAIN_CASES):
        return []
    worst = max(cases, key=lambda case: case["memory_ratio"])
    return [Target("memory of a training step, the worst net", worst["memory_ratio"], MEMORY_TARGET, note=label(worst))]


def read(path=None):
    """Return the report in a file, from standard input ("-"), or of a benchmark that runs now."""
    if path is None:
        command = [sys.executable, "-m", "cnn", "bench", "all", "--json"]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True).stdout
    else:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    return json.loads(text)


def main(path=None):
    found = targets(read(path))
    if not found:
        sys.exit("no target can be checked: the report needs all cases of a suite (cnn bench all), with PyTorch")
    for target in found:
        print(target)


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    main(*sys.argv[1:])
