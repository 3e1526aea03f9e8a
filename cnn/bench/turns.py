"""Programs in processes of their own that take turns: while one works, the others wait for a line from a pipe."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from cnn.bench.cases import Case
from cnn.bench.machine import OtherPrograms
from cnn.bench.ours import OURS, Program
from cnn.bench.timing import alternate
from cnn.kernels import active, get_num_threads


def child_environment() -> dict[str, str]:
    """Return the environment of a child process that finds the modules that this process finds."""
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}


class Worker:
    """A process that runs `cnn.bench.worker` for one program of a case; leaving the with block ends it.

    Parameters
    ----------
    case : Case
    program : str
        OURS, or a name from `opponents.program_names`.
    """

    def __init__(self, case: Case, program: str) -> None:
        self.case, self.program = case, program
        settings = {"kind": case.kind, "net": case.subject, "batch": case.batch, "program": program}
        settings |= {"threads": get_num_threads(), "kernels": active()}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cnn.bench.worker", json.dumps(settings)],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, word: str) -> Any:
        """Send a word and return the answer.

        Raises
        ------
        RuntimeError
            If the process failed; with the last line of its error output.
        """
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        try:
            pipes.stdin.write(word + "\n")
            pipes.stdin.flush()
            answer = pipes.stdout.readline()
        except OSError:  # it has ended
            answer = ""
        if not answer:
            pipes.wait()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or [f"status {pipes.returncode}"]
            raise RuntimeError(f"the process of {self.case.name}, {self.program}, failed: {lines[-1]}")
        return json.loads(answer)

    def as_program(self) -> Program:
        """Return the program with results that the process computes; it is not run here."""
        return Program(self.program, lambda count: None, lambda: self.ask("probe"))


def start(case: Case, names: tuple[str, ...], stack: ExitStack) -> list[Worker]:
    """Start the processes of a case, ours first; they end with the stack."""
    return [stack.enter_context(Worker(case, name)) for name in (OURS, *names)]


def measure(workers: list[Worker], rounds: int, seconds: float) -> tuple[dict[str, list[float]], float | None]:
    """Return the seconds of a step by program, one value per turn, and the share that other programs took."""
    for worker in workers:
        worker.ask("warm up")
    others = OtherPrograms(lambda: float(sum(worker.ask("processor seconds") for worker in workers)))
    with others:
        taken = alternate({worker.program: partial(worker.ask, "turn") for worker in workers}, rounds, seconds)
    return taken, others.share
