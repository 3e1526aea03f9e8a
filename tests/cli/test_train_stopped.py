"""`cnn train`: what is saved when something stops it, and resuming."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cnn
import cnn.core.files
from cnn import training
from cnn.cli import run_folders, train_run
from cnn.sequential import Sequential
from tests.cli.example_files import config, history
from tests.cli.test_folder import shades

# Ctrl-C


def stop_after(monkeypatch, count, error):
    real = training.train

    def train(*arguments, **chosen):
        for i, step in enumerate(real(*arguments, **chosen)):
            if i == count:
                raise error
            yield step

    monkeypatch.setattr(training, "train", train)


def test_ctrl_c_saves_the_run_so_far(run, monkeypatch):
    stop_after(monkeypatch, 30, KeyboardInterrupt())  # an epoch has 23 steps
    code, out, err = run("train", "spiral")
    folder = Path("runs", "spiral-1")
    assert code == 130
    assert out.count("epoch") == 1
    assert "interrupted after step 7 of 23 in epoch 2 of 100\n" in err
    assert f"the run so far is saved in {folder}: config.json, history.jsonl (1 epoch), model.safetensors\n" in err
    assert "Traceback" not in err
    assert len(history(folder)) == 1
    assert {"status": "interrupted", "stopped_at_epoch": 2, "stopped_at_step": 7}.items() <= config(folder).items()
    assert run("evaluate", folder)[0] == 0


def test_ctrl_c_before_the_first_step(run, monkeypatch):
    stop_after(monkeypatch, 0, KeyboardInterrupt())
    code, out, err = run("train", "spiral", "--json")
    assert code == 130
    assert "interrupted before the first step\n" in err
    assert "config.json, model.safetensors\n" in err
    assert json.loads(out)["status"] == "interrupted"


def test_ctrl_c_while_drawing(run, monkeypatch):
    def draw(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_run.TrainingRun, "_draw", draw)
        code, _, err = run("train", "spiral", "--epochs", "1")
    folder = Path("runs", "spiral-1")
    assert code == 130
    assert "interrupted while the plots were drawn\n" in err
    assert "the model was trained and evaluated; it is saved in" in err
    assert f"cnn train --resume {folder}\n" in err
    before = config(folder)
    assert before["status"] == "finished"
    kept = [(folder / name).read_bytes() for name in ("model.safetensors", "history.jsonl")]
    code, _, err = run("train", "--resume", folder)
    assert code == 0
    assert {"curves.png", "confusion.png", "boundary.png"} <= {path.name for path in folder.iterdir()}
    assert [(folder / name).read_bytes() for name in ("model.safetensors", "history.jsonl")] == kept
    assert config(folder) == before
    code, _, err = run("train", "--resume", folder)
    assert (code, err) == (0, f"{folder} is finished: give --epochs N with more than 1 to train it further\n")


def test_a_folder_interrupted_while_drawing_keeps_its_best_epoch(run, monkeypatch):
    shades("photos", 12)
    settings = ("--epochs", "4", "--image-size", "16", "--augment", "light", "--keep-best", "loss")
    with monkeypatch.context() as patch:
        patch.setattr(train_run.TrainingRun, "_draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run("train", "photos", *settings, "--out", "run")[0] == 130
    kept, before = (
        [Path("run", name).read_bytes() for name in ("model.safetensors", "history.jsonl")],
        config(Path("run")),
    )
    assert run("train", "--resume", "run")[0] == 0
    assert [Path("run", name).read_bytes() for name in ("model.safetensors", "history.jsonl")] == kept
    assert config(Path("run")) == before
    assert {"curves.png", "confusion.png", "mistakes.png", "predictions.csv", "samples.png"} <= {
        path.name for path in Path("run").iterdir()
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_trials_says_that_nothing_is_saved(run, monkeypatch, number):
    shades("photos")
    monkeypatch.setattr("cnn.cli.trials.choose", lambda *_, **__: signal.raise_signal(number))
    code, _, err = run("train", "photos", "--out", "k1")
    assert (code, Path("k1").exists()) == (128 + number, False)
    assert err.splitlines()[-1] == "interrupted; nothing is saved yet: run the same command again"
    assert "nothing is saved yet, so run the same command again" in run("train", "--resume", "k1")[2]


# Losses that are nan or infinite, and full disks


@pytest.mark.filterwarnings("ignore::cnn.training.TrainingWarning")
def test_a_loss_that_diverges(run, no_plots):
    code, _, err = run("train", "spiral", "--lr", "1e20", "--epochs", "50")
    folder = Path("runs", "spiral-1")
    assert code == 1
    assert "error: the loss became" in err
    assert "Try a smaller learning rate" in err
    assert f"the run so far is saved in {folder}: " in err
    assert config(folder)["status"] == "diverged"
    model = Sequential.load(folder / "model.safetensors")
    assert all(np.isfinite(parameter.data).all() for parameter in model.parameters())


def full_disk(monkeypatch, name, times=1):
    """Let a file of this name be written ``times`` times; after that the disk is full, for all files."""
    real_open, real_fsync = Path.open, os.fsync
    opened, full = [], []

    def open_(path, mode="r", *arguments, **settings):
        if mode == "wb" and f".{name}." in path.name:
            opened.append(path)
            full.extend([True] * (len(opened) > times))
        return real_open(path, mode, *arguments, **settings)

    def fsync(descriptor):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real_fsync(descriptor)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(os, "fsync", fsync)


def test_a_disk_that_is_full_at_the_second_epoch(run, monkeypatch):
    models = []
    real = run_folders.append_epoch
    monkeypatch.setattr(
        run_folders,
        "append_epoch",
        lambda folder, *row: (real(folder, *row), models.append((folder / "model.safetensors").read_bytes())),
    )
    full_disk(monkeypatch, "model.safetensors")
    code, out, err = run("train", "spiral", "--epochs", "3")
    folder = Path("runs", "spiral-1")
    assert code == 1
    assert out.count("epoch") == 1
    assert err.splitlines()[-2:] == [
        f"everything that could be saved is in {folder}",
        f"error: {folder / 'model.safetensors'}: could not write (an existing file is left unchanged): "
        "No space left on device",
    ]
    assert "Traceback" not in err
    assert (folder / "model.safetensors").read_bytes() == models[0]
    names = ["checkpoints", "config.json", "history.jsonl", "model.safetensors", "times.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names
    here = Path.cwd()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert run("train", "--resume", folder)[0] == 0  # there is space again
    assert config(folder)["status"] == "finished"


def test_a_history_that_cannot_be_written(run, monkeypatch):
    def append(folder, *row):
        raise OSError(errno.ENOSPC, "could not append: No space left on device", "history.jsonl")

    monkeypatch.setattr(run_folders, "append_epoch", append)
    code, _, err = run("train", "spiral")
    assert code == 1
    assert err.endswith("error: history.jsonl: could not append: No space left on device\n")
    assert config(Path("runs", "spiral-1"))["status"] == "failed"
    assert run("evaluate", Path("runs", "spiral-1"))[0] == 0


def test_a_disk_that_is_full_while_drawing(run, data, monkeypatch):
    full_disk(monkeypatch, "confusion.png", times=0)
    code, out, err = run("train", "mnist", "--epochs", "1")
    folder = Path("runs", "mnist-1")
    assert code == 1
    assert out.splitlines()[-1] == f"saved in {folder}: config.json, history.jsonl, model.safetensors, curves.png"
    assert err.splitlines()[-1] == (
        "error: the model was trained, evaluated and saved; only plots or predictions are missing: "
        f"{folder / 'confusion.png'}: could not write (an existing file is left unchanged): No space left on device"
    )
    assert config(folder)["status"] == "finished"
    assert "stopped_at_epoch" not in config(folder)
    assert run("evaluate", folder)[0] == 0


def test_results_that_cannot_be_written_after_the_test(run, no_plots, monkeypatch):
    def print_stdout(text=""):
        if text.startswith("saved in"):
            raise OSError(errno.ENOSPC, "could not write the results: No space left on device")

    monkeypatch.setattr(train_run, "print_stdout", print_stdout)
    code, _, err = run("train", "spiral", "--epochs", "1")
    assert code == 1
    assert "the model was trained and evaluated; it is saved in" in err
    assert config(Path("runs", "spiral-1"))["status"] == "finished"


@pytest.mark.parametrize("error", [MemoryError(), ValueError("odd"), KeyError("odd")])
def test_any_error_leaves_a_status(run, monkeypatch, error):
    stop_after(monkeypatch, 30, error)
    code, _, err = run("train", "spiral")
    assert code == 1
    assert "everything that could be saved is in" in err
    assert config(Path("runs", "spiral-1"))["status"] == "failed"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_do_not_cost_the_model():
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "train", "spiral", "--epochs", "1"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("error: could not write the results: No space left on device\n")
    assert run_is_complete(Path("runs", "spiral-1"))


def run_is_complete(folder):
    return len(history(folder)) == 1 and Sequential.load(folder / "model.safetensors") is not None


# Resuming


def kill_at(process, folder, line):
    """Start a training and kill it once history.jsonl has this number of lines."""
    child = process.start("train", "spiral", "--epochs", 40, "--out", folder, "--quiet")
    path = Path(folder, "history.jsonl")
    deadline = time.monotonic() + 60
    while not (path.exists() and len(path.read_text().splitlines()) >= line):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait(60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_to_the_same_result(process):
    assert process("train", "spiral", "--epochs", 40, "--out", "whole", "--quiet").returncode == 0
    kill_at(process, "killed", 12)
    assert json.loads(Path("killed", "config.json").read_text())["status"] == "running"
    done = process("train", "--resume", "killed")
    assert done.returncode == 0
    assert "resuming at step" in done.stderr
    for name in ("model.safetensors", "history.jsonl"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    assert len(Path("killed", "times.jsonl").read_text().splitlines()) == 40
    settled = json.loads(Path("killed", "config.json").read_text())
    whole = json.loads(Path("whole", "config.json").read_text())
    assert settled["status"] == "finished"
    assert settled["test_accuracy"] == whole["test_accuracy"]


def test_resume_refuses_other_settings(run):
    run("train", "spiral", "--epochs", "2", "--out", "a", "--quiet")
    for more, message in (
        (("spiral",), "--resume takes the data from the run; if they have moved, write --data spiral"),
        (("--lr", "0.1"), "only --epochs, --fine-tune, --data and --from may change, not --lr"),
        (("--out", "b"), "only --epochs, --fine-tune, --data and --from may change, not --out"),
    ):
        code, _, err = run("train", *more, "--resume", "a")
        assert code == 2
        assert message in err
    assert "there is no run folder none to resume" in run("train", "--resume", "none")[2]
    Path("empty").mkdir()
    assert "is not a run folder" in run("train", "--resume", "empty")[2]
    code, _, err = run("train", "--resume", "a")
    assert (code, err) == (0, "a is finished: give --epochs N with more than 2 to train it further\n")
    code, _, err = run("train", "--resume", "a", "--epochs", "1")
    assert code == 2
    assert "a has 2 epochs: --epochs must be at least as many" in err
    assert run("train", "--resume", "a", "--epochs", "3", "--quiet")[0] == 0
    assert [row["epoch"] for row in history(Path("a"))] == [1, 2, 3]


def files_in(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_a_run_that_cannot_be_resumed_is_unchanged(run, no_plots):
    """Neither the weights nor the texts of a finished run are lost."""
    shades("images")
    small = ("--epochs", "2", "--image-size", "16", "--quiet")
    assert run("train", "images", *small, "--out", "a")[0] == 0
    before = files_in("a")
    next(Path("images", "dark").iterdir()).unlink()
    code, _, err = run("train", "--resume", "a", "--epochs", "3")
    assert code == 1
    assert "are not those that a was trained on: 1 missing (" in err
    assert "saved" not in err
    assert files_in("a") == before
    for checkpoint in Path("a", "checkpoints").glob("step-*"):
        checkpoint.unlink()
    assert "a has no checkpoint to resume from: train again" in run("train", "--resume", "a", "--epochs", "3")[2]
    assert files_in("a") == before
    assert "a is a run folder: did you mean --resume a?" in run("train", "a")[2]


SLOW_START = """
import sys, time
from cnn import training
from cnn.cli.main import main

