"""Where does a training step spend its time? Prints the median milliseconds of each layer of the small CNN.

python benchmarks/train_step.py [BATCH [THREADS]]
"""

import statistics
import sys
import time

import numpy as np

import cnn
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam
from cnn.zoo import small_cnn

ROUNDS = 30


def timed(function, *arguments):
    """Return milliseconds and what the function returns."""
    began = time.perf_counter()
    result = function(*arguments)
    return 1000 * (time.perf_counter() - began), result


def main(batch=64, threads=None):
    if threads is not None:
        cnn.set_num_threads(threads)
    cnn.manual_seed(0)
    rng = np.random.default_rng(0)
    model = small_cnn()
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam()
    x, y = rng.random((batch, 1, 28, 28), np.float32), rng.integers(0, 10, batch)
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        times.setdefault("whole step", []).append(timed(model.train_step, x, y)[0])
        value = x
        for i, layer in enumerate(model):
            spent, value = timed(layer, value)
            times.setdefault(f"{i:2} {type(layer).__name__} forward", []).append(spent)
        value = rng.standard_normal(value.shape, np.float32)
        for i, layer in reversed(list(enumerate(model))):
            spent, value = timed(layer.backward, value)
            times.setdefault(f"{i:2} {type(layer).__name__} backward", []).append(spent)
        times.setdefault("Adam", []).append(timed(model.optimizer.step)[0])
        model.zero_grad()
    print(f"batch of {batch}, {cnn.get_num_threads()} threads, median of {ROUNDS} rounds, ms")
    for name, spent in times.items():
        print(f"{statistics.median(spent):8.2f}  {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
