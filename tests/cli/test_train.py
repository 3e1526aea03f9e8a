"""`cnn train`: what it tells, what it leaves, and what is left when something stops it."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnn
import cnn.files
from cnn import training
from cnn.commands import runs
from cnn.commands import train as train_command
from cnn.commands.interrupts import Interrupts
from cnn.commands.tasks import load, settings, split
from cnn.sequential import Sequential


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def config(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


PNG = b"\x89PNG\r\n"


def test_a_run_folder_and_its_use(run, data, tmp_path):
    code, out, err = run("train", "fashion-mnist", "--epochs", "3", "--lr", "3e-3", "--batch-size", "16")
    assert code == 0
    folder = Path("runs", "fashion-mnist-1")
    names = ["config.json", "confusion.png", "curves.png", "history.jsonl", "mistakes.png", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert all((folder / name).read_bytes().startswith(PNG) for name in names if name.endswith(".png"))
    # before the training, on stderr
    assert "Training on Fashion-MNIST" in err
    assert "192 images of 1 x 28 x 28, 10 classes; a test, " in err
    assert "48 more for validation, 60 more for the test at the end" in err
    assert "small-cnn, 421,642 parameters" in err
    assert "3 epochs, batches of 16, Adam, lr 0.003 falling to 0, seed 0" in err
    assert str(folder) in err
    # results, on stdout
    lines = out.splitlines()
    assert [line[:9] for line in lines[:3]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "val accuracy" in lines[0]
    assert lines[3].startswith("test loss ")
    assert lines[4].startswith(f"saved in {folder}: config.json, history.jsonl, model.safetensors, curves.png")
    # on disk
    assert [row["epoch"] for row in history(folder)] == [1, 2, 3]
    assert set(history(folder)[0]) == {"epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"}
    settled = config(folder)
    assert settled["status"] == "finished"
    assert settled["test_accuracy"] > 0.9
    assert {
        "data": "fashion-mnist",
        "model": "small-cnn",
        "epochs": 3,
        "batch_size": 16,
        "lr": 0.003,
        "seed": 0,
    }.items() <= (settled.items())
    model = Sequential.load(folder / "model.safetensors")
    assert model.class_names[9] == "Ankle boot"
    assert model.input_shape == (1, 28, 28)
    inputs = model.preprocess(load("fashion-mnist", 0).train[0])
    assert (inputs.mean(), inputs.std()) == pytest.approx((0, 1), abs=0.02)

    code, out, err = run("evaluate", folder, "--json")
    assert (code, err) == (0, "")
    again = json.loads(out)
    assert (again["loss"], again["accuracy"]) == (settled["test_loss"], settled["test_accuracy"])
    code, out, _ = run("summary", folder)
    assert (
        "small-cnn trained on fashion-mnist: 3 epochs, batches of 16, lr 0.003, seed 0, finished, test accuracy" in out
    )


def test_a_spiral_has_a_boundary(run):
    code, out, _ = run("train", "spiral", "--epochs", "45", "--out", Path("a", "b"))
    assert code == 0
    assert Path("a", "b", "boundary.png").read_bytes().startswith(PNG)
    assert not Path("a", "b", "mistakes.png").exists()
    shown = [line.split()[1] for line in out.splitlines() if line.startswith("epoch")]
    assert shown == ["1/45", *(f"{e}/45" for e in range(3, 46, 3))]
    assert len(history(Path("a", "b"))) == 45
    assert "(300 points" not in out
    assert "cnn summary" in run("train", "spiral", "--epochs", "1")[2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_spirals_defaults_are_good(run, undrawn, seed):
    assert run("train", "spiral", "--seed", seed, "--quiet") == (0, "", "")
    assert history(Path("runs", "spiral-1"))[-1]["val_accuracy"] >= 0.95
    assert config(Path("runs", "spiral-1"))["test_accuracy"] >= 0.95


def test_mlp_reads_pictures_too(run, data, undrawn):
    code, _, err = run("train", "mnist", "--model", "mlp", "--epochs", "1", "--seed", "3")
    assert code == 0
    assert "mlp, 235,146 parameters" in err
    assert "seed 3" in err


def test_json(run, undrawn):
    code, out, err = run("train", "spiral", "--epochs", "2", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["run"] == str(Path("runs", "spiral-1"))
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert result["status"] == "finished"
    assert 0 <= result["test_accuracy"] <= 1
    assert "Training on" in err


def test_quiet(run, undrawn):
    assert run("train", "spiral", "--epochs", "2", "--quiet") == (0, "", "")
    code, out, err = run("train", "spiral", "--epochs", "2", "--quiet", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["run"] == str(Path("runs", "spiral-2"))


def test_folders_are_numbered(run, undrawn):
    Path("runs", "spiral-2").mkdir(parents=True)
    for _ in range(2):
        run("train", "spiral", "--epochs", "1")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["spiral-1", "spiral-2", "spiral-3"]
    assert not list(Path("runs", "spiral-2").iterdir())


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_an_out_that_exists(run, make):
    make(Path("mine"))
    code, out, err = run("train", "spiral", "--out", "mine")
    assert (code, out) == (1, "")
    assert err == "error: mine exists already: give another --out, or leave --out away for a new folder in runs\n"


def test_an_out_that_appears_meanwhile(run, monkeypatch):
    monkeypatch.setattr(train_command.tasks, "load", lambda *_: (Path("mine").mkdir(), load("spiral", 0))[1])
    code, _, err = run("train", "spiral", "--out", "mine")
    assert code == 1
    assert "mine exists already" in err
    assert not list(Path("mine").iterdir())


def test_an_out_inside_a_file(run):
    Path("file").touch()
    code, _, err = run("train", "spiral", "--out", Path("file", "x"))
    assert code == 1
    assert "Not a directory" in err or "exists" in err


def test_a_file_named_runs(run):
    Path("runs").touch()
    code, _, err = run("train", "spiral")
    assert code == 1
    assert "runs, where the run folder goes, is a file: move it, or give --out" in err


def test_missing_data_leave_no_folder(run, monkeypatch):
    def locate(info):
        raise cnn.data.DataError(f"{info.title} is not on this machine and could not be downloaded.")

    monkeypatch.setattr(cnn.data, "locate", locate)
    assert run("train", "fashion-mnist") == (
        1,
        "",
        "error: Fashion-MNIST is not on this machine and could not be downloaded.\n",
    )
    assert not Path("runs").exists()


def test_two_processes_write_the_same_model(process):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = process("train", "spiral", "--epochs", 2, "--seed", seed, "--out", name, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    first, second, other = (Path(name, "model.safetensors").read_bytes() for name in "abc")
    assert first == second
    assert first != other


def test_the_learning_rate_falls_to_zero(run, undrawn, monkeypatch):
    rates = []
    real = training.train

    def train(model, *arguments, **chosen):
        for step in real(model, *arguments, **chosen):
            rates.append(model.optimizer.lr)
            yield step

    monkeypatch.setattr(training, "train", train)
    run("train", "spiral", "--epochs", "2", "--lr", "0.1")
    assert rates == pytest.approx(np.linspace(0.1, 0, 2 * 23 + 1)[:-1])


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

    monkeypatch.setattr(train_command.Run, "_draw", draw)
    code, _, err = run("train", "spiral", "--epochs", "1")
    assert code == 130
    assert "the model was trained and tested; it is saved in" in err
    assert config(Path("runs", "spiral-1"))["status"] == "finished"


def test_ctrl_c_waits_for_the_end_of_the_step():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):  # a second one does not wait
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_a_real_ctrl_c(tmp_path):
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "train", "spiral", "--epochs", "100000"]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline().startswith("epoch")
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the run so far is saved in" in err
    assert "Traceback" not in err
    folder = Path("runs", "spiral-1")
    assert len(history(folder)) >= 1
    assert Sequential.load(folder / "model.safetensors").class_names == ["arm 0", "arm 1", "arm 2"]


# Losses that are no numbers, and full disks


def test_a_loss_that_diverges(run, undrawn):
    code, _, err = run("train", "spiral", "--lr", "1e20", "--epochs", "50")
    folder = Path("runs", "spiral-1")
    assert code == 1
    assert "error: the loss became" in err
    assert "Try a smaller learning rate" in err
    assert f"the run so far is saved in {folder}: " in err
    assert config(folder)["status"] == "diverged"
    model = Sequential.load(folder / "model.safetensors")
    assert all(np.isfinite(parameter.data).all() for parameter in model.parameters())


def full_disk(monkeypatch, after):
    """Let ``after`` files be written, then none."""
    real, written = os.fsync, []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_disk_that_is_full_at_the_second_epoch(run, monkeypatch):
    seen = []
    real = runs.append_epoch
    monkeypatch.setattr(
        runs,
        "append_epoch",
        lambda folder, row: (real(folder, row), seen.append((folder / "model.safetensors").read_bytes())),
    )
    full_disk(monkeypatch, after=2)  # config.json, and the model of the first epoch
    code, out, err = run("train", "spiral", "--epochs", "3")
    folder = Path("runs", "spiral-1")
    assert code == 1
    assert out.count("epoch") == 1
    assert err.splitlines()[-2:] == [
        f"what could be saved is in {folder}",
        f"error: {folder / 'model.safetensors'}: could not write (what was there is unchanged): "
        "No space left on device",
    ]
    assert "Traceback" not in err
    assert (folder / "model.safetensors").read_bytes() == seen[0]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "history.jsonl", "model.safetensors"]


def test_a_history_that_cannot_be_written(run, monkeypatch):
    def append(folder, row):
        raise OSError(errno.ENOSPC, "could not append: No space left on device", "history.jsonl")

    monkeypatch.setattr(runs, "append_epoch", append)
    code, _, err = run("train", "spiral")
    assert code == 1
    assert err.endswith("error: history.jsonl: could not append: No space left on device\n")
    assert config(Path("runs", "spiral-1"))["status"] == "failed"
    assert run("evaluate", Path("runs", "spiral-1"))[0] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_do_not_cost_the_model():
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-m", "cnn", "train", "spiral", "--epochs", "1"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("error: could not write the results: No space left on device\n")
    assert run_is_whole(Path("runs", "spiral-1"))


def run_is_whole(folder):
    return len(history(folder)) == 1 and Sequential.load(folder / "model.safetensors") is not None


# The parts


def test_the_validation_set_has_the_same_share_of_each_class():
    y = np.repeat(np.arange(4), [30, 50, 10, 10])
    rng = np.random.default_rng(0)
    (x_rest, y_rest), (x_held, y_held) = split(np.arange(100), np.random.default_rng(1).permutation(y), 20, rng)
    assert np.bincount(y_held).tolist() == [6, 10, 2, 2]
    assert len(y_rest) == 80
    assert sorted([*x_rest, *x_held]) == list(range(100))


def test_the_seed_decides_what_is_held_out(data):
    same, again, other = load("mnist", 0), load("mnist", 0), load("mnist", 1)
    assert np.array_equal(same.validation[0], again.validation[0])
    assert not np.array_equal(same.validation[0], other.validation[0])
    assert np.array_equal(same.test[0], other.test[0])
    assert (same.train[0].dtype, len(same.train[0]), len(same.validation[0])) == (np.uint8, 192, 48)


def test_settings_fit_the_data():
    assert settings("fashion-mnist", epochs=None, seed=None) == settings("mnist")
    assert settings("spiral", epochs=7).epochs == 7
    assert settings("spiral").model == "mlp"


@pytest.mark.data
def test_the_real_data_are_split_in_three():
    task = load("fashion-mnist", 0)
    assert (len(task.train[0]), len(task.validation[0]), len(task.test[0])) == (55_000, 5_000, 10_000)
    assert np.bincount(task.validation[1]).tolist() == [500] * 10
