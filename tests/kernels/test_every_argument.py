"""Every implementation, and every net that runs fused, refuses arrays that do not fit, or is right; see walk.py.

In a separate process, which a read or write outside an array ends.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnn.kernels.table import TABLE
from tests.kernels import walk

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory pages are protected with mprotect")
LIBRARY = next(
    (
        path
        for path in map(Path, ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64"))
        if (path / "libc_malloc_debug.so.0").exists()
    ),
    None,
)
with_malloc_debug = pytest.mark.skipif(LIBRARY is None, reason="needs libc_malloc_debug.so.0 of glibc 2.34 or later")
MEMORY = [
    pytest.param("end", marks=on_linux),
    pytest.param("start", marks=[on_linux, pytest.mark.slow]),
    pytest.param("malloc", marks=[with_malloc_debug, pytest.mark.slow]),
]


def run(memory, what):
    environment = dict(os.environ)
    if memory == "malloc":
        environment |= {"LD_PRELOAD": str(LIBRARY / "libc_malloc_debug.so.0"), "MALLOC_CHECK_": "3"}
    command = [sys.executable, "-W", "error", "-m", "tests.kernels.walk", memory, what]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_every_function_in_the_table_has_a_base_case():
    assert set(walk.BASES) == set(TABLE)


@pytest.mark.parametrize("memory", MEMORY)
def test_every_array_of_every_implementation_is_checked(memory):
    done = run(memory, "walk")
    assert done.returncode == 0, done.stderr[-3000:]
    right, refused, declined = map(int, done.stdout.split())
    assert right > 1000, done.stdout
    assert refused > 100, done.stdout
    assert declined > 1000, done.stdout


@pytest.mark.skipif(not walk.backend.has_numba(), reason="Numba is not installed")
@pytest.mark.parametrize(
    "memory", [pytest.param("end", marks=on_linux), pytest.param("malloc", marks=with_malloc_debug)]
)
def test_an_overrun_is_caught(memory):
    """One element more than there is: the protected page ends the process, and so does malloc_debug."""
    done = run(memory, "overrun")
    expected = signal.SIGSEGV if memory == "end" else signal.SIGABRT
    assert done.returncode == -expected, (done.returncode, done.stderr[-1000:])
    assert "not caught" not in done.stdout
