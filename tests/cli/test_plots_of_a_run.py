"""The pictures in a run folder: which file each mistake is, with names that are long, odd or in other scripts."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from cnn.report import plots

NAMES = ["猫と犬", "$x_1$ long name of a class " * 2, "_قطة"]


@pytest.fixture
def folder(tmp_path):
    """Three classes that cannot be told apart, so that there are mistakes."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "images" / name
        path.mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(path / f"{name[:2]}_{i}.png")
    return tmp_path / "images"


def test_a_run_on_a_folder_draws_its_names(run, folder, monkeypatch):
    drawn = []
    original = plots.mistakes
    monkeypatch.setattr(
        plots, "mistakes", lambda *args, **settings: drawn.append(original(*args, **settings)) or drawn[0]
    )
    code, _, err = run("train", folder, "--epochs", "1", "--image-size", "16", "--out", "run")
    assert code == 0, err
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        assert imread(Path("run", name)).std() > 0.01
    captions = [text.get_text().split("\n") for text in drawn[0].texts]
    assert captions
    assert {len(lines) for lines in captions} == {3}
    files = {path.name.replace("$", r"\$") for path in folder.rglob("*.png")}
    latin = [lines[2] for lines in captions if lines[2].isascii()]
    assert set(latin) <= files
    assert all(line.endswith(".png") for _, _, line in captions)


def test_a_run_on_a_named_data_set_has_no_files(run, data, monkeypatch):
    given = []
    original = plots.mistakes
    monkeypatch.setattr(
        plots, "mistakes", lambda *args, **settings: given.append(settings) or original(*args, **settings)
    )
    assert run("train", "fashion-mnist", "--epochs", "1", "--out", "run")[0] == 0
    assert not given[0]["files"]
