"""The watchdog: MPI waits for ever for a process that does not come, so a thread looks at the clock."""

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

TICK = 0.2  # seconds between two looks at the clock
LAST_WORD = 3.0  # seconds that the other waiting processes leave to the one that reports
DELIVERY = 0.5  # seconds that mpiexec has to pass on what was printed; what it has not is lost with the end
PACKAGE = str(Path(__file__).parents[1])


class Watchdog(threading.Thread):
    """A thread that ends all processes when this one has waited too long for the others.

    MPI cannot say who is missing. So a process that has waited for half of the time tells the others, and those that
    have told nothing are named. If all wait, it is in different calls, and each says in which line of the program.

    Parameters
    ----------
    mpi : module
        mpi4py.MPI.
    comm : mpi4py.MPI.Comm
        For the messages of the watchdogs alone.
    """

    def __init__(self, mpi: Any, comm: Any) -> None:
        super().__init__(name="cnn watchdog", daemon=True)
        self.seconds = 600.0
        self.entered = 0  # how many conversations this process has entered
        self.since: float | None = None  # when the one began that it is in
        self._mpi, self._comm = mpi, comm
        self._rank, self._size = comm.Get_rank(), comm.Get_size()
        self._told = 0  # the last conversation of which the others were told
        self._heard: dict[int, int] = {}
        self._sent: list[Any] = []  # messages on their way, which must stay in memory
        self._may_send = mpi.Query_thread() == mpi.THREAD_MULTIPLE
        self.start()

    def __enter__(self) -> None:
        self.entered += 1
        self.since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.since = None

    def run(self) -> None:
        """Look at the clock until the process ends."""
        while True:
            time.sleep(min(TICK, self.seconds / 4))
            since, number = self.since, self.entered
            if since is None or number != self.entered:
                continue
            waited = time.monotonic() - since
            if waited > self.seconds / 2 and self._may_send and self._told != number:
                self._tell(number)
            if waited > self.seconds and self.entered == number and self.since is not None:
                self._end(number)

    def _tell(self, number: int) -> None:
        """Tell the other processes that this one waits in this conversation."""
        self._told = number
        message = np.array([number], np.int64)
        others = [rank for rank in range(self._size) if rank != self._rank]
        self._sent += [(message, self._comm.Isend(message, rank)) for rank in others]

    def _listen(self, number: int) -> list[int]:
        """Return the ranks that wait in this conversation."""
        message, status = np.zeros(1, np.int64), self._mpi.Status()
        while self._comm.Iprobe(status=status):
            self._comm.Recv(message, status.Get_source())
            self._heard[status.Get_source()] = int(message[0])
        return sorted([self._rank, *(rank for rank, heard in self._heard.items() if heard == number)])

    def _end(self, number: int) -> None:
        """Say who is missing, and end all processes."""
        waiting = self._listen(number) if self._may_send else [self._rank]
        missing = [str(rank) for rank in range(self._size) if rank not in waiting]
        if waiting[0] != self._rank and missing:
            time.sleep(LAST_WORD)
        who = f"rank {', '.join(missing)} has not come" if self._may_send else "another rank has not come"
        if not missing:
            who = "every rank waits, but not in the same call, as after an error in one of them alone"
        print(
            f"rank {self._rank} of {self._size} has waited {self.seconds:g} seconds for the others, and ends all: "
            f"{who}. It waits in {place()}. All ranks must run the same steps; if one needs longer, set "
            "ranks.stall_seconds",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(DELIVERY if missing else LAST_WORD)  # if none is missing, the others say where they wait
        if self._may_send:
            self._mpi.COMM_WORLD.Abort(1)
        os._exit(1)  # the death of a process ends the others, too


def place() -> str:
    """Return the line of the user's program that the main thread runs."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    calls = traceback.extract_stack(frame)
    own = [call for call in calls if not call.filename.startswith(PACKAGE)] or calls
    return f"line {own[-1].lineno} of {own[-1].filename}"
