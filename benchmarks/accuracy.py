"""How accurate are models trained by `cnn train fashion-mnist`? Prints mean and spread of the accuracies over seeds.

python benchmarks/accuracy.py SEEDS [OPTIONS of cnn train]

Settings are compared by their validation accuracy; docs/measurements.md quotes the test accuracy of the default ones.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cnn.cli.main import main


def accuracies(seed, options):
    """Train with one seed and return validation accuracy, test accuracy and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        began = time.perf_counter()
        if main(["train", "fashion-mnist", "--quiet", "--seed", str(seed), "--out", str(out), *options]) != 0:
            sys.exit(1)
        seconds = time.perf_counter() - began
        last_epoch = json.loads((out / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        return last_epoch["val_accuracy"], config["test_accuracy"], seconds


def report(seeds, options):
    rows = []
    for seed in range(seeds):
        rows.append(accuracies(seed, options))
        print("seed {}: validation {:.4f}, test {:.4f}, {:.0f} s".format(seed, *rows[-1]), flush=True)
    for name, values in zip(("validation", "test"), zip(*rows, strict=True), strict=False):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name} accuracy over {len(values)} seeds: mean {statistics.mean(values):.4f}, spread {spread:.4f}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    report(int(sys.argv[1]), sys.argv[2:])
