"""The backend: which implementations of the plain functions serve. table.py lists them; dispatch.py calls them."""

import functools
import importlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

BACKENDS = ("reference", "array", "jit")
COMPILE_NOTICE = 2.0  # s: a longer compilation is reported

Backend = Literal["reference", "array", "jit"]

current: str | None = None  # the backend that serves; None until someone asks
_noticed = False  # that kernels are being compiled
_lock = threading.Lock()


def use(name: Backend) -> None:
    """Choose the backend, for all threads; by default the fastest available.

    Parameters
    ----------
    name : {"reference", "array", "jit"}
        The plain functions of the layer files; tuned NumPy; machine code compiled by Numba (``pip install numba``).

    Raises
    ------
    ValueError
        If there is no such backend.
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
    global current
    if name not in BACKENDS:
        raise ValueError(f"the backend is one of {', '.join(map(repr, BACKENDS))}, got {name!r}")
    if name == "jit" and not has_numba():
        raise ImportError('the backend "jit" needs Numba: pip install numba, or use("array")')
    current = name


def active() -> str:
    """Return the name of the backend: "jit" if Numba is installed, else "array", unless `use` chose another.

    Examples
    --------
    >>> active() in ("jit", "array", "reference")
    True
    """
    global current
    if current is None:
        current = "jit" if has_numba() else "array"
    return current


@functools.cache
def has_numba() -> bool:
    """Tell whether Numba is installed and works with this version of NumPy."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        _import_whole("numba")
    except ImportError:  # this release of Numba does not support this release of NumPy
        return False
    return True


def _import_whole(module: str) -> None:
    """Import a package; Ctrl-C comes after it.

    Half of Numba would stay imported, and a second import of it fails in this process.
    """
    before: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        importlib.import_module(module)  # Ctrl-C does not come here
        return
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        importlib.import_module(module)
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


def load(module: str) -> Any:
    """Import a module of kernels, and say so if compiling it takes long."""
    if module in sys.modules or ".jit." not in module:
        return importlib.import_module(module)  # waits if another thread is importing it
    with notice_if_slow():
        return importlib.import_module(module)


@contextmanager
def notice_if_slow() -> Iterator[None]:
    """Report on stderr that kernels are being compiled if that takes a while; once per process."""

    def notice() -> None:
        global _noticed
        with _lock:
            first, _noticed = not _noticed, True
        if first:
            text = "cnn: compiling kernels; this is done once, and takes 20 to 30 s ..."
            print(text, file=sys.stderr, flush=True)

    timer = threading.Timer(COMPILE_NOTICE, notice)
    timer.daemon = True
    try:
        timer.start()
        yield
    finally:
        timer.cancel()
