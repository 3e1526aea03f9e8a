"""How the plain functions of the layers run fast. A layer decorates each of its plain functions with one of these:

kernel : runs an implementation from table.py if there is one; otherwise the plain function, with BLAS on one thread
batched : the same, but the plain function runs on several threads, each with a part of the batch
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
