"""Ranks: what the processes tell each other, and how they end when one of them fails, stops or is killed."""

import os
import signal
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn.errors import InputError
from tests.distributed.launch import BEGIN, check_none_left, finish, pids, run, start

HERE = Path(__file__).parent


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_rank_has_the_same_sums_arrays_and_texts(size):
    status, out, err = run(HERE / "conversations.py", size)
    assert status == 0, err
    assert all(f"rank {rank} has come to the end" in out for rank in range(size))


def test_one_process_needs_no_mpiexec():
    ranks = cnn.distributed.world()
    assert (ranks.rank, ranks.size) == (0, 1)
    assert repr(ranks) == "Ranks(rank=0, size=1)"
    x, y = np.zeros((3, 2)), [1, 2, 3]
    assert ranks.shard([x, y])[1] == y
    pair = namedtuple("Pair", "x y")(x, y)
    assert ranks.shard(pair)._fields == pair._fields
    with pytest.raises(InputError, match=r"as many targets as samples, got \[3, 2\]"):
        ranks.shard((x, y[:2]))


def test_gradients_are_those_of_parameters():
    ranks, model = cnn.distributed.world(), cnn.Sequential([cnn.layers.Linear(2, 1)])
    with pytest.raises(TypeError, match=r"pass model\.parameters\(\)"):
        ranks.add_up(model)


@pytest.mark.parametrize("seconds", [0, -1, "60", True, float("inf")])
def test_the_time_to_wait_must_be_a_number_of_seconds(seconds):
    with pytest.raises(InputError, match="stall_seconds must be a finite number above 0"):
        cnn.distributed.world().stall_seconds = seconds


FAILS = """
ranks.add([1])
if ranks.rank == 1:
    raise ValueError("a fault of this rank")
ranks.add([1])
"""


def test_an_exception_on_one_rank_names_it_and_ends_all():
    status, out, err = run(BEGIN + FAILS, 3)
    assert status == 1
    assert "rank 1 of 3 failed, and ends all:" in err
    assert "ValueError: a fault of this rank" in err
    check_none_left(out, 3)


ENDS = """
what = sys.argv[1]
ranks.add([1])
if ranks.rank == 1:
    if what == "sys.exit":
        sys.exit("no more memory")
    try:
        raise ValueError("an error that is caught")
    except ValueError as error:
        sys.exit(f"{type(error).__name__}: {error}")
time.sleep(0.5)  # it has ended before the others wait
ranks.add([1])
"""


@pytest.mark.parametrize(("what", "says"), [("sys.exit", "no more memory"), ("caught", "ValueError: an error that")])
def test_the_end_of_the_program_on_one_rank_alone_ends_all(what, says):
    """The others need not wait for stall_seconds, which are 600 here."""
    status, out, err = run(BEGIN + ENDS, 3, what)
    assert status != 0
    assert says in err
    line = (BEGIN + ENDS).rstrip().count("\n") + 1
    assert f"rank 0 of 3 ends all: it waits in line {line} of <string>, but rank 1 has ended its program" in err
    check_none_left(out, 3)


SLOW = """
ranks.add([1])
if ranks.rank == 1:
    sys.exit()
time.sleep(1)
sys.stdout.write("has come to the end\\n")
"""


@pytest.mark.parametrize("level", ["multiple", "serialized"])
def test_a_rank_may_end_before_the_others(level):
    status, out, err = run(f"import mpi4py; mpi4py.rc.thread_level = {level!r}" + BEGIN + SLOW, 3)
    assert status == 0, err
    assert out.count("has come to the end") == 2
    check_none_left(out, 3)


GOES_FIRST = """
if ranks.rank == 2:
    time.sleep(5)  # longer than rank 3 leaves others the last word
ranks.broadcast_json("a text")
sys.stdout.write("has come to the end\\n")
"""


def test_a_rank_that_has_sent_what_others_wait_for_may_end():
    """Rank 0 ends while rank 3 waits for what rank 2 passes on: it is not waited for."""
    status, out, err = run(BEGIN + GOES_FIRST, 4)
    assert status == 0, err
    assert out.count("has come to the end") == 4


HANGS = """
ranks.stall_seconds = 1.5
ranks.add([1])
if ranks.rank == 1:
    time.sleep(600)
time.sleep(0.2 * ranks.rank)
ranks.add([1])
"""


@pytest.mark.parametrize("level", ["multiple", "serialized"])
def test_a_rank_that_hangs_is_named_and_all_end(level):
    """MPI that cannot be used by several threads at once ends the processes, too, but cannot say who is missing."""
    status, out, err = run(f"import mpi4py; mpi4py.rc.thread_level = {level!r}" + BEGIN + HANGS, 3)
    assert status != 0
    assert "has waited 1.5 seconds for the others, and ends all:" in err
    if level == "multiple":
        assert "rank 0 of 3 has waited" in err
        assert "rank 1 has not come" in err
    check_none_left(out, 3)


OTHER_CALL = """
ranks.stall_seconds = 1.5
if ranks.rank == 1:
    ranks.broadcast_json()
ranks.agree(False)
"""


def test_ranks_that_wait_in_different_calls_say_where():
    status, out, err = run(BEGIN + OTHER_CALL, 3)
    assert status != 0
    assert "every rank waits, but not in the same call" in err
    line = BEGIN.count("\n") + 3
    assert f"It waits in line {line + 1} of <string>" in err
    check_none_left(out, 3)


def test_ranks_whose_messages_do_not_fit_are_told_so():
    """Three, because MPICH itself ends the processes if there are two."""
    status, out, err = run(BEGIN + "ranks.add([1] if ranks.rank else [1, 2, 3])", 3)
    assert status == 1
    line = BEGIN.count("\n") + 1
    assert "is in another call than the others: what has come is not what it waits for, in line" in err
    assert f"in line {line} of <string>" in err
    check_none_left(out, 3)


def test_a_rank_that_is_killed_ends_all():
    process = start(BEGIN + "while True: ranks.add([1])", 2)
    lines = [process.stdout.readline() for _ in range(2)]
    time.sleep(0.3)
    os.kill(pids(lines[1])[0], signal.SIGKILL)
    status, _, _ = finish(process, 60)
    assert status != 0
    check_none_left("".join(lines), 2)
