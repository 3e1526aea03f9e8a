"""What do random changes of the images cost a training? Prints milliseconds a step of the default model, in turns.

python benchmarks/feeding.py [ROUNDS]

Random images like those of Fashion-MNIST, 1x28x28, in batches of 64: as floating arrays that are ready, and as bytes
that a DataLoader crops, flips, erases parts of and normalizes, in a thread that prepares batches ahead. The median of
the steps of ROUNDS (default 8) turns of 100 steps each counts.
"""

import statistics
import sys
import time

import numpy as np

import cnn
from cnn import zoo
from cnn.data import DataLoader, HorizontalFlip, Normalize, RandomCrop, RandomErasing
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from cnn.training import train

STEPS, BATCH = 100, 64


def steps(loader):
    """Yield the seconds of each step, for ever."""
    cnn.manual_seed(0)
    model = zoo.small_cnn()
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
    before = time.perf_counter()
    for _ in train(model, loader, epochs=10**6):
        now = time.perf_counter()
        yield now - before
        before = time.perf_counter()


def main(rounds=8):
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(20_000, 1, 28, 28), dtype=np.uint8)
    y = rng.integers(10, size=len(x))
    ready = ((x / np.float32(255)) - np.float32(0.5)) / np.float32(0.3)
    changes = RandomCrop(2), HorizontalFlip(), RandomErasing(), Normalize(0.5, 0.3)
    programs = {
        "ready arrays": steps(DataLoader(ready, y, BATCH, rng=0)),
        "crop, flip, erasing ahead": steps(DataLoader(x, y, BATCH, rng=0, transforms=changes)),
        "the same in the step": steps(DataLoader(x, y, BATCH, rng=0, transforms=changes, prefetch=0)),
    }
    taken = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            next(program)
            seconds = [next(program) for _ in range(STEPS)]
            if turn:
                taken[name].append(statistics.median(seconds))
    first = taken["ready arrays"]
    for name, medians in taken.items():
        ratio = statistics.median(a / b for a, b in zip(medians, first, strict=True))
        print(f"{name:26} {1000 * statistics.median(medians):6.2f} ms a step, {ratio:.2f} of ready arrays")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
