"""README, "Start from anything, ship anywhere": its commands and its example run, in this order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SECTION = re.search(
    r"^## Start from anything, ship anywhere\n(.*?)^## ",
    (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"),
    re.M | re.S,
)[1]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.M | re.S)


def write_photos(folder):
    """Two classes of photographs, 12 of each: parts of the two that scikit-learn has."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            top, left = rng.integers(0, 200, 2)
            Image.fromarray(pixels[top : top + 200, left : left + 260]).save(folder / name / f"{i}.jpg")


@pytest.mark.slow
def test_the_section_runs(tmp_path):
    write_photos(tmp_path / "photos")
    (commands,), (example,) = blocks("bash"), blocks("python")
    install, *lines = commands.strip().splitlines()
    assert install.startswith(".venv/bin/pip install")
    assert len(lines) == 2
    printed = []
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == ".venv/bin/cnn"
        command = [sys.executable, "-m", "cnn", *arguments]
        printed.append(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout)
    assert "validation accuracy" in printed[0]
    found = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert re.search(r"accuracy (9[0-9]\.|100)", found.stdout)
    assert "Conv2d" in found.stdout
