"""Where the mathematics of the layers meets the machine. A layer marks each of its plain functions with one of these:

kernel : it runs with BLAS held to one thread
batched : likewise, with the samples of a batch shared among our own threads
summed : likewise, and the parts' results are added up
"""

from cnn.kernels.choice import active, load, use
from cnn.kernels.memory import empty_cache, empty_like
from cnn.kernels.parallel import batched, get_num_threads, in_parts, set_num_threads, summed
from cnn.kernels.threads import kernel, one_blas_thread

__all__ = [
    "active",
    "batched",
    "empty_cache",
    "empty_like",
    "get_num_threads",
    "in_parts",
    "kernel",
    "load",
    "one_blas_thread",
    "set_num_threads",
    "summed",
    "use",
]
