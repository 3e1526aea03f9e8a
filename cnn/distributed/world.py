"""The start: find the other processes, or say why they cannot be seen, and end all of them when one fails."""

import atexit
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from cnn.core.interrupts import Interrupted
from cnn.distributed.ranks import Ranks
from cnn.distributed.watchdog import Watchdog
from cnn.kernels import get_num_threads, set_num_threads

# What programs that start the processes of MPI tell each of them: how many there are, and which number it has.
# SLURM_STEP_NUM_TASKS is set by srun only, SLURM_NTASKS also in a job script that starts a single process.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
NUMBERS = ("PMI_RANK", "PMIX_RANK")


@functools.cache  # it is a conversation of all processes, which a second call on one of them alone would wait for
def world() -> Ranks:
    """Return the processes that ``mpiexec -n N python program.py`` has started; a single one without mpiexec.

    Call it once at the start of the program, in all of them. From then on, an exception that ends one process ends all.
    So does a wait for a process whose program has ended, and a wait of more than `Ranks.stall_seconds`. Processes that
    share the cores of a machine share them out: each uses its part of the threads that it would use alone, which
    `cnn.set_num_threads` changes.

    Returns
    -------
    Ranks

    Raises
    ------
    ImportError
        If mpi4py or an MPI library is missing.
    RuntimeError
        If several processes were started that do not see each other.

    Examples
    --------
    >>> import cnn
    >>> ranks = cnn.distributed.world()
    >>> ranks.rank, ranks.size  # of a program that was started without mpiexec
    (0, 1)
    """
    mpi = load_mpi()
    comm = mpi.COMM_WORLD
    check_size(comm.Get_size(), os.environ)
    if comm.Get_size() == 1:
        return Ranks(mpi, comm, None)
    end_all_after_an_error(Ranks(mpi, comm, None))
    machine = Ranks(mpi, comm.Split_type(mpi.COMM_TYPE_SHARED), None)
    set_num_threads(max(1, get_num_threads() // sharing(machine)))
    watchdog = Watchdog(mpi, comm.Dup())
    atexit.register(watchdog.end)
    return Ranks(mpi, comm.Dup(), watchdog)


def load_mpi() -> Any:
    """Import mpi4py, or raise an error that says what to install."""
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # `check_size` says it more clearly
            from mpi4py import MPI
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "mpi4py":
            raise ImportError(
                'training on several processes needs mpi4py, which is not installed: pip install "cnn[mpi]" where '
                'there is an MPI, such as on a cluster, or pip install "cnn[mpich]" where there is none'
            ) from None
        raise no_library(error) from None
    except RuntimeError as error:  # its way of saying that there is no library
        raise no_library(error) from None
    return MPI


def no_library(error: Exception) -> ImportError:
    """Return the error for an mpi4py that finds no MPI library."""
    return ImportError(
        f"mpi4py is installed, but it finds no MPI library ({str(error).strip().splitlines()[0]}): on a cluster load "
        'its module, such as module load mpich; elsewhere pip install "cnn[mpich]"'
    )


def check_size(size: int, environment: Mapping[str, str]) -> None:
    """Raise an error if this process sees no other, but was started as one of several.

    The processes of a program of another MPI than that of mpi4py would each train on their own, N times the same.

    Examples
    --------
    >>> check_size(4, {"OMPI_COMM_WORLD_SIZE": "4"})
    >>> try:
    ...     check_size(1, {"OMPI_COMM_WORLD_SIZE": "4"})
    ... except RuntimeError as error:
    ...     print(str(error)[:61])
    this process was started as one of 4 (OMPI_COMM_WORLD_SIZE=4)
    """
    name = sign_of_others(environment)
    if size > 1 or name is None:
        return
    count = environment[name] if name in SIZES else "several"
    raise RuntimeError(
        f"this process was started as one of {count} ({name}={environment[name]}), but its MPI library sees only "
        "itself: mpiexec is of another MPI than the library that mpi4py has loaded. Use the mpiexec of that library "
        "(python -m mpi4py --mpi-lib-version names it), or with srun its plugin, such as srun --mpi=pmi2"
    )


def sign_of_others(environment: Mapping[str, str]) -> str | None:
    """Return the variable that says that this process was started as one of several; None if none does.

    Examples
    --------
    >>> sign_of_others({"PMI_SIZE": "2", "PMI_RANK": "0"})
    'PMI_SIZE'
    >>> sign_of_others({"PMI_SIZE": "1"})
    """
    for name in (*SIZES, *NUMBERS):
        value = environment.get(name, "")
        if value.isdecimal() and int(value) >= (2 if name in SIZES else 1):
            return name
    return None


def sharing(machine: Ranks) -> int:
    """Return how many processes of this machine may use cores of this one; Slurm gives each its own."""
    cores = list(range(os.cpu_count() or 1))
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        cores = sorted(os.sched_getaffinity(0))
    return sum(not set(cores).isdisjoint(other) for other in machine.gather_json(cores))


def end_all_after_an_error(ranks: Ranks) -> None:
    """Let an exception that ends this process name its rank and end the others, which would wait for it for ever."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        interrupted = issubclass(kind, KeyboardInterrupt)
        what = "was interrupted" if interrupted else "failed"
        print(f"rank {ranks.rank} of {ranks.size} {what}, and ends all:", file=sys.stderr)
        if before is sys.__excepthook__:
            traceback.print_exception(kind, error, where)
        else:
            before(kind, error, where)
        ranks.end_all(error.status if isinstance(error, Interrupted) else 130 if interrupted else 1)

    sys.excepthook = hook
