"""Convolutional neural networks, written from the ground up in NumPy, with PyTorch's numbers.

Layers are in `cnn.layers`, losses in `cnn.loss`, optimizers in `cnn.optim`, data sets in `cnn.data`.
"""

import importlib
from types import ModuleType

from cnn import kernels
from cnn.containers.branches import Concat, Product, Residual, Sum
from cnn.containers.graph import Graph
from cnn.containers.joins import Add, Concatenate, Multiply
from cnn.core.explain import missing_name
from cnn.core.rng import manual_seed
from cnn.errors import InputError, ShapeError
from cnn.kernels import get_num_threads, set_num_threads, show_config
from cnn.model.lint import ModelWarning
from cnn.module import Buffer, Module, Parameter, no_grad
from cnn.sequential import Sequential

__all__ = [
    "Add",
    "Buffer",
    "Concat",
    "Concatenate",
    "Graph",
    "InputError",
    "ModelWarning",
    "Module",
    "Multiply",
    "Parameter",
    "Product",
    "Residual",
    "Sequential",
    "ShapeError",
    "Sum",
    "get_num_threads",
    "kernels",
    "manual_seed",
    "no_grad",
    "set_num_threads",
    "show_config",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    """Import the larger subpackages on first use, so that `import cnn` stays fast and `cnn.data` works after it."""
    if name in ("data", "distributed", "explore", "report", "utils", "zoo"):
        return importlib.import_module(f"cnn.{name}")
    raise missing_name("cnn", name, __all__)
