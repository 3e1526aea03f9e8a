"""The configuration of this process (backend, threads, libraries), and compiling kernels ahead of time."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from cnn.core.modes import evaluating
from cnn.kernels import backend
from cnn.kernels.dispatch import libraries
from cnn.kernels.parallel import get_num_threads
from cnn.kernels.table import TABLE

# modules whose plain functions every training step needs, independent of the layers
ALWAYS_NEEDED = {"cnn.functional.elementwise", "cnn.functional.norms", "cnn.loss.cross_entropy_loss", "cnn.optim.adam"}


def config() -> dict[str, str]:
    """Return what `show_config` prints, as a dict from heading to text.

    Examples
    --------
    >>> "backend" in config()
    True
    """
    numba = "not installed: pip install numba gives faster kernels"
    if backend.has_numba():
        from importlib.metadata import version

        numba = version("numba")
    # a wheel of NumPy brings a BLAS of its own, in numpy.libs or numpy/.dylibs; SciPy may have loaded another
    own = [lib for lib in libraries() if any(part.startswith("numpy") for part in Path(lib.filepath).parts[-3:])]
    products = [f"{lib.internal_api} {lib.version or ''}, {lib.num_threads} threads" for lib in own or libraries()]
    return {
        "backend": f"{backend.active()}, of {', '.join(backend.BACKENDS)}",
        "numba": numba,
        "threads": f"{get_num_threads()} of {os.cpu_count()} processors",
        "blas": "; ".join(products) or "unknown: its number of threads cannot be set",
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
    """Compile the kernels that a model needs, or load them from disk, so that its first step is as fast as the next.

    Kernels are compiled once for all models, in 20 to 30 s, and cached on disk (where Numba keeps such files:
    ``__pycache__`` next to the sources, a folder of the user's, or ``NUMBA_CACHE_DIR``).

    Parameters
    ----------
    model : Module
        It is not changed.
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
