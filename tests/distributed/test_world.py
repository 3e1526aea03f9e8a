"""world: what is missing or does not fit is an error that says what to do, before anything else happens."""

import os
import subprocess
import sys

import pytest

from cnn.distributed.world import check_size
from tests.distributed.launch import run

HIDDEN = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "mpi4py" or name.startswith("mpi4py."):
            {fault}

sys.meta_path.insert(0, Hide())
import cnn
cnn.distributed.world()
"""


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ('raise ModuleNotFoundError("No module named mpi4py", name="mpi4py")', 'pip install "cnn[mpich]" where there is none'),
        ('raise RuntimeError("cannot load MPI library\\nlibmpi.so.12: no such file")', "finds no MPI library (cannot load MPI library)"),
        ('raise ImportError("libmpi.so.40: cannot open shared object file")', "finds no MPI library (libmpi.so.40"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_named(fault, says):
    found = subprocess.run([sys.executable, "-c", HIDDEN.format(fault=fault)], capture_output=True, text=True)
    assert found.returncode == 1
    assert says in found.stderr.splitlines()[-1]
    assert found.stderr.splitlines()[-1].startswith("ImportError: ")


@pytest.mark.parametrize(
    "environment",
    [
        {"PMI_SIZE": "2"},
        {"OMPI_COMM_WORLD_SIZE": "4"},
        {"SLURM_STEP_NUM_TASKS": "3"},
        {"PMIX_RANK": "1"},
        {"PMI_RANK": "2"},
    ],
)
def test_processes_that_do_not_see_each_other_are_an_error(environment):
    ((name, value),) = environment.items()
    with pytest.raises(RuntimeError, match=rf"\({name}={value}\), but its MPI library sees only itself"):
        check_size(1, environment)
    check_size(2, environment)


@pytest.mark.parametrize(
    "environment", [{}, {"PMI_SIZE": "1", "PMI_RANK": "0"}, {"PMIX_RANK": "0"}, {"SLURM_NTASKS": "8"}]
)
def test_one_process_alone_is_none(environment):
    check_size(1, environment)


def test_the_environment_is_looked_at():
    """An mpiexec of another MPI sets such variables, and its processes are alone."""
    program = "import cnn; cnn.distributed.world()"
    clean = f"import os; os.environ.pop('PMI_SIZE', None); os.environ['OMPI_COMM_WORLD_SIZE'] = '2'; {program}"
    found = subprocess.run([sys.executable, "-c", clean], capture_output=True, text=True)
    assert found.returncode == 1
    assert "OMPI_COMM_WORLD_SIZE=2" in found.stderr
    assert run(program, 1)[0] == 0


THREADS = """
import os, sys
from mpi4py import MPI
os.sched_setaffinity(0, range(os.cpu_count()))  # an mpiexec may have bound the processes
cores = sorted(os.sched_getaffinity(0))
if sys.argv[1] == "bound":
    os.sched_setaffinity(0, [cores[MPI.COMM_WORLD.Get_rank() % len(cores)]])
import cnn
cnn.set_num_threads(8)
cnn.distributed.world()
sys.stdout.write(f"{cnn.get_num_threads()} threads\\n")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
@pytest.mark.parametrize("what", ["bound", "free"])
def test_processes_that_share_cores_share_the_threads(what):
    """Slurm and Open MPI give each process its own cores, and then all of them are its own."""
    each = 8 if what == "bound" and len(os.sched_getaffinity(0)) > 1 else 4
    status, out, err = run(THREADS, 2, what)
    assert status == 0, err
    assert out == f"{each} threads\n" * 2
