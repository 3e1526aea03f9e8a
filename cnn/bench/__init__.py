"""Speed and memory beside PyTorch's, measured in one run.

run.py runs a suite; cases.py says what is measured, ours.py and pytorch.py do it, timing.py takes the times, memory.py
the memory; machine.py describes the machine, and results.py holds the results.
"""

from cnn.bench.run import bench

__all__ = ["bench"]
