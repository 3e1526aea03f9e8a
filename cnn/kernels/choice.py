"""Which kernels serve: the readable functions in the layer files, or faster twins of the same names.

A plain function ``conv2d`` in ``cnn/layers/conv2d.py`` is marked with a decorator of this package. When it is called, a
function of the same name in ``kernels/jit/conv2d.py`` or ``kernels/array/conv2d.py`` serves instead, if there is one,
and if it does not decline by returning NotImplemented. So a twin exists only where somebody wrote one, and a layer
knows nothing of it.
"""

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

SETS = ("reference", "array", "jit")
BEFORE = {"reference": (), "array": ("array",), "jit": ("jit", "array")}  # where twins are looked for, in turn
FLOAT32 = np.dtype(np.float32)  # two dtypes are compared at once; a class is made a dtype first
PATIENCE = 2.0  # s: compiling that takes longer is told

Name = Literal["reference", "array", "jit"]
Twin = tuple[Callable[..., Any], bool]  # and whether it takes float32 alone

_active: str | None = None
_told = False  # that kernels are being compiled
_twins: dict[Callable[..., Any], list[Twin]] = {}
_lock = threading.RLock()


def use(name: Name) -> None:
    """Choose the kernels, for all threads; by default the fastest that are there.

    Parameters
    ----------
    name : {"reference", "array", "jit"}
        The plain functions of the layer files; tuned NumPy; machine code compiled by Numba (``pip install numba``).

    Raises
    ------
    ValueError
        If there is no such set.
    ImportError
        If Numba is not installed.

    Examples
    --------
    >>> import cnn
    >>> before = cnn.kernels.active()
    >>> cnn.kernels.use("reference")
    >>> cnn.kernels.active()
    'reference'
    >>> cnn.kernels.use(before)
    """
    global _active
    if name not in SETS:
        raise ValueError(f"kernels are one of {', '.join(map(repr, SETS))}, got {name!r}")
    if name == "jit" and not has_numba():
        raise ImportError('the kernels "jit" need Numba: pip install numba, or use("array")')
    with _lock:
        _active = name
        _twins.clear()


def active() -> str:
    """Return the name of the kernels that serve: "jit" where Numba is installed, else "array", unless `use` chose."""
    global _active
    if _active is None:
        _active = "jit" if has_numba() else "array"
    return _active


@functools.cache
def has_numba() -> bool:
    """Tell whether Numba is installed, and works with this NumPy."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        importlib.import_module("numba")
    except ImportError:  # this release of it does not know this release of NumPy
        return False
    return True


def twins(function: Callable[..., Any]) -> list[Twin]:
    """Return what may serve in place of a plain function, the fastest first."""
    try:
        return _twins[function]
    except KeyError:
        pass
    with _lock:
        name = function.__module__.rpartition(".")[2]
        found = []
        for kernels in BEFORE[active()]:
            module = load(kernels, name)
            if module is not None and hasattr(module, function.__name__):
                found.append((getattr(module, function.__name__), kernels == "jit"))
        _twins[function] = found
    return found


def load(kernels: str, name: str) -> Any:
    """Import ``kernels/{kernels}/{name}.py``; None if there is no such file."""
    path = f"{__package__}.{kernels}.{name}"
    if path in sys.modules:
        return importlib.import_module(path)  # which waits until another thread that imports it is done
    if not (Path(__file__).parent / kernels / f"{name.replace('.', '/')}.py").is_file():
        return None
    with told_if_long(kernels):
        return importlib.import_module(path)


@contextmanager
def told_if_long(kernels: str) -> Iterator[None]:
    """Say that kernels are being compiled if that takes a while; once, though several files may take long."""

    def tell() -> None:
        global _told
        if not _told:
            _told = True
            text = "cnn: compiling kernels; this is done once, and takes 20 to 30 s ..."
            print(text, file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE, tell)
    timer.daemon = True
    if kernels == "jit":
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def serve(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return what a twin makes of the arguments, or NotImplemented."""
    first = arguments[0] if arguments else None
    if type(first) is list and first:
        first = first[0]
    if type(first) is np.ndarray:  # another kind of array goes to the plain function
        for twin, only_float32 in twins(function):
            if only_float32 and first.dtype != FLOAT32:
                continue
            result = twin(*arguments)
            if result is not NotImplemented:
                return result
    return NotImplemented
