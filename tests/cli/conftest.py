"""Small generated data, and models to use on them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnn
import cnn.data
from cnn.cli.main import main
from cnn.cli.train_run import TrainingRun
from cnn.layers import Conv2d, Flatten, Linear, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential


def example_images(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes that differ in the position of a light square on black, with noise."""
    y = np.arange(count) % 10
    x = rng.integers(0, 60, (count, 1, 28, 28), dtype=np.uint8)
    for i, k in enumerate(y):
        x[i, 0, 2 + 12 * (k // 5) : 12 + 12 * (k // 5), 5 * (k % 5) : 5 * (k % 5) + 6] = 230
    return x, y.astype(np.int64)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Run in an empty folder, without the environment variables of the user."""
    monkeypatch.chdir(tmp_path)
    for name in ("CNN_DATA", "CNN_OFFLINE", "NO_PROGRESS", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def data(monkeypatch):
    """240 training and 60 test images instead of the real ones."""
    rng = np.random.default_rng(0)
    arrays = (*example_images(240, rng), *example_images(60, rng))
    monkeypatch.setattr(
        cnn.data,
        "load_dataset",
        lambda info, quiet=False: cnn.data.LoadedDataset(info, Path("made", "up"), "a test", arrays),
    )
    return arrays


@pytest.fixture
def no_plots(monkeypatch):
    """Draw no plots: they take most of the time, and other tests check them."""
    monkeypatch.setattr(TrainingRun, "_draw", lambda self, x, y: None)


@pytest.fixture
def run(capsys):
    """A function of the arguments: runs the command and returns exit status, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def process():
    """A function of the arguments: runs the command in its own process, with additional environment variables."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
        env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])} | environment
        command = [sys.executable, "-m", "cnn", *map(str, arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8", check=False)

    def start(*arguments: object) -> subprocess.Popen:
        """Start it without waiting."""
        env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
        return subprocess.Popen([sys.executable, "-m", "cnn", *map(str, arguments)], env=env)

    call.start = start
    return call


@pytest.fixture
def brightness_model(tmp_path):
    """A model file of two classes: is the image mostly light, or mostly dark?"""
    model = Sequential([Flatten(), Linear(64, 2), Softmax()], loss_func=CrossEntropyLoss())
    weight = np.stack([np.full(64, -1 / 8), np.full(64, 1 / 8)])
    model[1].weight.data, model[1].bias.data = weight, [4, -4]
    model.input_shape, model.class_names = (1, 8, 8), ["dark", "light"]
    model.save(tmp_path / "light.safetensors")
    return tmp_path / "light.safetensors"


@pytest.fixture
def colour_model(tmp_path):
    """A model file of three classes: which colour is strongest?"""
    model = Sequential([Conv2d(3, 3, 4), Flatten(), Softmax()], loss_func=CrossEntropyLoss())
    model[0].weight.data = np.eye(3)[:, :, None, None] * np.ones((4, 4))
    model[0].bias.data = np.zeros(3)
    model.input_shape = (3, 4, 4)
    model.save(tmp_path / "colours.safetensors")
    return tmp_path / "colours.safetensors"
