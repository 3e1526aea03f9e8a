"""What it costs that processes tell each other numbers, and how long a training step of all of them takes.

``mpiexec -n 2 python benchmarks/distributed.py`` prints the costs of sums, the shortest of many, and the conversations
of a step. ``python benchmarks/distributed.py --turns 3``, without mpiexec, compares two processes of one thread with
one process of two threads and of one, in turn, and prints the medians of the turns. Run it on a quiet machine.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import cnn
from cnn import Parameter, Sequential, zoo
from cnn.distributed import Ranks
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD
from cnn.training import train

NETS = {"small_cnn": (zoo.small_cnn, (1, 28, 28), 128, 30), "resnet": (zoo.resnet, (3, 32, 32), 64, 12)}
CONVERSATIONS = ("Allreduce", "Allgather", "Bcast")


def shortest(run: Callable[[], object], times: int) -> float:
    """Return the shortest time of a call in milliseconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return 1000 * min(found)


def net(name: str) -> Sequential:
    """Return the same net in every process."""
    cnn.manual_seed(0)
    model = NETS[name][0]()
    model.loss_func, model.optimizer = CrossEntropyLoss(), SGD(lr=0.01)
    return model


def step_times(name: str, ranks: Ranks | None) -> list[float]:
    """Return the times of training steps in milliseconds, without those of the first two."""
    _, shape, batch, count = NETS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch * count, *shape)).astype(np.float32)
    found, start = [], time.perf_counter()
    for _ in train(net(name), x, rng.integers(0, 10, len(x)), batch_size=batch, epochs=1, rng=0, ranks=ranks):
        now = time.perf_counter()
        found.append(1000 * (now - start))
        start = now
    return found[2:-1]  # the last step ends the epoch, too


class Counting:
    """Stands for a communicator of mpi4py: counts the conversations."""

    def __init__(self, comm: object) -> None:
        self.comm, self.counts = comm, Counter[str]()

    def __getattr__(self, name: str) -> object:
        if name in CONVERSATIONS:
            self.counts[name] += 1
        return getattr(self.comm, name)


def conversations(name: str, ranks: Ranks) -> str:
    """Return how many conversations a step takes."""
    _, shape, batch, _ = NETS[name]
    counting = Counting(ranks._comm)
    x, y = np.zeros((4 * batch, *shape), np.float32), np.zeros(4 * batch, int)
    steps = train(net(name), x, y, batch_size=batch, epochs=1, rng=0, ranks=ranks)
    next(steps)
    ranks._comm, before = counting, counting.comm
    next(steps)
    ranks._comm = before
    for _ in steps:  # to the end, where all wait for each other
        pass
    return ", ".join(f"{count} {kind}" for kind, count in counting.counts.items())


def costs(ranks: Ranks) -> None:
    """Print what conversations cost; times are those of rank 0."""
    gradients = net("small_cnn").parameters()
    large = [Parameter(np.zeros(2_500_000, np.float32))]
    for parameter in [*gradients, *large]:
        parameter.grad = np.zeros(parameter.shape, np.float32)
    size = sum(parameter.size for parameter in gradients)
    rows = [
        ("sum of 4 numbers", shortest(lambda: ranks.add([1, 2, 3, 4]), 2000)),
        (f"sum of the {size:,} gradients of small_cnn", shortest(lambda: ranks.add_up(gradients), 300)),
        ("sum of 2,500,000 gradients", shortest(lambda: ranks.add_up(large), 50)),
    ]
    counts = {name: conversations(name, ranks) for name in NETS}
    if ranks.rank == 0:
        for what, milliseconds in rows:
            print(f"{what:<60} {milliseconds:8.3f} ms")
        for name, text in counts.items():
            print(f"conversations of a step of {name}: {text}")


def one_step(name: str, threads: int) -> None:
    """Print the median time of a step, in rank 0."""
    ranks = cnn.distributed.world()
    cnn.set_num_threads(threads)
    milliseconds = statistics.median(step_times(name, ranks if ranks.size > 1 else None))
    if ranks.rank == 0:
        print(f"{milliseconds:.3f}")


def compare(turns: int) -> None:
    """Print the median of the turns, for each net and way to run it."""
    beside = str(Path(sys.executable).parent)
    mpiexec = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if mpiexec is None:
        sys.exit('mpiexec is missing: pip install "cnn[mpich]"')
    for name, (_, _, batch, _) in NETS.items():
        found: dict[tuple[int, int], list[float]] = {(2, 1): [], (1, 2): [], (1, 1): []}  # (processes, threads of each)
        for _ in range(turns):
            for (size, threads), times in found.items():
                program = [sys.executable, __file__, "--step", name, "--threads", str(threads)]
                start = [mpiexec, "-n", str(size)] if size > 1 else []
                out = subprocess.run([*start, *program], check=True, capture_output=True, text=True).stdout
                times.append(float(out.split()[-1]))
        two, threaded, one = (statistics.median(times) for times in found.values())
        print(
            f"{name} at {batch}, ms a step: two processes {two:.1f}, one with two threads {threaded:.1f} "
            f"(ratio {two / threaded:.2f}), one with one thread {one:.1f} (ratio {two / one:.2f})"
        )


def main() -> None:
    """Read the arguments, and run what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, help="compare processes with threads, so many times in turn")
    parser.add_argument("--step", choices=NETS, help="print the median time of a step of this net alone")
    parser.add_argument("--threads", type=int, default=1, help="of each process, with --step")
    arguments = parser.parse_args()
    if arguments.turns is not None:
        compare(arguments.turns)
    elif arguments.step is not None:
        one_step(arguments.step, arguments.threads)
    else:
        costs(cnn.distributed.world())


if __name__ == "__main__":
    main()
