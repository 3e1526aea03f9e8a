"""How much faster is training with two threads without Numba, and what do they wait for?

python benchmarks/threads_without_numba.py [ROUNDS]

Prints for the default model with a batch of 64 and the backend "array", in turn with one thread and with two: the time
of a step, the processor time of all threads together, and how often they sleep. Then it prints the time of a step with
one thread, alone and while a second process does the same. Medians of ROUNDS (default 15). Needs a Unix.
"""

import resource
import statistics
import subprocess
import sys
import time

import numpy as np

import cnn
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

STEPS = 20
ALONE = "alone"


def training_step():
    """Return a function that takes a training step of the default model."""
    cnn.kernels.use("array")
    net = zoo.small_cnn()
    net.loss_func, net.optimizer = CrossEntropyLoss(), Adam()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 1, 28, 28), np.float32), rng.integers(0, 10, 64)
    return lambda: net.train_step(x, y)


def measured(step, threads):
    """Return the milliseconds of a step, its processor time in milliseconds, and how often a thread slept."""
    cnn.set_num_threads(threads)
    step()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(STEPS):
        step()
    taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return 1000 * taken / STEPS, 1000 * busy / STEPS, (after.ru_nvcsw - before.ru_nvcsw) / STEPS


def processes(count, rounds):
    """Return the milliseconds of a step with one thread while ``count`` processes do the same."""
    command = [sys.executable, __file__, ALONE, str(rounds)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return statistics.mean(float(process.communicate()[0]) for process in started)


def main(rounds=15):
    step, found = training_step(), {1: [], 2: []}
    for _ in range(rounds):
        for threads, metrics in found.items():
            metrics.append(measured(step, threads))
    for threads, metrics in found.items():
        wall, busy, sleeps = (statistics.median(column) for column in zip(*metrics, strict=True))
        print(f"threads {threads}: {wall:.1f} ms a step, {busy:.1f} ms of processor time, {sleeps:.0f} sleeps")
    for count in (1, 2):
        name = "1 process" if count == 1 else f"{count} processes"
        print(f"{name} with one thread each: {processes(count, rounds):.1f} ms a step in each")


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        step_alone = training_step()
        print(statistics.median(measured(step_alone, 1)[0] for _ in range(int(sys.argv[2]))))
    else:
        main(*map(int, sys.argv[1:]))
