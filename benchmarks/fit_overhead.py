"""What the loop of `fit` adds to the training steps themselves: time per step of both, in turns, and their ratio.

python benchmarks/fit_overhead.py             # the MLP of the spiral, where the steps are shortest
python benchmarks/fit_overhead.py small_cnn
"""

import statistics
import sys
import time
from typing import Any

import numpy as np

import cnn
from cnn import zoo
from cnn.data import spiral
from cnn.loss import CrossEntropyLoss
from cnn.module import Array
from cnn.optim import Adam

ROUNDS, SECONDS = 15, 0.4  # of each of the two in a round, about


def model_and_data(name: str) -> tuple[Any, Array, Array, int]:
    """Return a model, data and the batch size."""
    cnn.manual_seed(0)
    if name == "mlp":
        x, y = spiral(points_per_class=300, classes=3, noise=0.2, rng=0)
        x, batch_size = x.astype(np.float32), 32
    else:
        rng = np.random.default_rng(0)
        x, y, batch_size = rng.standard_normal((1024, 1, 28, 28), np.float32), rng.integers(0, 10, 1024), 64
    model = getattr(zoo, name)()
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=1e-3)
    return model, x, y, batch_size


def main(name: str) -> None:
    """Print the median time of a step of each, and the median of the ratios of the rounds."""
    model, x, y, batch_size = model_and_data(name)
    batches = [(x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, len(x), batch_size)]

    def steps(epochs: int) -> None:
        for _ in range(epochs):
            for x_batch, y_batch in batches:
                model.train_step(x_batch, y_batch)

    def fit(epochs: int) -> None:
        model.fit(x, y, epochs=epochs, batch_size=batch_size, verbose_freq=0, rng=0)

    def timed(run: Any, epochs: int) -> float:
        began = time.perf_counter()
        run(epochs)
        return (time.perf_counter() - began) / (epochs * len(batches))

    for run in (steps, fit):
        timed(run, 20 if name == "mlp" else 2)  # warm: the interpreter specialises code that runs often
    epochs = 2 + round(SECONDS / len(batches) / timed(steps, 2))
    pairs = [(timed(steps, epochs), timed(fit, epochs)) for _ in range(ROUNDS)]
    step, loop = (1e6 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{name}: train_step {step:.1f} us, a step of fit {loop:.1f} us, ratio {ratio:.3f} (median of {ROUNDS})")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["mlp"])
