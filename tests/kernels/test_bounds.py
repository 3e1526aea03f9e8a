"""Compiled kernels read and write only inside their arrays, and read no uninitialised memory."""

import os
import platform
import subprocess
import sys

import pytest

from tests.kernels.backends import needs_numba

pytestmark = [
    needs_numba,
    pytest.mark.skipif(sys.platform != "linux", reason="memory pages are protected with mprotect"),
]


def test_no_kernel_leaves_its_arrays():
    """In a separate process (guarded.py), which crashes on an access one element outside an array: arrays are filled with
    NaN and lie between protected pages, once at the end of their memory and once at the start.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.kernels.guarded", "0", "30"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 400


@pytest.mark.slow  # compiles all kernels again
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="Numba compiles for a Haswell processor")
def test_no_kernel_leaves_its_arrays_with_vectors_of_eight(tmp_path):
    """The same for a processor without AVX-512, on which products use one panel of columns at a time."""
    features = "+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
    options = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    program = (
        "import runpy, sys; from cnn.kernels.jit.engine import tile, winograd; assert (tile.PANELS, winograd.LANES) == (1, 8); "
        "sys.argv[1:] = ['0', '20']; runpy.run_module('tests.kernels.guarded', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | options, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 300


def test_the_guard_works():
    """Reading one element after the end, or before the start, crashes the process."""
    for end, index in (("True", 1024), ("False", -1)):
        program = (
            "import ctypes; from tests.kernels import guarded; "
            f"guarded.at_end = {end}; x = guarded.guarded((1024,)); "
            f"print(x[-1]); ctypes.c_float.from_address(x.ctypes.data + 4 * {index}).value"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == -11, done.stderr
        assert done.stdout == "nan\n"
