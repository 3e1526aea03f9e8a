"""`mpiexec -n N cnn train`: process 0 runs the command as ever, and the others train with it.

Process 0 alone reads, prints and writes. The others wait until it sends them the training (`shared_training`), take
part in that, and end with it.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from cnn.cli import shared_training
from cnn.cli.terminal import print_stderr
from cnn.core.interrupts import Interrupted, Interrupts
from cnn.distributed.ranks import Ranks
from cnn.distributed.world import sign_of_others, world
from cnn.module import Array

OWN_NUMBERS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")  # which process this is


class Others:
    """The other processes, as process 0 sees them.

    Parameters
    ----------
    ranks : Ranks
        All processes.
    talks : Ranks
        The same, for what is said before and after the training: a wait may take as long as it needs.

    Attributes
    ----------
    ranks : Ranks
    """

    def __init__(self, ranks: Ranks, talks: Ranks) -> None:
        self.ranks, self._talks = ranks, talks
        self._train = self._have_trained = False

    @contextlib.contextmanager
    def training(self, values: dict[str, Any], arrays: dict[str, Array]) -> Iterator[None]:
        """Let them train what `shared_training.message` describes, as this process does in the `with` block."""
        self._train = True
        self._talks.meet()
        self._talks.broadcast_json(values | {"stall_seconds": self.ranks.stall_seconds})
        self._talks.broadcast_arrays(arrays)
        try:
            yield
        except Interrupted as stop:
            self._have_trained = stop.is_agreed
            if not stop.is_agreed:
                self.ranks.will_end_all()
            raise
        except Exception:
            self.ranks.will_end_all()  # unless the others have the same error: then it is an end like any other
            self._have_trained = self.ranks.all_have_left()
            raise
        self._have_trained = True

    def end(self, status: int) -> None:
        """End them: this process is done, and ``status`` is its exit status."""
        if not self._train:
            self._talks.meet()
            self._talks.broadcast_json(None)
        elif self._have_trained:
            self._talks.meet()
        else:
            self.ranks.end_all(status)  # wherever they are


def are_several() -> bool:
    """Return whether this process was started as one of several, such as by mpiexec."""
    return sign_of_others(os.environ) is not None


def run(main: Callable[[Others], int]) -> int:
    """Run the command in process 0, and take part in its training in the others: -> the exit status

    Parameters
    ----------
    main : callable
        Runs the command line.
    """
    try:
        ranks = world()
    except (ImportError, RuntimeError) as error:
        if all(os.environ.get(name, "0") == "0" for name in OWN_NUMBERS):
            print_stderr(f"error: {error}")
        return 1
    talks = ranks.without_limit()
    if ranks.rank:
        return take_part(ranks, talks)
    others = Others(ranks, talks)
    status = main(others)
    try:
        others.end(status)
    except KeyboardInterrupt:  # one more Ctrl-C: everything is saved
        ranks.end_all(status)
    return status


def take_part(ranks: Ranks, talks: Ranks) -> int:
    """Wait for the training that process 0 sends, train with it, and wait for its end: -> the exit status

    A signal to stop counts at the end of a step; outside the training process 0 decides.
    """
    with contextlib.suppress(KeyboardInterrupt), Interrupts() as interrupts, interrupts.delayed():
        talks.meet()
        values = talks.broadcast_json()
        if values is not None:
            arrays = talks.broadcast_arrays()
            with warnings.catch_warnings(action="ignore"):  # process 0 shows its own
                _train(ranks, values, arrays)
            talks.meet()
    return 0


def _train(ranks: Ranks, values: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Train with process 0. An error in this process alone ends all; one in all of them is process 0's to print."""
    try:
        prepared = shared_training.prepare(values, arrays)
        ranks.stall_seconds = values["stall_seconds"]
        shared_training.train(ranks, *prepared)
    except KeyboardInterrupt:
        pass  # process 0 is interrupted, too: it saves, and ends all
    except Exception as error:
        if not ranks.all_have_left():
            print_stderr(f"error in rank {ranks.rank} of {ranks.size}: {type(error).__name__}: {error}")
            ranks.end_all(1)


def refuse(command: str) -> None:
    """Raise an error for a command other than train.

    Raises
    ------
    ValueError
        It says what to do.
    """
    raise ValueError(
        f"{command} runs in one process, but {sign_of_others(os.environ)} says that this is one of several: start it "
        "without mpiexec, which is for cnn train"
    )
