"""Does a ReLU always take as long, and does the system give it fresh memory?

python benchmarks/relu_phases.py [STEPS]

Prints for a ReLU of 64 images of 90 x 8 x 8 with one thread and with two: the least time of forward and of backward
that is not chance (the first tenth), the median, and the time that nine tenths stay under, in microseconds; and how
many pages the system gave anew in a step. STEPS: default 3000. Needs a Unix.
"""

import resource
import sys
import time

import numpy as np

import cnn
from cnn.layers import ReLU


def faults():
    """How many pages the system gave this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main(steps=3000):
    layer = ReLU()
    x = np.random.default_rng(0).standard_normal((64, 8, 8, 90), np.float32).transpose(0, 3, 1, 2)
    for threads in (1, 2):
        cnn.set_num_threads(threads)
        there, back = [], []
        for i in range(steps + 100):
            if i == 100:  # warm
                given = faults()
            began = time.perf_counter()
            y = layer(x)
            turned = time.perf_counter()
            layer.backward(y)
            there.append(turned - began)
            back.append(time.perf_counter() - turned)
        for name, taken in (("forward", there), ("backward", back)):
            low, middle, high = 1e6 * np.quantile(taken[100:], (0.1, 0.5, 0.9))
            print(f"threads {threads}, {name}: {low:.0f}, {middle:.0f}, {high:.0f} us")
        print(f"threads {threads}: {(faults() - given) / steps:.1f} pages a step")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
