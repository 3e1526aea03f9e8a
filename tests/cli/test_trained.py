"""`--model fashion`: the trained model that comes with cnn."""

import json

import numpy as np
import pytest
from PIL import Image

import cnn.data
from cnn.zoo import trained
from tests.cli.example_files import json_lines

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")


def test_the_trained_model(run):
    folder = trained.folder("fashion")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    model = trained.load("fashion")
    assert sum(p.size for p in model.parameters()) < 300_000
    assert model.class_names[0] == "T-shirt/top"
    with pytest.raises(ValueError, match="no trained net is called 'shoes'; there is fashion, imagenet"):
        trained.load("shoes")
    code, out, _ = run("summary", "--model", "fashion")
    assert code == 0
    assert (
        "fashion-cnn trained on fashion-mnist: recipe best, 28 epochs, batch size 128, lr 0.01, seed 0, finished"
        in " ".join(out.split())
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "--model", "fashon", "a.png"), "unknown trained model 'fashon': did you mean 'fashion'?"),
        (("predict", "--model", "fashion"), "the following arguments are required: IMAGE"),
        (("evaluate", "--model"), "argument --model: expected one argument"),
        (("evaluate", "a.safetensors", "--model", "fashion"), "a.safetensors is a run: omit --model"),
        (("predict", "--model", "a.safetensors", "a.png"), "a.safetensors is a run: omit --model"),
    ],
)
def test_wrong_usage(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_the_option_can_stand_anywhere(run, tmp_path):
    for i in range(2):
        Image.fromarray(np.full((30, 30), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    expected = run("predict", trained.folder("fashion"), "0.png", "1.png", "--json")[:2]
    assert expected[0] == 0
    for words in (("--model", "fashion", "0.png", "1.png"), ("0.png", "1.png", "--model=fashion")):
        assert run("predict", *words, "--json")[:2] == expected
    code, _, err = run("predict", "no run", "--", "--model", "fashion")  # which are then names of images
    assert code == 1
    assert "there is no no run" in err


@pytest.mark.data
def test_it_reaches_its_test_accuracy(run):
    """Except for an image or two, where another processor rounds differently."""
    code, out, _ = run("evaluate", "--model", "fashion", "--json")
    assert code == 0
    settled = json.loads((trained.folder("fashion") / "config.json").read_text(encoding="utf-8"))
    found = json.loads(out)
    print(f"accuracy {found['accuracy']:.4f}, loss {found['loss']:.4f}")
    assert found["accuracy"] == pytest.approx(settled["test_accuracy"], abs=2.5e-4)
    assert found["loss"] == pytest.approx(settled["test_loss"], abs=1e-4)


@pytest.mark.data
def test_images_of_other_sizes_formats_and_black_on_white(run, tmp_path):
    """The first two test images of each class: at least 18 of 20 are correct."""
    _, _, x, y = cnn.data.fashion_mnist()
    names = cnn.data.dataset_info("fashion-mnist").class_names
    chosen = [i for k in range(10) for i in np.flatnonzero(y == k)[:2]]
    sizes = (20, 28, 45, 64, 100, 150, 300, 400, 640, 900)
    expected = {}
    for number, i in enumerate(chosen):
        side, kind, light = sizes[number // 2], FORMATS[number % 5], number % 2
        pixels = 255 - x[i, 0] if light else x[i, 0]
        image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
        path = tmp_path / f"{number}.{kind.lower()}"
        image.save(path, kind)
        expected[str(path)] = names[y[i]]
    code, out, _ = run("predict", "--model", "fashion", *expected, "--top", 1, "--json")
    assert code == 0
    found = {image["image"]: image["classes"][0]["name"] for image in json_lines(out)}
    wrong = {path: (found[path], expected[path]) for path in expected if found[path] != expected[path]}
    print(f"{20 - len(wrong)} of 20 images correct; wrong: {list(wrong.values())}")
    assert len(wrong) <= 2, wrong
