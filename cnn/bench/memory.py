"""The memory that a training step takes at most, in fresh processes: what one program leaves is another's gain."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cnn.bench.cases import Case
from cnn.kernels import active, get_num_threads

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
NOT_MEASURED = "MiB: not measured, because this system tells no process the most memory that it had"


def step_memory(case: Case, program: str) -> int | None:
    """Return the bytes that training takes at most, over what the process had before the model was made.

    Counted are parameters, the optimizer's state, and all that steps make; not what was imported or compiled, nor
    the batch.

    Parameters
    ----------
    case : Case
        A training step of a net.
    program : str
        OURS, or PyTorch's memory format.

    Returns
    -------
    int or None
        None where the system does not tell.

    Raises
    ------
    RuntimeError
        If the process failed; with its last words.
    """
    settings: dict[str, Any] = {"net": case.what, "batch": case.batch, "program": program}
    settings |= {"threads": get_num_threads(), "kernels": active()}
    command = [sys.executable, "-m", "cnn.bench.child", json.dumps(settings)]
    found = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(found), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RuntimeError(f"the process that measures the memory of {case.name}, {program}, failed: {words[-1]}")
    value: int | None = json.loads(done.stdout.splitlines()[-1])
    return value


def forget_highest() -> None:
    """Let the highest memory start anew from what the process has now, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")


def highest() -> int | None:
    """Return the most bytes that this process had in memory, since `forget_highest` if that could be done."""
    told = _status("VmHWM")
    if told is not None:
        return told
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident() -> int | None:
    """Return the bytes that this process has in memory now; where the system does not tell, the most that it had."""
    told = _status("VmRSS")
    return highest() if told is None else told


def _status(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
