"""`cnn explore`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn import zoo
from cnn.layers import Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential
from tests.cli.example_files import write_image
from tests.cli.test_folder import shades


def header_of(name):
    text = Path(name).read_text(encoding="utf-8")
    return json.loads(re.search(r'id="header">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture
def fashion_run():
    """A run folder with a small untrained net for Fashion-MNIST and the history of its training."""
    model = zoo.lenet5()
    model.input_shape = (1, 28, 28)
    folder = Path("runs/a run")
    folder.mkdir(parents=True)
    model.save(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"data": "fashion-mnist", "epochs": 2}), encoding="utf-8")
    lines = [{"epoch": i, "train_loss": 1 / i, "val_accuracy": 0.5} for i in (1, 2)]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def test_a_run_on_a_named_data_set(run, data, fashion_run):
    code, out, err = run("explore", fashion_run)
    assert (code, err) == (0, "computing every activation and gradient ...\n")
    size = Path("a run.html").stat().st_size / 1e6
    assert out == f"a run.html: {size:.1f} MB; it contains the images that it shows\n"
    header = header_of("a run.html")
    assert header["page"]["title"] == "Inside a run"
    assert header["page"]["history"] == [
        {"epoch": 1, "train_loss": 1.0, "val_accuracy": 0.5},
        {"epoch": 2, "train_loss": 0.5, "val_accuracy": 0.5},
    ]
    assert np.sum(header["page"]["confusion"]) == 60
    assert any("trained on fashion-mnist: 2 epochs" in note for note in header["page"]["notes"])
    assert len(header["images"]) == 12
    for image in header["images"]:
        assert image["label"] == data[3][int(image["name"].removeprefix("test image "))]


def test_a_run_on_points(run):
    model = Sequential([Linear(2, 8, rng=0), ReLU(), Linear(8, 3, rng=1), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape = (2,)
    Path("r").mkdir()
    model.save("r/model.safetensors")
    Path("r/config.json").write_text(json.dumps({"data": "spiral", "seed": 1}), encoding="utf-8")
    assert run("explore", "r")[0] == 0
    assert header_of("r.html")["images"][0]["name"].startswith("test point ")
    for arguments in (("r", "--images", "a.png"), ("alone.safetensors",)):
        model.save("alone.safetensors")
        code, _, err = run("explore", *arguments)
        assert (code, "the model takes 2 numbers, not images: use cnn.explore.page in Python" in err) == (1, True)


def test_a_run_on_a_folder_shows_images_it_was_not_trained_on(run, no_plots):
    shades("photos", 20)
    assert run("train", "photos", "--epochs", 1, "--image-size", 16, "--out", "r", "--quiet")[0] == 0
    code, _, err = run("explore", "r", "--out", "p.html")
    assert code == 0
    assert "left out" in err  # the training images
    header = header_of("p.html")
    assert any("validation images" in note for note in header["page"]["notes"])
    assert {image["label"] for image in header["images"]} <= {0, 1}


def test_images_that_were_given(run, brightness_model):
    write_image("a.png", background=20, square=10)
    write_image("b.png", background=40)
    code, _, err = run("explore", brightness_model, "--images", "*.png")
    assert (code, err) == (0, "computing every activation and gradient ...\n")
    images = header_of("light.html")["images"]
    assert {image["name"] for image in images} == {"a.png", "b.png"}
    assert all(image["label"] is None for image in images)


def test_the_folders_of_classes_say_the_true_class(run, brightness_model):
    for name, shade in (("dark", 10), ("light", 120)):
        Path("photos", name).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (8, 8), shade + i).save(f"photos/{name}/{i}.png")
    Path("photos/notes.txt").write_text("no image", encoding="utf-8")
    assert run("explore", brightness_model, "--images", "photos")[0] == 0
    header = header_of("light.html")
    assert sorted(image["label"] for image in header["images"]) == [0] * 6 + [1] * 6
    assert any(note.startswith("A sample: 12 of 40 images") for note in header["page"]["notes"])


def test_the_model_that_comes_with_the_library(run):
    write_image("shoe.png", size=(28, 28), background=0, square=200)
    assert run("explore", "--model", "fashion", "--images", "shoe.png", "--out", "shoe.html")[0] == 0
    assert header_of("shoe.html")["page"]["title"] == "Inside fashion"


def test_an_unreadable_image_is_left_out(run, brightness_model):
    write_image("a.png")
    Path("broken.png").write_bytes(b"no image")
    code, _, err = run("explore", brightness_model, "--images", "a.png", "broken.png")
    assert code == 0
    assert "left out: broken.png" in err
    code, _, err = run("explore", brightness_model, "--images", "broken.png", "--out", "b.html")
    assert code == 1
    assert "broken.png" in err
    assert not Path("b.html").exists()


def test_what_is_missing_is_said_with_the_fix(run, brightness_model, fashion_run):
    code, _, err = run("explore", brightness_model)
    assert (code, "does not name its training data: give images, --images" in err) == (1, True)
    Path("empty").mkdir()
    code, _, err = run("explore", brightness_model, "--images", "empty")
    assert (code, "there is no image in empty" in err) == (1, True)
    code, _, err = run("explore", brightness_model, "--images", "none.png")
    assert (code, "none.png" in err) == (1, True)
    config = {"data": str(Path("gone").resolve())}
    (fashion_run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code, _, err = run("explore", fashion_run)
    assert (code, "is gone: give images, --images" in err) == (1, True)
    code, _, err = run("explore", brightness_model, "--out", "page.txt")
    assert (code, "argument --out: expected a name that ends in .html" in err) == (2, True)
    code, _, err = run("explore", brightness_model, "--images", "a.png", "--out", "nowhere/p.html")
    assert code == 1
