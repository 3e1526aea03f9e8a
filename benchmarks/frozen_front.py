"""What a training step costs when all but the last Linear are frozen: in turn with the forward pass alone, and their
ratio.

python benchmarks/frozen_front.py             # the VGG-like net
python benchmarks/frozen_front.py resnet20
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import cnn
from cnn import zoo
from cnn.layers import Linear
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

BATCH_SIZE, ROUNDS = 64, 25


def main(name: str) -> None:
    """Print the median times of a forward pass in training mode, of a training step, and of one with all trained."""
    cnn.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((BATCH_SIZE, 3, 32, 32), np.float32), rng.integers(0, 10, BATCH_SIZE)
    models = [getattr(zoo, name)() for _ in range(2)]
    for model in models:
        model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=1e-3)
    frozen, trained = models
    last = [layer for layer in frozen.modules() if isinstance(layer, Linear)][-1]
    frozen.requires_grad_(False)
    last.requires_grad_(True)

    def timed(run: Callable[[], object]) -> float:
        began = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - began)

    runs = {
        "forward": lambda: trained(x),
        "step with a frozen front": lambda: frozen.train_step(x, y),
        "step": lambda: trained.train_step(x, y),
    }
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {what: [] for what in runs}
    for _ in range(ROUNDS):
        for what, run in runs.items():
            times[what].append(timed(run))
    for what, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["forward"], strict=True))
        print(f"{name}: {what} {statistics.median(values):.2f} ms, {ratio:.3f} of forward (median of {ROUNDS})")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["vgg"])
