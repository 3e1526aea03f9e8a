"""What does data augmentation cost in training? Prints the milliseconds of a step of the default model.

python benchmarks/feeding.py [ROUNDS]

Random images of the size of Fashion-MNIST, 1x28x28, in batches of 64: as preprocessed floating arrays, and as uint8
images that a DataLoader crops, flips, erases parts of and normalizes, in a prefetching thread or in the step itself.
The programs take turns: ROUNDS (default 8) turns of 100 steps each. Printed is the median.
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
    """Yield the seconds of each step, without end."""
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
    preprocessed = ((x / np.float32(255)) - np.float32(0.5)) / np.float32(0.3)
    transforms = RandomCrop(2), HorizontalFlip(), RandomErasing(), Normalize(0.5, 0.3)
    programs = {
        "preprocessed arrays": steps(DataLoader(preprocessed, y, BATCH, rng=0)),
        "crop, flip, erasing, prefetched": steps(DataLoader(x, y, BATCH, rng=0, transforms=transforms)),
        "the same in the step": steps(DataLoader(x, y, BATCH, rng=0, transforms=transforms, prefetch=0)),
    }
    taken = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            next(program)
            seconds = [next(program) for _ in range(STEPS)]
            if turn:
                taken[name].append(statistics.median(seconds))
    first = taken["preprocessed arrays"]
    for name, medians in taken.items():
        ratio = statistics.median(a / b for a, b in zip(medians, first, strict=True))
        print(f"{name:31} {1000 * statistics.median(medians):6.2f} ms a step, {ratio:.2f} of preprocessed arrays")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
