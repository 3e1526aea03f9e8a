"""What does loading batches cost? Prints milliseconds per step: of loading alone, and of waiting during other work.

python benchmarks/loader.py [EPOCHS]

60,000 uint8 images, (1, 28, 28), in batches of 64, in memory and in a memory-mapped file, with and without transforms,
and with and without the prefetching thread. For loading alone, the best of EPOCHS (default 3) epochs counts. The other
work is a matrix product of a few milliseconds on one core; printed are the medians over 200 steps: how long a step
waited for its batch, and how long its work took, which the thread may slow down.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cnn.data.intensity import Normalize
from cnn.data.loader import DataLoader
from cnn.data.transforms import HorizontalFlip, RandomCrop
from cnn.kernels import one_blas_thread

IMAGES, BATCH_SIZE = 60_000, 64
STEPS = 200
MATRIX = np.random.default_rng(0).random((500, 500), np.float32)


def alone(loader):
    """Return the milliseconds per step of an epoch that does nothing with the batches."""
    began = time.perf_counter()
    for _ in loader:
        pass
    return (time.perf_counter() - began) / len(loader) * 1000


def during_work(loader):
    """Return the milliseconds that a step waits for its batch, and those of its work."""
    waited, worked = [], []
    before = time.perf_counter()
    with one_blas_thread():
        for _ in loader:
            received = time.perf_counter()
            MATRIX @ MATRIX
            finished = time.perf_counter()
            waited.append(received - before)
            worked.append(finished - received)
            before = finished
            if len(waited) == STEPS:
                break
    return statistics.median(waited) * 1000, statistics.median(worked) * 1000


def main(epochs=3):
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(IMAGES, 1, 28, 28), dtype=np.uint8)
    y = rng.integers(10, size=IMAGES)
    transforms = [RandomCrop(2), HorizontalFlip(), Normalize([0.5], [0.25])]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", x)
        for source, data in (("memory", x), ("file", np.load(Path(folder) / "x.npy", "r"))):
            for name, chosen in (("no transforms", ()), ("crop, flip, normalize", transforms)):
                for prefetch in (0, 2):
                    loader = DataLoader(data, y, BATCH_SIZE, rng=0, transforms=chosen, prefetch=prefetch)
                    if prefetch != loader.prefetch:
                        continue  # the loader switches prefetching off here, because it would not pay
                    waited, worked = during_work(loader)
                    print(
                        f"{source:6} {name:21} prefetch={prefetch}: {min(alone(loader) for _ in range(epochs)):.3f} ms "
                        f"alone; with other work {waited:.3f} ms waiting, {worked:.2f} ms working"
                    )
        del data, loader  # Windows cannot remove a file that is mapped


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
