"""Does a ReLU always take the same time, and does the system give it new memory pages?

python benchmarks/relu_phases.py [STEPS]

Prints for a ReLU of 64 images of 90 x 8 x 8, with one thread and with two: the 10th percentile, the median and the 90th
percentile of the times of forward and of backward, in microseconds, and the number of new pages (page faults) per step.
STEPS: default 3000. Needs a Unix.
"""

import resource
import sys
import time

import numpy as np

import cnn
from cnn.layers import ReLU


def faults():
    """Return the number of page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main(steps=3000):
    layer = ReLU()
    x = np.random.default_rng(0).standard_normal((64, 8, 8, 90), np.float32).transpose(0, 3, 1, 2)
    for threads in (1, 2):
        cnn.set_num_threads(threads)
        forward, backward = [], []
        for i in range(steps + 100):
            if i == 100:  # after the warm-up
                faults_before = faults()
            began = time.perf_counter()
            y = layer(x)
            middle = time.perf_counter()
            layer.backward(y)
            forward.append(middle - began)
            backward.append(time.perf_counter() - middle)
        for name, taken in (("forward", forward), ("backward", backward)):
            low, median, high = 1e6 * np.quantile(taken[100:], (0.1, 0.5, 0.9))
            print(f"threads {threads}, {name}: {low:.0f}, {median:.0f}, {high:.0f} us")
        print(f"threads {threads}: {(faults() - faults_before) / steps:.1f} pages a step")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
