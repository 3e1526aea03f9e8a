"""fit and train on several ranks: they end as one process does, and stop, fail and write files together."""

import signal
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn.training.checkpoint_file import read_state
from tests.distributed.cases import CASES, SINGLE, X, Y, mlp, resumable
from tests.distributed.launch import BEGIN, check_none_left, finish, run, start, status_after

HERE = Path(__file__).parent
FEW = [
    "norms, small batches",
    "mixup",
    "sample weights",
    "ignored",
    "early stopping",
    "small batches",
    "dropout of maps",
]
SIZES = {2: [*CASES, *SINGLE], 3: [*CASES], 4: FEW}  # more ranks than cores wait long for each other


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
    """Return how the cases end with so many ranks, all in one program for each number."""
    found = {}

    def of(size):
        if size not in found:
            path = tmp_path_factory.mktemp("cases") / "endings.npz"
            status, _, err = run(HERE / "cases.py", size, path, *SIZES[size], seconds=300)
            found[size] = {} if status else dict(np.load(path)), err
        endings, err = found[size]
        assert endings, err
        return endings

    return of


@pytest.fixture(scope="module")
def alone():
    """Return how a case ends in this process; None stands for no ranks."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = (CASES | SINGLE)[name](None)
        return found[name]

    return of


@pytest.mark.parametrize(("size", "name"), [(size, name) for size, names in SIZES.items() for name in names])
def test_several_ranks_end_as_one_process_does(endings, alone, size, name):
    tolerance = 1e-4 if name in SINGLE else 1e-10
    for key, values in alone(name).items():
        found = endings(size)[f"{name}/{key}"]
        assert found.shape == values.shape, key
        np.testing.assert_allclose(found, values, rtol=0, atol=tolerance, err_msg=key)


def test_a_single_rank_has_the_bits_of_no_ranks():
    ranks = cnn.distributed.world()
    for name in ("adam", "norms", "dropout"):
        for key, values in CASES[name](None).items():
            np.testing.assert_array_equal(CASES[name](ranks)[key], values)


@pytest.mark.parametrize("ranks", [2, "world", cnn.distributed])
def test_ranks_must_be_those_of_world(ranks):
    with pytest.raises(TypeError, match=r"ranks must be what cnn\.distributed\.world\(\) returns"):
        mlp().fit(X, Y, ranks=ranks, verbose_freq=0)


def test_what_holds_in_each_rank(tmp_path):
    status, out, err = run(HERE / "behaviour.py", 2, tmp_path)
    assert status == 0, err
    assert all(f"rank {rank} has come to the end" in out for rank in (0, 1))
    ends = [
        line for line in out.splitlines() if "train loss" in line
    ]  # Open MPI also shows progress: it makes a terminal
    assert [line[:9] for line in ends] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("size", [2, 3])
def test_each_rank_reads_its_part_of_the_data(tmp_path, size):
    status, out, err = run(HERE / "reading.py", size, tmp_path)
    assert status == 0, err
    assert out.count("has come to the end") == size


STOPS = """
from cnn.training import train
from tests.distributed.cases import X, Y, mlp
stop = [lambda step: step.step == 3 and ranks.rank == 1]
taken = [step.step for step in train(mlp(), X, Y, batch_size=8, ranks=ranks, callbacks=stop)]
sys.stdout.write(f"steps {taken}\\n")
"""


def test_every_stop_is_agreed_on():
    """Clocks differ: what ends the training in one rank ends it in all, after the same step."""
    status, out, err = run(BEGIN + STOPS, 3)
    assert status == 0, f"a callback of rank 1 has returned True after step 3, and the others have not stopped:\n{err}"
    assert out.count("steps [1, 2, 3]\n") == 3


RESUMED = """
import numpy as np
from tests.distributed.cases import resumable
folder, kill_at = sys.argv[1], int(sys.argv[2])

def die(step):
    if ranks.rank == 1 and (step.epoch - 1) * step.steps + step.step == kill_at:
        os.kill(os.getpid(), 9)

found = resumable(ranks, folder, die)
if ranks.rank == 0:
    np.savez(folder + ".npz", **found)
"""


def test_a_training_that_is_killed_resumes_on_another_number_of_ranks(tmp_path):
    folder = tmp_path / "run"
    status, out, _ = run(BEGIN + RESUMED, 2, folder, 8)
    assert status != 0
    check_none_left(out, 2)
    assert sorted(folder.glob("step-*"))[-1].name == "step-00000006.safetensors"
    status, _, err = run(BEGIN + RESUMED, 3, folder, 0)
    assert status == 0, err
    found = dict(np.load(tmp_path / "run.npz"))
    for key, values in resumable(None, tmp_path / "unbroken", lambda step: None).items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-10, err_msg=key)


FAILS = """
from tests.distributed.cases import X, Y, mlp, trained
from cnn.layers import BatchNorm1d
from cnn.training import Checkpoint, train
what = sys.argv[1]

