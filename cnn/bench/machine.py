"""The machine: processor, versions, speed of matrix products, and how busy other programs keep it."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import kernels
from cnn.kernels import one_blas_thread

SIDE, ROUNDS = 1024, 8


def facts(threads: int) -> dict[str, Any]:
    """Return processor, threads, versions, backend, and the output of `cnn.show_config`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "cnn": cnn.__version__,
        "numpy": np.__version__,
        "numba": _version("numba"),
        "blas": _blas(),
        "kernels": kernels.active(),
        "config": kernels.config(),
    }


def gemm_rate(threads: int) -> float:
    """Return the GFLOP/s of products of two float32 matrices of 1024 x 1024: the best of several rounds.

    Each of ``threads`` threads computes a product with BLAS limited to one thread, which is how the library works.
    """
    rng = np.random.default_rng(0)
    pairs = [[rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(3)] for _ in range(threads)]

    def multiply(arrays: Any) -> None:
        a, b, out = arrays
        np.matmul(a, b, out=out)

    best = 0.0
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            list(pool.map(multiply, pairs))
            best = max(best, threads * 2 * SIDE**3 / (time.perf_counter() - began) / 1e9)
    return best


@dataclass
class OtherPrograms:
    """The processor time that other programs, or other virtual machines on the same hardware, took in a with block.

    Parameters
    ----------
    children : callable
        Returns the seconds of processor time that child processes of this one used; they do not count as others.

    Attributes
    ----------
    share : float or None
        Share of the time of all processors, after the block; None where the system does not report it (Linux does).
    """

    children: Callable[[], float] = lambda: 0.0
    share: float | None = None

    def __enter__(self) -> "OtherPrograms":
        self._children = self.children()
        self._before = _times()
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None and (now := _times()) is not None:
            wall, busy, own = (b - a for a, b in zip(self._before, now, strict=True))
            own += self.children() - self._children
            self.share = min(1.0, max(0.0, busy - own) / (wall * (os.cpu_count() or 1)))


def _times() -> tuple[float, float, float] | None:
    """Return seconds: of wall-clock time, busy or stolen on all processors, and of processor time of this process."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, words[1:9])
    ticks = user + nice + system + interrupts + soft + stolen
    return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> str:
    """Return the BLAS that NumPy uses, with the processor type that it detected."""
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    numpy_own = [library for library in found if "numpy" in library["filepath"]]
    names = [
        " ".join(str(library[key]) for key in ("internal_api", "version", "architecture") if library.get(key))
        for library in numpy_own or found
    ]
    return ", ".join(names) or "unknown"
