"""Benchmarks: speed and memory of this library and of PyTorch or another library, measured in one run.

run.py runs a suite. cases.py defines what is measured, ours.py and pytorch.py do the work, timing.py measures the time
and memory.py the memory. machine.py describes the machine, and results.py holds the results. opponents.py lists the
other libraries; runtimes.py does the work of two of them. They run in processes of their own, worker.py, which turns.py
starts and lets take turns.
"""

from cnn.bench.run import bench

__all__ = ["bench"]
