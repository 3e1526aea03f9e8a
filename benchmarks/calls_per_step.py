"""How much code one training step runs through: files, Python calls, and changes of file from one call to the next.

Counted are the functions of the package `cnn`, as call events of `sys.setprofile`, in the second step of a model (the
first one compiles and prepares). Run it from the repository: python benchmarks/calls_per_step.py [--list]
"""

import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

PACKAGE = str(Path(cnn.__file__).parent)
NETS = {"small_cnn": ((1, 28, 28), 10, 64), "mlp": ((2,), 3, 32)}


def calls_of_step(name: str) -> list[tuple[str, str]]:
    """Return file and function of every Python call inside the package during the second step, in order."""
    shape, classes, batch = NETS[name]
    cnn.manual_seed(0)
    model = getattr(zoo, name)(input_shape=shape, classes=classes)
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape)).astype(np.float32)
    y = rng.integers(0, classes, batch)
    model.train_step(x, y)
    calls: list[tuple[str, str]] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PACKAGE):
            calls.append((str(Path(path).relative_to(PACKAGE)), frame.f_code.co_name))

    sys.setprofile(profile)
    try:
        model.train_step(x, y)
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    """Print the counts for each net and backend; with --list also how often each function ran."""
    for name in NETS:
        for backend in ("jit", "array", "reference"):
            cnn.kernels.use(backend)
            calls = calls_of_step(name)
            files = [file for file, _ in calls]
            changes = sum(a != b for a, b in itertools.pairwise(files))
            print(
                f"{name:<10} {backend:<9} {len(set(files)):>3} files {len(calls):>5} calls {changes:>5} changes of file"
            )
            if "--list" in sys.argv:
                for (file, function), count in Counter(calls).most_common():
                    print(f"    {count:>4}  {file}: {function}")


if __name__ == "__main__":
    main()
