"""`cnn train`: its output, the run folder, and the data and settings."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import cnn
import cnn.core.files
from cnn import training
from cnn.cli import datasets
from cnn.cli.datasets import load, split
from cnn.cli.train_settings import settings_for
from cnn.sequential import Sequential
from tests.cli.example_files import config, history

PNG = b"\x89PNG\r\n"


def test_a_run_folder_and_its_use(run, data, tmp_path):
    code, out, err = run("train", "fashion-mnist", "--epochs", "3", "--lr", "3e-3", "--batch-size", "16")
    assert code == 0
    folder = Path("runs", "fashion-mnist-1")
    names = ["checkpoints", "config.json", "confusion.png", "curves.png", "history.jsonl", "mistakes.png"]
    names += ["model.safetensors", "times.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert all((folder / name).read_bytes().startswith(PNG) for name in names if name.endswith(".png"))
    # before the training, on stderr
    assert "Training on Fashion-MNIST" in err
    assert "192 images of 1 x 28 x 28, 10 classes; a test, " in err
    assert "48 more for validation, 60 more for the final test" in err
    assert "small-cnn, 421,642 parameters" in err
    assert "3 epochs, batch size 16, Adam, lr 0.003 decreasing to 0, seed 0" in err
    assert str(folder) in err
    # results, on stdout
    lines = out.splitlines()
    assert [line[:9] for line in lines[:3]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "val accuracy" in lines[0]
    assert lines[3].startswith("test loss ")
    assert lines[4].startswith("test accuracy ")
    assert lines[5].startswith(f"saved in {folder}: config.json, history.jsonl, model.safetensors, curves.png")
    # on disk
    assert [row["epoch"] for row in history(folder)] == [1, 2, 3]
    assert set(history(folder)[0]) == {"epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"}
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
        "small-cnn trained on fashion-mnist: 3 epochs, batch size 16, lr 0.003, seed 0, finished, test accuracy"
        in " ".join(out.split())
    )


def test_a_spiral_has_a_boundary(run):
    code, out, _ = run("train", "spiral", "--epochs", "45", "--out", Path("a", "b"))
    assert code == 0
    assert Path("a", "b", "boundary.png").read_bytes().startswith(PNG)
    assert not Path("a", "b", "mistakes.png").exists()
    shown = [line.split()[1] for line in out.splitlines() if line.startswith("epoch")]
    assert shown == [f"{e}/45" for e in range(1, 46)]  # a pipe shows each epoch
    assert len(history(Path("a", "b"))) == 45
    assert "(300 points" not in out
    assert "cnn summary" in run("train", "spiral", "--epochs", "1")[2]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_default_settings_reach_95_percent_on_the_spiral(run, no_plots, seed):
    assert run("train", "spiral", "--seed", seed, "--quiet") == (0, "", "")
    assert history(Path("runs", "spiral-1"))[-1]["val_accuracy"] >= 0.95
    assert config(Path("runs", "spiral-1"))["test_accuracy"] >= 0.95


def test_mlp_takes_images_too(run, data, no_plots):
    code, _, err = run("train", "mnist", "--model", "mlp", "--epochs", "1", "--seed", "3")
    assert code == 0
    assert "mlp, 235,146 parameters" in err
    assert "seed 3" in err


def test_json(run, no_plots):
    code, out, err = run("train", "spiral", "--epochs", "2", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["run"] == str(Path("runs", "spiral-1"))
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert result["status"] == "finished"
    assert 0 <= result["test_accuracy"] <= 1
    assert "Training on" in err


def test_quiet(run, no_plots):
    assert run("train", "spiral", "--epochs", "2", "--quiet") == (0, "", "")
    code, out, err = run("train", "spiral", "--epochs", "2", "--quiet", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["run"] == str(Path("runs", "spiral-2"))


def test_folders_are_numbered(run, no_plots):
    Path("runs", "spiral-2").mkdir(parents=True)
    for _ in range(2):
        run("train", "spiral", "--epochs", "1")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["spiral-1", "spiral-2", "spiral-3"]
    assert not list(Path("runs", "spiral-2").iterdir())


def test_one_epoch_is_singular(run, no_plots):
    assert "settings  1 epoch, batch size 32" in run("train", "spiral", "--epochs", "1")[2]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_an_out_that_exists(run, make):
    make(Path("mine"))
    code, out, err = run("train", "spiral", "--out", "mine")
    assert (code, out) == (1, "")
    assert err == "error: mine exists already: give another --out, or omit --out for a new folder in runs\n"


def test_an_out_that_appears_meanwhile(run, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda *_, **__: (Path("mine").mkdir(), load("spiral", 0))[1])
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
    assert "runs, the folder of the runs, is a file: move it, or give --out FOLDER" in err


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_cannot_be_created(run, monkeypatch, there):
    def mkdir(self, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    where = Path("runs", "spiral-1") if there else Path("runs")
    if there:
        Path("runs").mkdir()
        real = Path.mkdir
        monkeypatch.setattr(
            Path, "mkdir", lambda self, *a, **k: real(self, *a, **k) if self == Path("runs") else mkdir(self)
        )
    else:
        monkeypatch.setattr(Path, "mkdir", mkdir)
    assert run("train", "spiral") == (1, "", f"error: {where}: Read-only file system; give --out FOLDER\n")


def test_quiet_reaches_the_download(run, monkeypatch):
    asked = []

    def locate(info, quiet=False):
        asked.append(quiet)
        raise cnn.data.DataError("no")

    monkeypatch.setattr(cnn.data, "load_dataset", locate)
    run("train", "mnist", "--quiet")
    run("train", "mnist")
    assert asked == [True, False]


def test_missing_data_create_no_folder(run, monkeypatch):
    def locate(info, quiet=False):
        raise cnn.data.DataError(f"{info.title} is not on this machine and could not be downloaded.")

    monkeypatch.setattr(cnn.data, "load_dataset", locate)
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


def test_the_learning_rate_decreases_to_zero(run, no_plots, monkeypatch):
    rates = []
    real = training.train

    def train(model, *arguments, **chosen):
        rates.append(model.optimizer.lr)
        for step in real(model, *arguments, **chosen):
            yield step
            rates.append(model.optimizer.lr)

    monkeypatch.setattr(training, "train", train)
    run("train", "spiral", "--epochs", "2", "--lr", "0.1")
    assert rates == pytest.approx(np.linspace(0.1, 0, 2 * 23 + 1))


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


def test_default_settings_depend_on_the_data():
    assert settings_for("fashion-mnist", epochs=None, seed=None) == settings_for("mnist")
    assert settings_for("spiral", epochs=7).epochs == 7
    assert settings_for("spiral").model == "mlp"


@pytest.mark.data
def test_the_real_data_are_split_in_three():
    task = load("fashion-mnist", 0)
    assert (len(task.train[0]), len(task.validation[0]), len(task.test[0])) == (55_000, 5_000, 10_000)
    assert np.bincount(task.validation[1]).tolist() == [500] * 10
