"""What do batches cost? Prints milliseconds a step: of an epoch of nothing else, and of waiting for them beside work.

python benchmarks/loader.py [EPOCHS]

60,000 images of uint8, (1, 28, 28), at batches of 64, in memory and in a memory-mapped file, with and without
transforms, and with and without the thread that prepares batches ahead. The best of EPOCHS (default 3) counts.
Beside work, a product of matrices of some milliseconds on one core, it is the median of 200 steps: how long a step
waited for its batch, and how long its work took, which a thread may slow.
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
    """Return the milliseconds that a step of an epoch takes if nothing is done with the batches."""
    began = time.perf_counter()
    for _ in loader:
        pass
    return (time.perf_counter() - began) / len(loader) * 1000


def beside_work(loader):
    """Return the milliseconds that a step waits for its batch, and that its work takes."""
    waited, worked = [], []
    before = time.perf_counter()
    with one_blas_thread():
        for _ in loader:
            got = time.perf_counter()
            MATRIX @ MATRIX
            done = time.perf_counter()
            waited.append(got - before)
            worked.append(done - got)
            before = done
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
        for place, data in (("memory", x), ("file", np.load(Path(folder) / "x.npy", "r"))):
            for name, chosen in (("as they are", ()), ("crop, flip, normalize", transforms)):
                for prefetch in (0, 2):
                    loader = DataLoader(data, y, BATCH_SIZE, rng=0, transforms=chosen, prefetch=prefetch)
                    if prefetch != loader.prefetch:
                        continue  # no thread is worth it there
                    waited, worked = beside_work(loader)
                    print(
                        f"{place:6} {name:21} prefetch={prefetch}: {min(alone(loader) for _ in range(epochs)):.3f} ms "
                        f"alone; beside work {waited:.3f} of waiting, {worked:.2f} of work"
                    )
        del data, loader  # Windows removes no file that is mapped


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
