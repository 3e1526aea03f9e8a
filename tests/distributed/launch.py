"""Starts programs under mpiexec, as a user does, and sees to it that none of their processes is left."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, sys, time
import cnn
ranks = cnn.distributed.world()
sys.stdout.write(f"pid {os.getpid()}\\n")  # at once: lines of several processes may mix
"""


# What lets Open MPI start as root, with more processes than cores, which it would bind to one core each. Its mpiexec
# sends SIGTERM so many seconds after it was told to stop, and kills after as many more: a busy machine needs more than 1
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_odls_base_sigkill_timeout": "3",
}


def mpiexec():
    """Return the path of the mpiexec that MPIEXEC names, or that fits the library that mpi4py loads.

    That of the environment comes first, as mpi4py looks for the library there first. Without one the tests fail, and
    are not skipped.
    """
    name = os.environ.get("MPIEXEC", "mpiexec.openmpi" if os.environ.get("MPI4PY_MPIABI") == "openmpi" else "mpiexec")
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.fail(f'these tests need {name}: pip install -e ".[dev]"', pytrace=False)
    return found


@functools.cache
def is_open_mpi():
    """Whether mpiexec is that of Open MPI: OpenRTE is its name in version 4."""
    said = subprocess.run([mpiexec(), "--version"], capture_output=True, text=True, check=True).stdout
    return "OpenRTE" in said or "Open MPI" in said


def status_after(number):
    """The exit status of an mpiexec that a signal has told to stop, and that has passed it on.

    That of the processes; docs/distributed.md says that Open MPI decides on one of its own.
    """
    return 1 if is_open_mpi() else 128 + number


def start(program, size, *arguments, **environment):
    """Start a program, a path or the text of one, in ``size`` processes; its output comes in pipes."""
    given = [str(program)] if isinstance(program, Path) else ["-c", program]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [mpiexec(), "-n", str(size), sys.executable, *given, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**OPEN_MPI, **os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **environment},
    )


def finish(process, seconds):
    """Wait for the end of a program that `start` has started: -> (its status, its output, its errors)"""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"mpiexec did not end within {seconds} seconds\n{out}\n{err}", pytrace=False)
    return process.returncode, out, err


def run(program, size, *arguments, seconds=120, **environment):
    """Run a program to its end: -> (its status, its output, its errors)"""
    return finish(start(program, size, *arguments, **environment), seconds)


def is_running(pid):
    """Whether a process runs; one that has ended, and waits for its parent to see it, does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def pids(out):
    """The processes that have begun with `BEGIN`."""
    return [int(line.split()[1]) for line in out.splitlines() if line.startswith("pid ")]


def check_none_left(out, size):
    """All processes of a program have ended, or do so within ten seconds."""
    found = pids(out)
    assert len(found) == size
    end = time.monotonic() + 10
    while any(is_running(pid) for pid in found) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in found)
