"""What the computations of this process run on, and preparation for them."""

import os
import platform
from typing import Any

import numpy as np

from cnn.core.modes import evaluating
from cnn.kernels import backend
from cnn.kernels.dispatch import libraries
from cnn.kernels.parallel import get_num_threads
from cnn.kernels.table import TABLE

# modules whose plain functions a training step needs, whatever the layers are
ALWAYS_NEEDED = {"cnn.functional.elementwise", "cnn.functional.norms", "cnn.loss.cross_entropy_loss", "cnn.optim.adam"}


def config() -> dict[str, str]:
    """Return what `show_config` prints, by its headings."""
    numba = "not installed: pip install numba gives faster kernels"
    if backend.has_numba():
        from importlib.metadata import version

        numba = version("numba")
    products = [f"{lib.internal_api} {lib.version or ''}, {lib.num_threads} threads" for lib in libraries()]
    return {
        "backend": f"{backend.active()}, of {', '.join(backend.BACKENDS)}",
        "numba": numba,
        "threads": f"{get_num_threads()} of {os.cpu_count()} processors",
        "blas": "; ".join(products) or "unknown: it keeps its own number of threads",
        "numpy": np.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }


def show_config() -> None:
    """Print which backend, threads and libraries this process uses.

    Examples
    --------
    >>> import cnn
    >>> cnn.show_config()  # doctest: +ELLIPSIS
    backend  ...
    """
    for heading, text in config().items():
        print(f"{heading:<8} {text}")


def warm_up(model: Any, input_shape: tuple[int, ...]) -> None:
    """Compile the kernels that a model needs, or read them from the disk: then its first step is as fast as the next.

    Compiling is done once for all models; it takes 20 to 30 s, and what it gives is kept on the disk (where
    Numba keeps such files: ``__pycache__`` beside the sources, or a folder of the user's, or ``NUMBA_CACHE_DIR``).

    Parameters
    ----------
    model : Module
        It stays as it is.
    input_shape : tuple of int
        Shape of one sample, without the batch axis.

    Examples
    --------
    >>> import cnn
    >>> from cnn.layers import Linear
    >>> cnn.kernels.warm_up(cnn.Sequential([Linear(4, 3)]), (4,))
    """
    if backend.active() == "jit":
        users = {type(module).__module__ for module in model.modules()} | ALWAYS_NEEDED
        for name, entries in TABLE.items():
            for entry in entries:
                if entry.backend == "jit" and name.rpartition(".")[0] in users:
                    backend.load(entry.path.rpartition(".")[0])
    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    with evaluating():
        model(np.zeros((1, *input_shape), dtype))
