"""Ctrl-C at random moments of `fit` and `predict`: is everything as it was afterwards?

For each backend, in a process of its own, an alarm clock of the operating system interrupts `fit` and `predict` in
turn, each time at another moment, as Ctrl-C does: Python calls the handler between two instructions, and it raises
KeyboardInterrupt. The call after each interrupt must give the same bits as before all interrupts, and BLAS must have
its threads back. Printed are also the interrupts that were lost, the time of a call afterwards relative to before, and
by how much the memory of the process has grown: what is left after a garbage collection, and after the C library has
given back to the system what it keeps for later allocations.

Run it from the repository: python benchmarks/interrupts.py [--signals 2000] [--json] [backend ...]
"""

import argparse
import copy
import ctypes
import gc
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

import cnn
from cnn.bench.memory import resident
from cnn.kernels import backend
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

THREADS = 2
sent = 0  # interrupts


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, as Python's own handler of Ctrl-C does."""
    global sent
    sent += 1
    raise KeyboardInterrupt


def calls() -> dict[str, Callable[[], bytes]]:
    """Return functions that fit a new copy of a net, and predict; they return the bytes of the result."""
    rng = np.random.default_rng(0)
    layers: list[Any] = [Conv2d(2, 16, 3, padding=1, bias=False, rng=rng), BatchNorm2d(16), ReLU()]
    layers += [Conv2d(16, 16, 3, padding=1, rng=rng), ReLU(), MaxPool2d(2), Flatten()]
    layers += [Linear(16 * 144, 40, rng=rng), ReLU(), Linear(40, 3, rng=rng)]
    model = cnn.Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=Adam())
    x, y = rng.normal(size=(16, 2, 24, 24)).astype(np.float32), rng.integers(0, 3, 16)

    def fit() -> bytes:
        trained = copy.deepcopy(model)
        trained.fit(x, y, (x[:3], y[:3]), epochs=1, batch_size=8, verbose_freq=0, rng=0)
        return b"".join(array.tobytes() for array in trained.state_dict().values())

    return {"fit": fit, "predict": lambda: bytes(model.predict_proba(x, batch_size=8).tobytes())}


def seconds(call: Callable[[], bytes], repeats: int = 40) -> float:
    """Return the shortest time of a call, which other programs disturb least."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def memory_in_use() -> int:
    """Return the resident bytes of the process that are not garbage, nor memory that malloc keeps (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    return resident() or 0


def interrupted(call: Callable[[], bytes], after: float) -> bool:
    """Interrupt a call after some seconds; tell whether it raised KeyboardInterrupt."""
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        try:
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def measure(name: Any, signals: int) -> dict[str, Any]:
    """Interrupt both calls, in this process, and return the figures."""
    cnn.kernels.use(name)
    cnn.set_num_threads(THREADS)
    rng, functions = np.random.default_rng(0), calls()
    signal.signal(signal.SIGALRM, interrupt)
    with threadpoolctl.threadpool_limits(THREADS, user_api="blas"):
        blas = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
        expected = {key: call() for key, call in functions.items()}
        before = {key: seconds(call) for key, call in functions.items()}
        memory, caught, wrong, limited = memory_in_use(), 0, 0, 0
        while sent < signals:
            for key, call in functions.items():
                caught += interrupted(call, rng.uniform(1e-6, before[key]))
                other = "predict" if rng.random() < 0.9 else "fit"  # the longer one less often
                wrong += functions[other]() != expected[other]
                limited += any(library.num_threads != THREADS for library in blas)
        end = memory_in_use()
        later = {key: seconds(call) for key, call in functions.items()}
    return {
        "backend": name,
        "signals": sent,
        "swallowed": sent - caught,
        "wrong": wrong,
        "limited": limited,
        "slower": {key: round(later[key] / before[key], 2) for key in functions},
        "growth": round((end - memory) / 2**20, 2),
    }


def main() -> None:
    """Print the figures of each backend; fail if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*")
    parser.add_argument("--signals", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="measure one backend in this process; print JSON")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(measure(*arguments.backends, arguments.signals)))
        return
    names = arguments.backends or [name for name in backend.BACKENDS if name != "jit" or backend.has_numba()]
    failed = False
    for name in names:
        command = [sys.executable, __file__, name, "--signals", str(arguments.signals), "--json"]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(
            f"{name:<9} {found['signals']} signals: {found['swallowed']} swallowed, then {found['wrong']} wrong "
            f"results, BLAS limited {found['limited']} times; a call takes "
            + ", ".join(f"{ratio:.2f} ({key})" for key, ratio in found["slower"].items())
            + f" of its time before; memory grew by {found['growth']:.2f} MiB"
        )
        bad = found["swallowed"] or found["wrong"] or found["limited"] or found["growth"] >= 5
        failed = failed or bool(bad) or max(found["slower"].values()) > 1.5
    sys.exit(failed)


if __name__ == "__main__":
    main()
