"""Benchmarks: speed and memory of this library and of PyTorch, measured in one run.

run.py runs a suite. cases.py defines what is measured, ours.py and pytorch.py do the work, timing.py measures the time
and memory.py the memory. machine.py describes the machine, and results.py holds the results.
"""

from cnn.bench.run import bench

__all__ = ["bench"]