def fault(step):
    if ranks.rank == 1 and step.step == 2:
        if what == "raises":
            raise OSError("the disk is full")
        if what == "hangs":
            time.sleep(600)
        if what == "saves before it ends all":
            ranks.will_end_all()
            time.sleep(6)  # the others do not wait as long for one that has said nothing
            raise OSError("all that could be saved is saved")

ranks.stall_seconds = 2 if what == "hangs" else 600  # longer than this test takes
settings = {"batch_size": 8, "drop_last": True, "epochs": 2, "ranks": ranks, "sync_batchnorm": False}
for step in train(mlp(middle=(BatchNorm1d(7),)), X, Y, callbacks=[fault], **settings):
    if what == "leaves" and ranks.rank == 1:
        break
    if what == "fails before the others agree":
        if ranks.rank == 1:
            raise ValueError("in the loop")
        ranks.agree(False)
    if what == "exits":
        if ranks.rank == 1:
            sys.exit("no more memory")
        ranks.agree(False)
    if what == "leaves before the others agree":
        if ranks.rank == 1:
            break
        ranks.agree(False)
    if what == "leaves at the end" and step.progress == 1 and ranks.rank == 0:
        break
if what.startswith("leaves"):
    ranks.agree(True)  # waits until the others have left, too
"""


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("raises", "rank 1 of 3 failed, and ends all:"),
        ("hangs", "rank 0 of 3 has waited 2 seconds for the others, and ends all: rank 1 has not come"),
        ("saves before it ends all", "OSError: all that could be saved is saved"),
        ("fails before the others agree", "rank 1 of 3 failed, and ends all:"),
        ("fails before the others agree", "ValueError: in the loop"),
        ("exits", "rank 1 has left the training loop"),
        ("leaves", "of <string>, but rank 1 has left the training loop. Leave it in all ranks"),
        ("leaves before the others agree", "rank 1 has left the training loop"),
        ("leaves at the end", "rank 0 has left the training loop"),
    ],
)
def test_a_rank_that_fails_ends_all(what, says):
    status, out, err = run(BEGIN + FAILS, 3, what)
    assert status != 0
    assert says in err
    check_none_left(out, 3)


FIRST_FAILS = """
from tests.distributed.cases import X, Y, mlp
from cnn.training import Checkpoint, train
for step in train(mlp(), X, Y, batch_size=8, ranks=ranks, callbacks=[Checkpoint(sys.argv[1])]):
    if step.step == 2 and ranks.rank == 0:
        raise ValueError("in the loop of rank 0")
    ranks.agree(False)
"""


def test_an_error_in_the_loop_of_rank_0_is_printed_after_its_checkpoint(tmp_path):
    status, out, err = run(BEGIN + FIRST_FAILS, 2, tmp_path)
    assert status == 1
    assert "rank 0 of 2 failed, and ends all:" in err
    assert "ValueError: in the loop of rank 0" in err
    check_none_left(out, 2)
    assert sorted(path.name for path in tmp_path.glob("step-*"))[-1] == "step-00000002.safetensors"


INTERRUPTED = """
from tests.distributed.cases import X, Y, mlp, trained
from cnn.training import Checkpoint

def report(step):
    time.sleep(0.02)
    if step.step == 3 and ranks.rank == 0:
        sys.stdout.write("running\\n")

trained(mlp(), X, Y, ranks, epochs=10**6, callbacks=[Checkpoint(sys.argv[1], epochs=10**6), report])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_after_the_same_step_with_a_checkpoint(tmp_path, number):
    """Ctrl-C, and the SIGTERM that a cluster sends when the time of a job is over."""
    folder = tmp_path / "run"
    process = start(BEGIN + INTERRUPTED, 2, folder)
    lines = []
    while "running\n" not in lines:
        lines.append(process.stdout.readline())
    process.send_signal(number)
    status, out, err = finish(process, 60)
    assert status == status_after(number)
    assert "of 2 was interrupted, and ends all:" in err
    assert "cnn.core.interrupts.Interrupted" in err
    check_none_left("".join(lines) + out, 2)
    last = sorted(folder.glob("step-*"))[-1]
    assert last.name != "step-00000000.safetensors"
    assert not read_state(last)[1]["stopped"]
