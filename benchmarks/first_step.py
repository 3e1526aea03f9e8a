"""How long does the first training step take after `import cnn`? Prints seconds, in fresh processes.

python benchmarks/first_step.py [ROUNDS]

Once with an empty cache of compiled kernels (a folder of its own, as NUMBA_CACHE_DIR), then ROUNDS times (default 3)
with the cache that this left. The model is the default one, at a batch of 64; making it is not counted.
"""

import os
import statistics
import subprocess
import sys
import tempfile

COLD, WARM = 30.0, 1.5  # s, at most
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
    """Return the seconds of the first and of the second step in a fresh process."""
    env = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", STEP], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def tell(what, first, bound):
    print(f"first step, {what}: {first:.2f} s, at most {bound}: {'reached' if first <= bound else 'not reached'}")


def main(rounds=3):
    with tempfile.TemporaryDirectory() as cache:
        cold, _ = seconds(cache)
        files = sum(len(names) for _, _, names in os.walk(cache))
        tell(f"empty cache ({files} files afterwards)", cold, COLD)
        warm = [seconds(cache) for _ in range(rounds)]
    tell(f"with that cache, median of {rounds}", statistics.median(first for first, _ in warm), WARM)
    print(f"second step: {1000 * statistics.median(second for _, second in warm):.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
