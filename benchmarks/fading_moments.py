"""What a step costs after moments have faded away: all gradients are zero after the first steps.

For each optimizer a step of 400,000 weights is timed in its first steps, around the step in which its moments become
too small for normal numbers, and after 2,000 steps.

python benchmarks/fading_moments.py [--threads 1]
"""

import argparse
import copy
import statistics
import time

import numpy as np

import cnn
from cnn.kernels import backend
from cnn.module import Parameter
from cnn.optim import SGD, Adam, AdamW, NAdam, RMSprop

WEIGHTS, STEPS, TIMED = 400_000, 2_000, 50
OPTIMIZERS = [Adam(), AdamW(), NAdam(), SGD(momentum=0.9), RMSprop(momentum=0.9)]


def main() -> None:
    """Print for each optimizer the median milliseconds of a step, and the ratio of the last ones to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    cnn.set_num_threads(parser.parse_args().threads)
    rng = np.random.default_rng(0)
    for optimizer in OPTIMIZERS:
        parameter = Parameter(rng.standard_normal(WEIGHTS, np.float32))
        optimizer = copy.deepcopy(optimizer)
        optimizer.set_params([parameter])
        zeros, seconds = np.zeros(WEIGHTS, np.float32), []
        for step in range(STEPS):
            parameter.grad = rng.standard_normal(WEIGHTS, np.float32) if step < TIMED else zeros
            began = time.perf_counter()
            optimizer.step()
            seconds.append(time.perf_counter() - began)
        blocks = [statistics.median(seconds[i : i + TIMED]) for i in range(0, STEPS, TIMED)]
        first, slowest, last = (1000 * value for value in (blocks[0], max(blocks), blocks[-1]))
        print(
            f"{backend.active()} {optimizer!r}: first {first:.3f} ms, slowest {slowest:.3f}, last {last:.3f}, "
            f"last / first {last / first:.2f}"
        )


if __name__ == "__main__":
    main()
