"""Where the mathematics of the layers meets the machine. A layer marks each of its plain functions with one of these:

kernel : a faster twin serves, if there is one (see choice.py); else it runs with BLAS held to one thread
batched : likewise, with the samples of a batch shared among our own threads
summed : likewise, and the parts' results are added up
"""

from cnn.kernels.choice import active, load, use
from cnn.kernels.config import config, show_config, warm_up
from cnn.kernels.memory import empty_cache, empty_like
from cnn.kernels.parallel import batched, get_num_threads, in_parts, set_num_threads, summed
from cnn.kernels.threads import kernel, one_blas_thread

__all__ = [
    "active",
    "batched",
    "config",
    "empty_cache",
    "empty_like",
    "get_num_threads",
    "in_parts",
    "kernel",
    "load",
    "one_blas_thread",
    "set_num_threads",
    "show_config",
    "summed",
    "use",
    "warm_up",
]
