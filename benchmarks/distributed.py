"""What it costs that processes tell each other numbers, and how long a training step of all of them takes.

Run it on a quiet machine, with and without mpiexec: mpiexec -n 2 python benchmarks/distributed.py. Times are the
shortest of many. One process is measured with one thread, and with as many as the machine has cores.
"""

import time
from collections.abc import Callable

import numpy as np

import cnn
from cnn import Parameter, Sequential, zoo
from cnn.distributed import Ranks
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD
from cnn.training import train

BATCH = 128
STEPS = 30


def shortest(run: Callable[[], object], times: int) -> float:
    """Return the shortest time of a call in milliseconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return 1000 * min(found)


def small_cnn() -> Sequential:
    """Return the same net in every process."""
    cnn.manual_seed(0)
    model = zoo.small_cnn()
    model.loss_func, model.optimizer = CrossEntropyLoss(), SGD(lr=0.01)
    return model


def step_time(ranks: Ranks) -> float:
    """Return the shortest time of a training step in milliseconds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * STEPS, 1, 28, 28)).astype(np.float32)
    steps = train(small_cnn(), x, rng.integers(0, 10, len(x)), batch_size=BATCH, epochs=1, rng=0, ranks=ranks)
    next(steps)
    return shortest(lambda: next(steps), STEPS - 2)


def main() -> None:
    """Print the times of rank 0."""
    ranks = cnn.distributed.world()
    gradients = small_cnn().parameters()
    for parameter in gradients:
        parameter.grad = np.zeros(parameter.shape, np.float32)
    size = sum(parameter.size for parameter in gradients)
    large = [Parameter(np.zeros(2_500_000, np.float32))]
    large[0].grad = np.zeros(2_500_000, np.float32)
    rows = [
        ("sum of 4 numbers", shortest(lambda: ranks.add([1, 2, 3, 4]), 2000)),
        (f"sum of the {size:,} gradients of small_cnn", shortest(lambda: ranks.add_up(gradients), 300)),
        ("sum of 2,500,000 gradients", shortest(lambda: ranks.add_up(large), 50)),
    ]
    for threads in sorted({1, cnn.get_num_threads()}):
        cnn.set_num_threads(threads)
        rows.append(
            (f"step of small_cnn at {BATCH}, ranks: {ranks.size}, threads of each: {threads}", step_time(ranks))
        )
    if ranks.rank == 0:
        for name, milliseconds in rows:
            print(f"{name:<60} {milliseconds:8.3f} ms")


if __name__ == "__main__":
    main()
