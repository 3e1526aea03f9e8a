"""The watchdog: MPI waits for ever for a process that does not come, so a thread listens, and looks at the clock."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn.distributed.ranks import DELIVERY

TICK = 0.05  # seconds between two looks at the clock and the messages
LAST_WORD = 3.0  # seconds that a process leaves to another one that has more to say
PACKAGE = str(Path(__file__).parents[1])

# What a message says of its sender: it waits, has left a training, has ended its program, ends all when it has saved
WAITS, LEFT, ENDS, SAVES = range(4)


class Watchdog(threading.Thread):
    """A thread that ends all processes when this one waits for another that does not come.

    MPI cannot say who is missing, so the processes send each other messages, for which nobody waits: that one has left
    a training, that it ends all as soon as it has saved what it can, that its program ends, and, when half of the time
    to wait is over, that it waits. If all wait until the time is over, it is in different calls, and each says where.

    Without an MPI that several threads may use at once, no message is read during a wait. It ends when the time is
    over.

    Parameters
    ----------
    mpi : module
        mpi4py.MPI.
    comm : mpi4py.MPI.Comm
        For the messages of the watchdogs alone.

    Attributes
    ----------
    seconds : float
        How long a wait may take.
    where : callable
        Returns where this process waits: by default the line of the program.
    stay : str
        What a program must do that has left a training in some processes alone.
    come : str
        What to do about a process that does not come.
    """

    def __init__(self, mpi: Any, comm: Any) -> None:
        super().__init__(name="cnn watchdog", daemon=True)
        self.seconds = 600.0
        self.where: Callable[[], str] = place
        self.stay = "Leave it in all ranks, such as by if ranks.agree(enough): break"
        self.come = "All ranks must run the same steps; if one needs longer, set ranks.stall_seconds"
        # How many conversations this process has entered, and when the one began that it is in: one tuple, because two
        # threads use it
        self.at: tuple[int, float | None] = (0, None)
        self._mpi, self._comm = mpi, comm
        self._rank, self._size = comm.Get_rank(), comm.Get_size()
        self._others = [rank for rank in range(self._size) if rank != self._rank]
        self._left = 0  # how many trainings this process has left
        self._met = 0  # how many of them all others have left, too
        self._ends = False  # whether the program ends
        self._told = 0  # the last conversation of which the others know that this process waits in it
        # What the others have said: {rank: (its conversation, how many trainings it had left)}, for each kind
        self._heard: list[dict[int, tuple[int, int]]] = [{}, {}, {}, {}]
        self._sent: list[Any] = []  # messages on their way, which must stay in memory
        self._threads = mpi.Query_thread() == mpi.THREAD_MULTIPLE
        self.start()

    def __enter__(self) -> None:
        self.at = (self.at[0] + 1, time.monotonic())
        while self._met < self._left:  # until the others have left it, too, they are in conversations of their own
            self._pause()
            self._met = self._trainings_left()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.at = (self.at[0], None)
        if isinstance(error, self._mpi.Exception):
            raise RuntimeError(
                f"rank {self._rank} of {self._size} is in another call than the others: what has come is not what it "
                f"waits for, {self.where()} ({str(error).partition(',')[0]}). All must make the same calls"
            ) from error

    def leave(self) -> None:
        """Tell the others that this process has left a training."""
        self._left += 1
        self._tell(LEFT)

    def will_end_all(self) -> None:
        """Tell the others that this process will end them when it has saved what it can."""
        self._tell(SAVES)

    def all_have_left(self, seconds: float) -> bool:
        """Return whether the others leave the training that this process has left, too, within so many seconds."""
        if self._met == self._left:  # it has left none
            return False
        end = time.monotonic() + seconds
        while (all_left := self._trainings_left() >= self._left) is False and time.monotonic() < end:
            self._pause()
        return all_left

    def end(self) -> None:
        """Tell the others that the program ends here, and wait until it does so everywhere."""
        self._tell(ENDS)
        self._ends = True
        while not self._is_over():
            self._pause()
        self.join()  # MPI must not be used any more
        self._mpi.Request.Waitall([request for _, request in self._sent])

    def run(self) -> None:
        """Look at the messages and the clock until the programs of all end."""
        while not self._is_over():
            time.sleep(min(TICK, self.seconds / 4))
            if self._threads:
                self._listen()
            number, since = at = self.at
            if since is not None:
                self._look(at, number, time.monotonic() - since)

    def _trainings_left(self) -> int:
        """Return how many trainings all others have left."""
        return min(self._heard[LEFT].get(rank, (0, 0))[1] for rank in self._others)

    def _is_over(self) -> bool:
        return self._ends and len(self._heard[ENDS]) == len(self._others)

    def _pause(self) -> None:
        """Let some time go by, in which messages are read."""
        time.sleep(0.01)
        if not self._threads:
            self._listen()

    def _tell(self, kind: int) -> None:
        message = np.array([kind, self.at[0], self._left], np.int64)
        self._sent += [(message, self._comm.Isend(message, rank)) for rank in self._others]

    def _listen(self) -> None:
        message, status = np.zeros(3, np.int64), self._mpi.Status()
        while self._comm.Iprobe(status=status):
            self._comm.Recv(message, status.Get_source())
            kind, number, left = message.tolist()
            self._heard[kind][status.Get_source()] = number, left

    def _look(self, at: tuple[int, float | None], number: int, waited: float) -> None:
        """End all processes if another will not come to this conversation, or has not come for too long."""
        left = self._who_has_left(number)
        ended = [rank for rank, (last, _) in list(self._heard[ENDS].items()) if last < number]
        if left:
            time.sleep(LAST_WORD)  # if an error made it leave, that ends all, or says that it will
            if self._threads:
                self._listen()
            if self._who_has_left(number) == left:
                self._end(at, f"rank {left[0]} has left the training loop. {self.stay}", left)
        elif ended:
            self._end(at, f"rank {ended[0]} has ended its program", ended)
        elif waited > self.seconds:
            self._end_stall(number)
        elif waited > self.seconds / 2 and self._threads and self._told != number:
            self._told = number
            self._tell(WAITS)

    def _who_has_left(self, number: int) -> list[int]:
        """Return who has left a training and comes to no later conversation, without those that will end all."""
        heard = list(self._heard[LEFT].items())  # a copy: the main thread may listen, too
        gone = [rank for rank, (last, count) in heard if last < number and count > self._left]
        return [rank for rank in gone if rank not in self._heard[SAVES]]

    def _end(self, at: tuple[int, float | None], problem: str, gone: list[int]) -> None:
        """Say which process will not come, and end all."""
        if self._rank != min(rank for rank in range(self._size) if rank not in gone):
            time.sleep(LAST_WORD)  # one of them says it for all, unless it is busy
        if self.at == at:
            self._abort(f"ends all: it waits {self.where()}, but {problem}", DELIVERY)

    def _end_stall(self, number: int) -> None:
        """Say who is missing, and end all processes."""
        waiting = sorted([self._rank, *(rank for rank, (last, _) in self._heard[WAITS].items() if last == number)])
        missing = [str(rank) for rank in range(self._size) if rank not in waiting]
        if waiting[0] != self._rank and missing:
            time.sleep(LAST_WORD)
        who = f"rank {', '.join(missing)} has not come" if self._threads else "another rank has not come"
        if not missing:
            who = "every rank waits, but not in the same call"
        self._abort(
            f"has waited {self.seconds:g} seconds for the others, and ends all: {who}. It waits "
            f"{self.where()}. {self.come}",
            DELIVERY if missing else LAST_WORD,  # if none is missing, the others say where they wait
        )

    def _abort(self, message: str, farewell: float) -> None:
        print(f"rank {self._rank} of {self._size} {message}", file=sys.stderr, flush=True)
        time.sleep(farewell)
        if self._threads:
            self._mpi.COMM_WORLD.Abort(1)
        os._exit(1)  # the death of a process ends the others, too


def place() -> str:
    """Say which line of the user's program the main thread runs."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    calls = traceback.extract_stack(frame)
    own = [call for call in calls if not call.filename.startswith(PACKAGE)] or calls
    return f"in line {own[-1].lineno} of {own[-1].filename}"
