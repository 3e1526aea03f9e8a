"""What the frozen layers give for images and for their changed versions."""

from pathlib import Path

import numpy as np
from PIL import Image

from cnn.cli import features
from cnn.cli.augmentation import transforms
from cnn.cli.features import number_of_versions
from cnn.data.sample_rng import SampleRNG
from cnn.layers import (
    Conv2d,
    Flatten,
    ReLU,
)
from cnn.sequential import Sequential
from tests.cli.example_files import config
from tests.cli.pretrained.small import FEW


def test_versions_are_the_changes_of_epochs():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    net = Sequential([Conv2d(3, 4, 3), ReLU(), Flatten()])
    changes, told = transforms("light+flip", (16, 16)), []
    found = features.of_pixels(net, pixels, lambda x: x / np.float32(255), changes, 3, seed=7, tell=told.append)
    assert found.shape == (40, 3, 4 * 14 * 14)
    assert told == [32, 64, 96, 104, 112, 120]
    for version in range(3):
        x, y, rows = pixels, np.zeros(40, int), np.arange(40)
        for index, change in enumerate(changes if version else ()):
            x, y = change(x, y, SampleRNG(7, version, rows, index))
        np.testing.assert_allclose(found[:, version], net(x / np.float32(255)), rtol=1e-5, atol=1e-6)


def test_a_terminal_shows_how_many_images_are_done(run, no_plots, monkeypatch, photos):
    monkeypatch.setattr("cnn.training.progress.is_terminal", lambda stream: True)
    monkeypatch.setattr("cnn.cli.terminal.TERMINAL_INTERVAL", 0)
    err = run("train", photos, *FEW, "--out", "run")[2]
    assert "\r52 of 52 images\r" in err.replace(" " * 15, "")  # 12 training images, 4 versions; 4 for validation
    assert run("train", photos, *FEW, "--quiet", "--out", "quiet")[2] == ""


def test_many_images_have_fewer_versions(run, no_plots, monkeypatch, photos):
    assert number_of_versions(500, 1280, 4) == 4
    assert number_of_versions(10**6, 10**6, 4) == 1
    monkeypatch.setattr(features, "MAX_BYTES", 12 * 24 * 4 * 2)  # of 12 training images: memory for two versions
    code, _, err = run("train", photos, *FEW, "--out", "run")
    assert code == 0, err
    assert config(Path("run"))["versions_per_image"] == 2
    assert "warning: only 2 of 4 versions of each training image fit in memory" in err


def test_many_features_are_announced(run, no_plots, monkeypatch, photos):
    monkeypatch.setattr(features, "MAX_BYTES", 1000)
    assert "warning: this takes 0.0 GiB of memory" in run("train", photos, *FEW, "--out", "run")[2]


def test_images_that_stay_as_they_are_have_one_version(run, no_plots, photos):
    assert run("train", photos, "--pretrained", "--epochs", 4, "--quiet", "--out", "run")[0] == 0
    assert config(Path("run"))["versions_per_image"] == 1
    assert run("train", "--resume", "run", "--epochs", 5)[0] == 0


def test_proportions_are_kept(run, no_plots):
    """A wide image has a margin, of the colour of its border, above and below it."""
    for name, shade in (("dark", 30), ("light", 220)):
        Path("wide", name).mkdir(parents=True)
        for i in range(5):
            image = Image.new("RGB", (90, 30), (shade, 9, 9))
            image.paste((shade, 200, i), (30, 0, 60, 30))
            image.save(Path("wide", name, f"{i}.png"))
    assert run("train", "wide", *FEW, "--quiet", "--out", "run")[0] == 0
    net = Sequential.load("run/model.safetensors")
    green = net.read_image(Path("wide", "dark", "0.png"))[1]
    assert net.preprocessing["fit"] == "padded"
    assert np.ptp(green[:5]) == np.ptp(green[11:]) == 0  # the margin: 16 x 5.3 pixels are the image
    assert green[8].max() > 150
