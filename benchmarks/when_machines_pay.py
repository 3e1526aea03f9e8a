"""When several machines pay: the share of a step that they spend adding up gradients, from a rate measured here.

It measures how many multiply-adds one thread does in a training step of ResNet-20 in a second of its core's time, which
other programs do not count in, and computes for four machines of 16 cores at that rate. A step takes three times the
multiply-adds of forward.
The sum of P gradients sends 2 (N - 1) / N times 4 P bytes through each machine's network (Patarasuk and Yuan 2009,
Bandwidth optimal all-reduce algorithms for clusters of workstations). Latency, and what the machines wait for each
other, come on top. So this is an estimate; measure your own net on your own machines.
"""

import argparse
import time

import numpy as np

import cnn
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD

MACHINES, CORES = 4, 16
BANDWIDTHS = (1, 10, 25, 100)  # Gbit/s
NETS = (  # parameters, multiply-adds of forward for a sample, samples of a machine in a batch
    ("small_cnn, 28 x 28", 0.42e6, 4.2e6, 128),
    ("ResNet-20, 32 x 32", 0.27e6, 41e6, 128),
    ("ResNet-18, 224 x 224", 11.7e6, 1.8e9, 32),
    ("ResNet-50, 224 x 224", 25.6e6, 4.1e9, 32),
)


def rate_of_a_core(steps: int) -> float:
    """Return the multiply-adds a second that one thread does in a training step of ResNet-20, in the best of steps."""
    cnn.set_num_threads(1)
    model = zoo.resnet()
    model.loss_func, model.optimizer = CrossEntropyLoss(), SGD(lr=0.01)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 64)
    times = []
    for _ in range(steps):
        start = time.thread_time()
        model.train_step(x, y)
        times.append(time.thread_time() - start)
    return 3 * 41e6 * 64 / min(times)


def share(parameters: float, multiply_adds: float, samples: int, rate: float, gigabits: float) -> float:
    """Return the part of a step that is spent on the sum of gradients."""
    computing = 3 * multiply_adds * samples / (rate * CORES)
    sending = 2 * (MACHINES - 1) / MACHINES * 4 * parameters / (gigabits * 1e9 / 8)
    return sending / (sending + computing)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, help="multiply-adds a second of a core, in 1e9, instead of measuring it")
    given = parser.parse_args().rate
    rate = rate_of_a_core(10) if given is None else given * 1e9
    print(f"{rate / 1e9:.0f}e9 multiply-adds a second for each core; {MACHINES} machines of {CORES} cores\n")
    print("| net | parameters | samples of a machine | " + " | ".join(f"{b} Gbit/s" for b in BANDWIDTHS) + " |")
    print("|" + "---|" * (3 + len(BANDWIDTHS)))
    for name, parameters, multiply_adds, samples in NETS:
        shares = [share(parameters, multiply_adds, samples, rate, b) for b in BANDWIDTHS]
        cells = " | ".join(f"{100 * part:.0f} %" for part in shares)
        print(f"| {name} | {parameters / 1e6:.1f} M | {samples} | {cells} |")


if __name__ == "__main__":
    main()
