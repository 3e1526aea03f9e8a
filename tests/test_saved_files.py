"""Files that an earlier version saved can still be read: see tests/fixtures/make.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from cnn import Sequential
from cnn.optim import Adam
from tests.fixtures import make

FIXTURES = Path(__file__).parent / "fixtures"


def test_a_model_file_gives_the_same_probabilities():
    model = Sequential.load(FIXTURES / "model.safetensors")
    saved = np.load(FIXTURES / "model.npz")
    np.testing.assert_allclose(model.predict_proba(saved["x"]), saved["probabilities"], rtol=1e-4, atol=1e-6)
    assert model.class_names == ["a", "b", "c"]
    assert model.preprocessing == {"scale": 1 / 255, "mean": 0.5, "std": 0.25}
    assert model.input_shape == (1, 8, 8)
    assert repr(model).count("=") > 20


def test_a_loaded_model_can_be_trained():
    model = Sequential.load(FIXTURES / "model.safetensors")
    model.optimizer = Adam(lr=1e-2)
    x, y = make.data()
    model.fit(x, y, epochs=5, batch_size=8, verbose_freq=0, rng=0)
    assert model.history.train_loss[-1] < model.history.train_loss[0]


def test_a_training_continues_from_its_checkpoints(tmp_path):
    folder = shutil.copytree(FIXTURES / "checkpoints", tmp_path / "checkpoints")
    x, y = make.data()
    model = make.net()
    model.fit(x, y, validation_data=(x, y), epochs=4, batch_size=8, rng=0, verbose_freq=0, resume=folder)
    expected = np.load(FIXTURES / "resumed.npz")
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(getattr(model.history, name), expected[name], rtol=1e-4)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


def run_cnn(folder, *arguments):
    """Run the command `cnn`; return the JSON that it prints, or the text."""
    done = subprocess.run(
        [sys.executable, "-m", "cnn", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_a_run_of_points_can_be_used_and_resumed(tmp_path):
    shutil.copytree(FIXTURES / "spiral-run", tmp_path / "run")
    assert abs(run_cnn(tmp_path, "evaluate", "run", "--json")["accuracy"] - 187 / 300) < 0.02
    assert "mlp trained on spiral: 3 epochs" in run_cnn(tmp_path, "summary", "run")
    run_cnn(tmp_path, "train", "--resume", "run", "--epochs", "5", "--quiet")
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    before = (FIXTURES / "spiral-run" / "history.jsonl").read_text().splitlines()
    assert lines[:3] == before
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert json.loads(lines[4])["train_loss"] < json.loads(lines[2])["train_loss"]


def test_a_run_of_a_folder_can_be_used(tmp_path):
    shutil.copytree(FIXTURES / "photos-run", tmp_path / "run")
    shutil.copytree(FIXTURES / "photos", tmp_path / "photos")
    image = run_cnn(tmp_path, "predict", "run", "photos/dark/1.png", "--json")
    assert image["classes"][0]["name"] == "dark"
    assert run_cnn(tmp_path, "evaluate", "run", "--data", "photos", "--json")["accuracy"] == 1