def train(*arguments, **chosen):
    print("ready", flush=True)
    time.sleep(600)

training.train = train
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_killed_before_its_first_checkpoint_starts_anew(process):
    settings = ("train", "spiral", "--epochs", "3", "--seed", "7", "--lr", "0.02")
    assert process(*settings, "--out", "whole", "--quiet").returncode == 0
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-c", SLOW_START, *settings, "--out", "killed"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout.readline() == b"ready\n"
        child.kill()
    assert [path.name for path in Path("killed").iterdir()] == ["config.json"]
    done = process("train", "--resume", "killed")
    assert done.returncode == 0, done.stderr
    assert "killed was stopped before its first checkpoint: it starts anew\n" in done.stderr
    assert "resuming at step" not in done.stderr
    for name in ("model.safetensors", "history.jsonl"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    assert config(Path("killed")) == config(Path("whole"))


def test_a_run_interrupted_before_its_first_step_starts_anew(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 0, KeyboardInterrupt())
        assert run("train", "spiral", "--epochs", "2", "--out", "a")[0] == 130
    for checkpoint in Path("a", "checkpoints").glob("step-*"):
        checkpoint.unlink()
    before = files_in("a")
    with monkeypatch.context() as patch:  # once more, before anything has been written
        patch.setattr(training, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = run("train", "--resume", "a")
        assert (code, "a is unchanged" in err) == (130, True)
    assert files_in("a") == before
    code, _, err = run("train", "--resume", "a", "--epochs", "3")
    assert code == 0
    assert "a was stopped before its first checkpoint: it starts anew\n" in err
    assert [row["epoch"] for row in history(Path("a"))] == [1, 2, 3]


def test_a_run_with_epochs_but_no_checkpoint_is_not_started_anew(run, no_plots):
    run("train", "spiral", "--epochs", "2", "--out", "a", "--quiet")
    settled = config(Path("a")) | {"status": "running"}  # killed, and the checkpoints were deleted
    Path("a", "config.json").write_text(json.dumps(settled), encoding="utf-8")
    for checkpoint in Path("a", "checkpoints").glob("step-*"):
        checkpoint.unlink()
    before = files_in("a")
    assert "a has no checkpoint to resume from: train again" in run("train", "--resume", "a")[2]
    assert files_in("a") == before


def test_a_run_that_another_process_has_just_started_is_not_started_anew(process):
    """It has no checkpoint yet, but holds the lock."""
    from cnn.core.files import locked

    assert process("train", "spiral", "--epochs", "1", "--out", "a", "--quiet").returncode == 0
    for path in [*Path("a", "checkpoints").glob("step-*"), Path("a", "history.jsonl")]:
        path.unlink()
    Path("a", "config.json").write_text(json.dumps(config(Path("a")) | {"status": "running"}), encoding="utf-8")
    before = files_in("a")
    with locked(Path("a", "checkpoints")):
        done = process("train", "--resume", "a")
    assert done.returncode == 1
    assert "another training is writing into" in done.stderr
    assert files_in("a") == before


def test_two_trainings_of_one_run(process):
    first = process.start("train", "spiral", "--epochs", 4000, "--out", "a", "--quiet")
    deadline = time.monotonic() + 60
    while not Path("a", "model.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = process("train", "--resume", "a")
    assert done.returncode == 1
    assert "another training is writing into" in done.stderr
    assert json.loads(Path("a", "config.json").read_text())["status"] == "running"
    first.kill()
    first.wait(60)


def test_a_run_that_was_interrupted_loses_no_step(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 30, KeyboardInterrupt())
        assert run("train", "spiral", "--epochs", "3", "--out", "a")[0] == 130
    code, _, err = run("train", "--resume", "a")
    assert code == 0
    assert "resuming at step 9 of 23 in epoch 2 of 3" in err  # one more than the interrupted command reported
