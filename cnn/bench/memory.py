"""The peak memory of a training step, measured in a new process each time, because a process reuses memory that an
earlier program has freed.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cnn.bench.cases import Case
from cnn.bench.turns import child_environment
from cnn.kernels import active, get_num_threads

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
NOT_MEASURED = "MiB: not measured, because this system does not report the peak memory of a process"


def step_memory(case: Case, program: str) -> int | None:
    """Return the peak memory of training in bytes, over what the process used before the model was made.

    It counts parameters, the optimizer's state and everything that steps allocate, but not imported or compiled code
    and not the batch.

    Parameters
    ----------
    case : Case
        A training step of a net.
    program : str
        OURS, or PyTorch's memory format.

    Returns
    -------
    int or None
        None where the system does not report it.

    Raises
    ------
    RuntimeError
        If the process failed; with the last line of its error output.
    """
    settings: dict[str, Any] = {"net": case.subject, "batch": case.batch, "program": program}
    settings |= {"threads": get_num_threads(), "kernels": active()}
    command = [sys.executable, "-m", "cnn.bench.child", json.dumps(settings)]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RuntimeError(f"the process that measures the memory of {case.name}, {program}, failed: {lines[-1]}")
    value: int | None = json.loads(done.stdout.splitlines()[-1])
    return value


def reset_peak() -> None:
    """Reset the peak memory to what the process uses now, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")


def peak() -> int | None:
    """Return the peak memory of this process in bytes, since `reset_peak` where the system can reset it."""
    value = _status("VmHWM")
    if value is not None:
        return value
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident() -> int | None:
    """Return the resident memory of this process in bytes; where the system does not report it, the peak."""
    value = _status("VmRSS")
    return peak() if value is None else value


def _status(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
