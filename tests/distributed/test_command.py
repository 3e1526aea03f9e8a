"""mpiexec cnn train: one training, of which process 0 alone reads, prints and writes, and every end of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from cnn.sequential import Sequential
from tests.distributed.launch import check_none_left, finish, is_open_mpi, pids, start, status_after

BEGIN = 'import os, sys\nsys.stdout.write(f"pid {os.getpid()}\\n")\nsys.stdout.flush()\n'
COMMAND = "from cnn.cli.main import entry_point\nentry_point()\n"
IN_STEP = """
from cnn.training import shared_run
real, steps = shared_run.SharedRun._train_batch, 0
def train_batch(self, *arguments):
    global steps
    steps += 1
    if steps == 30 and self.ranks.rank == {rank}:
        {what}
    return real(self, *arguments)
shared_run.SharedRun._train_batch = train_batch
"""
SLOW_TRIAL = "import time\nfrom cnn.cli import trials\ntrials.trial = lambda *_: time.sleep(60)\n"
SPIRAL = ("train", "spiral", "--epochs")


def begin(size, *arguments, before="", **environment):
    return start(BEGIN + before + COMMAND, size, *arguments, **environment)


def run(size, *arguments, before="", seconds=180, **environment):
    """Run a command to its end: -> (status, output without the lines of `BEGIN`, errors); no process is left"""
    status, out, err = finish(begin(size, *arguments, before=before, **environment), seconds)
    check_none_left(out, size)
    return status, "".join(line for line in out.splitlines(keepends=True) if not line.startswith("pid ")), err


def alone(*arguments):
    done = subprocess.run([sys.executable, "-m", "cnn", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def config(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def check_near(folder, other, within):
    """The models of two runs are those of the same training, up to rounding."""
    models = [Sequential.load(each / "model.safetensors").state_dict() for each in (folder, other)]
    for name, values in models[0].items():
        np.testing.assert_allclose(models[1][name], values, rtol=0, atol=within)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of images of three colours."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for channel, name in enumerate(["red", "green", "blue"]):
        (folder / name).mkdir()
        for number in range(20):
            pixels = rng.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_it_is_the_training_of_one_process_and_process_0_alone_prints_and_writes(tmp_path):
    status, out, err = run(2, *SPIRAL, 4, "--out", tmp_path / "two")
    alone(*SPIRAL, 4, "--out", tmp_path / "one", "--quiet")
    assert status == 0
    check_near(tmp_path / "one", tmp_path / "two", 1e-5)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    assert out.count("epoch 1/4") == out.count("test accuracy") == err.count("Training on the spiral") == 1
    one, two = config(tmp_path / "one"), config(tmp_path / "two")
    assert one.keys() == two.keys()
    assert two["test_accuracy"] == pytest.approx(one["test_accuracy"], abs=0.01)


@pytest.mark.parametrize(
    "options",
    [
        ("--augment", "light+flip", "--balance", "--keep-best", "loss"),
        pytest.param(("--augment", "auto"), marks=pytest.mark.slow),
    ],
)
def test_a_folder_of_images(tmp_path, photos, options):
    status, _, err = run(3, "train", photos, "--epochs", 2, "--out", tmp_path / "three", *options)
    assert status == 0, err
    alone("train", photos, "--epochs", 2, "--out", tmp_path / "one", "--quiet", *options)
    check_near(tmp_path / "one", tmp_path / "three", 2e-3)  # Adam enlarges the rounding of small gradients


@pytest.mark.slow
def test_a_recipe(tmp_path):
    """It has a callback of its own, the schedule; a few random images stand in for the data set."""
    few = """
import numpy as np
from cnn.cli import datasets
def load(name, seed, *_, **__):
    rng = np.random.default_rng(seed)
    parts = [(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n)) for n in (320, 32, 32)]
    return datasets.Dataset(name, name, "random", "images", list("abcdefghij"), *parts, data=name)
