"""How does the cost of a convolution grow with the batch, the pixels and the channels? Prints a table, draws a plot.

python benchmarks/growth.py [FILE.png]

Times forward and both gradients of a 3x3 convolution with padding 1, from 64 to 64 channels, on 16x16 pixels, with a
batch of 32; one size is varied at a time. Where GFLOP/s stay the same, the cost is proportional to the work.
"""

import statistics
import sys
import time

import numpy as np

import cnn
from cnn.layers import Conv2d

BASE = {"batch": 32, "side": 16, "channels": 64}
VALUES = {"batch": (1, 2, 4, 8, 16, 32, 64, 128), "side": (4, 8, 16, 32, 64), "channels": (4, 8, 16, 32, 64, 128, 256)}
ROUNDS = 7


def milliseconds(batch, side, channels):
    """Return the median time of forward and backward."""
    rng = np.random.default_rng(0)
    layer = Conv2d(channels, channels, 3, padding=1, rng=0)
    x = rng.standard_normal((batch, side, side, channels), np.float32).transpose(0, 3, 1, 2)
    times = []
    for _ in range(ROUNDS + 2):
        began = time.perf_counter()
        layer.backward(layer(x))
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[2:])


def main(path=None):
    table = {}
    print(f"backend {cnn.kernels.active()}, {cnn.get_num_threads()} threads")
    for name, values in VALUES.items():
        for value in values:
            sizes = {**BASE, name: value}
            spent = milliseconds(**sizes)
            work = sizes["batch"] * sizes["side"] ** 2 * sizes["channels"] ** 2 * 9 * 3
            table.setdefault(name, []).append((value, spent, 2 * work / spent / 1e6))
            print(f"{name:>8} {value:4d}  {spent:9.3f} ms  {2 * work / spent / 1e6:7.1f} GFLOP/s")
    if path is not None:
        from cnn.report import plots

        plots.save(plots.growth(table), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
