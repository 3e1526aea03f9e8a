"""Where the mathematics of the layers meets the machine. A layer marks each of its plain functions with one of these:

kernel : an implementation from table.py serves if there is one; else it runs while BLAS has one thread
batched : the same, with the samples of a batch shared among our own threads
summed : the same, and the results of the parts are added up
"""

from cnn.kernels.backend import active, use
from cnn.kernels.config import config, show_config, warm_up
from cnn.kernels.dispatch import kernel, one_blas_thread
from cnn.kernels.memory import empty_cache, empty_like
from cnn.kernels.parallel import batched, get_num_threads, in_parts, set_num_threads, summed

__all__ = [
    "active",
    "batched",
    "config",
    "empty_cache",
    "empty_like",
    "get_num_threads",
    "in_parts",
    "kernel",
    "one_blas_thread",
    "set_num_threads",
    "show_config",
    "summed",
    "use",
    "warm_up",
]