datasets.load = load
"""
    arguments = "train", "fashion-mnist", "--recipe", "fast", "--epochs", 4, "--batch-size", 64, "--out"
    status, _, err = run(2, *arguments, tmp_path / "two", before=few)
    assert status == 0, err
    done = subprocess.run([sys.executable, "-c", few + COMMAND, *map(str, arguments), tmp_path / "one"])
    assert done.returncode == 0
    one, two = (
        json.loads((tmp_path / name / "history.jsonl").read_text(encoding="utf-8").splitlines()[0])
        for name in ("one", "two")
    )
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)  # later its large rate enlarges the rounding


@pytest.mark.parametrize(
    "more", [(), pytest.param(("--fine-tune", 1, "--keep-best", "accuracy"), marks=pytest.mark.slow)]
)
def test_a_net_to_start_from(tmp_path, photos, more):
    """The features are computed once, by process 0."""
    alone("train", photos, "--epochs", 1, "--augment", "none", "--out", tmp_path / "start", "--quiet")
    arguments = "train", photos, "--from", tmp_path / "start", "--epochs", 3, "--augment", "light", *more, "--out"
    status, _, err = run(2, *arguments, tmp_path / "two")
    assert status == 0, err
    assert err.count("computing what the frozen layers give") == 1
    alone(*arguments, tmp_path / "one", "--quiet")
    check_near(tmp_path / "one", tmp_path / "two", 1e-4)


def test_a_run_resumes_on_another_number_of_processes(tmp_path):
    for size in (2, 3):
        arguments = (
            (*SPIRAL, 2, "--out", tmp_path / "run")
            if size == 2
            else ("train", "--resume", tmp_path / "run", "--epochs", 4)
        )
        status, _, err = run(size, *arguments)
        assert status == 0, err
    assert "resuming at" in err
    alone("train", "--resume", tmp_path / "run", "--epochs", 6, "--quiet")
    assert len((tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("train", "sprial"), 2, "did you mean 'spiral'?"),
        (("train", "--help"), 0, ""),
        (("summary", "--model", "fashion"), 2, "SIZE says that this is one of several: start it without mpiexec"),
        (("train", "spiral", "--lr", "1e30", "--epochs", "1"), 1, "error: the loss became"),
    ],
)  # fmt: skip
def test_what_process_0_says_is_said_once(tmp_path, monkeypatch, arguments, status, says):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(2, *arguments)
    assert found == status
    assert err.count(says) == 1 or not says
    assert out.count("usage") == (arguments[-1] == "--help")
    assert "Traceback" not in err
    assert "Abort(" not in err
    assert "MPI_ABORT" not in err  # what MPICH and Open MPI print when one process ends the others


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_process_is_named_and_ends_all(tmp_path, rank):
    fault = IN_STEP.format(rank=rank, what='raise MemoryError("no more")')
    began = time.monotonic()
    status, _, err = run(2, *SPIRAL, 50, "--out", tmp_path / "run", before=fault)
    assert time.monotonic() - began < 90  # not after the 600 seconds of a stall
    assert status == 1
    assert ("error in rank 1 of 2: MemoryError: no more" if rank else "error: there is not enough memory") in err
    assert "Traceback" not in err


def test_process_0_has_the_time_that_it_needs_to_save(tmp_path):
    """After an error of its own; the others would not wait as long for one that has said nothing."""
    slow = """
import time
from cnn.cli import train_run
save = train_run.save_model
def save_slowly(*arguments):
    if steps >= 30:
        time.sleep(6)
    save(*arguments)
