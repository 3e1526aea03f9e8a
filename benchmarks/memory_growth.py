"""Does memory grow while a net trains? Prints the resident memory after 100 steps, and its growth in later steps.

python benchmarks/memory_growth.py [STEPS]

Runs STEPS (default 1,000) more steps of the MLP for the spiral data and of the reference net, in batches of 32.
"""

import gc
import sys

from cnn.bench import ours
from cnn.bench.cases import REFERENCE, training
from cnn.bench.memory import resident

WARMUP = 100


def main(steps=1000):
    for net in ("mlp", REFERENCE):
        case = training(net, 32)
        program = ours.program(case, ours.new_model(case), *case.data())
        program.run(WARMUP)
        gc.collect()
        before = resident()
        if before is None:
            sys.exit("this system does not report the memory of a process")
        program.run(steps)
        gc.collect()
        grown = (resident() - before) / 2**20
        print(f"{case.name}: {before / 2**20:.1f} MiB after {WARMUP} steps, {grown:+.2f} MiB after {steps:,} more")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
