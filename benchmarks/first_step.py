"""How long does the first training step take after `import cnn`? Prints seconds, measured in new processes.

python benchmarks/first_step.py [ROUNDS]

Measures once with an empty cache of compiled kernels (a temporary folder as NUMBA_CACHE_DIR), then ROUNDS times
(default 3) with the cache that the first process filled. The model is the default one, with a batch of 64; making it is
not timed.
"""

import os
import statistics
import subprocess
import sys
import tempfile

COLD_TARGET, WARM_TARGET = 30.0, 1.5  # s, at most
STEP = """
import time
import numpy as np
import cnn
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

model = zoo.small_cnn()
model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 1, 28, 28), np.float32), rng.integers(0, 10, 64)
began = time.perf_counter()
model.train_step(x, y)
first = time.perf_counter() - began
began = time.perf_counter()
model.train_step(x, y)
print(first, time.perf_counter() - began)
"""


def seconds(cache):
    """Return the seconds of the first and of the second step in a new process."""
    env = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", STEP], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def print_verdict(what, first, target):
    verdict = "reached" if first <= target else "not reached"
    print(f"first step, {what}: {first:.2f} s, at most {target}: {verdict}")


def main(rounds=3):
    with tempfile.TemporaryDirectory() as cache:
        cold, _ = seconds(cache)
        files = sum(len(names) for _, _, names in os.walk(cache))
        print_verdict(f"empty cache ({files} files afterwards)", cold, COLD_TARGET)
        warm = [seconds(cache) for _ in range(rounds)]
    print_verdict(f"with that cache, median of {rounds}", statistics.median(first for first, _ in warm), WARM_TARGET)
    print(f"second step: {1000 * statistics.median(second for _, second in warm):.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