train_run.save_model = save_slowly
"""
    fault = IN_STEP.format(rank=0, what='raise MemoryError("no more")')
    status, _, err = run(2, *SPIRAL, 50, "--out", tmp_path / "run", before=fault + slow, seconds=90)
    assert status == 1
    assert "everything that could be saved is in" in err
    assert "ends all: it waits" not in err
    assert config(tmp_path / "run")["status"] == "failed"


def test_a_process_that_hangs_is_named(tmp_path):
    fault = IN_STEP.format(rank=1, what="import time; time.sleep(60)")
    status, _, err = run(2, *SPIRAL, 50, "--out", tmp_path / "run", "--stall-seconds", 2, before=fault, seconds=90)
    assert status == 1
    assert "rank 0 of 2 has waited 2 seconds for the others, and ends all: rank 1 has not come" in err
    where = r"It waits (before the first step|after step \d+ of 23 in epoch \d of 50)\. "
    assert re.search(where + "If a step needs longer, give --stall-seconds more", err)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_all(tmp_path, rank):
    fault = IN_STEP.format(rank=rank, what="os.kill(os.getpid(), 9)")
    status, _, _ = run(2, *SPIRAL, 50, "--out", tmp_path / "run", before=fault)
    assert status == (137 if is_open_mpi() else 9)


def test_a_full_disk(tmp_path):
    fault = """
import errno
from cnn.cli import run_folders
def append_epoch(folder, *_):
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "history.jsonl"))
run_folders.append_epoch = append_epoch
"""
    status, _, err = run(2, *SPIRAL, 50, "--out", tmp_path / "run", before=fault, seconds=90)
    assert status == 1
    assert "history.jsonl: No space left on device" in err
    assert "left the training loop" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_all", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_signal_stops_all_after_the_same_step_with_a_checkpoint(tmp_path, number, to_all):
    """A signal that mpiexec passes on to all; one to one process counts for all, too."""
    process = begin(2, *SPIRAL, 5000, "--out", tmp_path / "run")
    lines, history = [], tmp_path / "run" / "history.jsonl"
    while len(pids("".join(lines))) < 2:
        lines.append(process.stdout.readline())
    while process.poll() is None and (not history.is_file() or history.read_text(encoding="utf-8").count("\n") < 2):
        time.sleep(0.05)
    found = pids("".join(lines))
    if to_all:
        process.send_signal(number)
    else:
        os.kill(found[1], number)
    began = time.monotonic()
    status, out, err = finish(process, 15)
    assert time.monotonic() - began < 10
    check_none_left("".join(lines) + out, 2)
    assert status == (status_after(number) if to_all else 128 + number)
    assert err.count("interrupted after step ") == 1
    assert "resume it with: " in err
    assert config(tmp_path / "run")["status"] == "interrupted"
    status, _, err = run(
        3,
        "train",
        "--resume",
        tmp_path / "run",
        "--epochs",
        5000,
        "--quiet",
        before=IN_STEP.format(rank=0, what="os.kill(os.getpid(), 2)"),
    )
    assert status == 130, err


def test_a_signal_before_the_training_starts(tmp_path, photos):
    process = begin(2, "train", photos, "--out", tmp_path / "run", before=SLOW_TRIAL)
    while "trying" not in (line := process.stderr.readline()) and line:
        pass
    lines = process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process, 15)
    assert status == status_after(signal.SIGINT)
    assert "nothing is saved yet" in err
    check_none_left(lines, 2)


def test_one_more_ctrl_c_after_the_run_is_saved_is_no_error(tmp_path):
    again = """
from cnn.cli import processes
end = processes.Others.end
def end_interrupted(*arguments):
    os.kill(os.getpid(), 2)
    end(*arguments)
processes.Others.end = end_interrupted
"""
    fault = IN_STEP.format(rank=0, what="os.kill(os.getpid(), 2)")
    status, _, err = run(2, *SPIRAL, 50, "--out", tmp_path / "run", before=fault + again)
    assert status == 130
    assert "resume it with: " in err
    assert "Traceback" not in err


def test_without_mpi4py_and_with_another_mpiexec_it_is_an_error():
    hidden = 'import sys\nsys.modules["mpi4py"] = None\n'
    status, _, err = run(2, *SPIRAL, 1, before=hidden)
    assert status == 1
    assert err.count("training on several processes needs mpi4py") == 1
    done = subprocess.run(
        [sys.executable, "-m", "cnn", *SPIRAL, "1"],
        env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: this process was started as one of 2 (OMPI_COMM_WORLD_SIZE=2)")
