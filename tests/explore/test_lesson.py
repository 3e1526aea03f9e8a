"""The page that docs/lesson_ten_things.md links to is up to date, and what the lesson says of the net is true."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from cnn.cli import datasets
from cnn.explore.page import TEMPLATE
from cnn.zoo.trained import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "example" / "fashion.html").read_text(encoding="utf-8")
LESSON = (ROOT / "docs" / "lesson_ten_things.md").read_text(encoding="utf-8")
MAKE = "run python scripts/lesson_page.py and commit the page"


HEADER = json.loads(re.search(r'id="header">(.*?)</script>', PAGE, re.DOTALL)[1])
BLOCK = base64.b64decode(re.search(r'id="block">(.*?)</script>', PAGE, re.DOTALL)[1])


def chunk(i):
    place = HEADER["chunks"][i]
    return zlib.decompress(BLOCK[place["offset"] : place["offset"] + place["length"]], wbits=-15)


def test_it_has_the_program_of_the_template():
    own, template = (
        re.sub(r"<script type=.*?</script>|<title>.*?</title>|<main class.*?</main>", "", text, flags=re.DOTALL)
        for text in (PAGE, TEMPLATE.read_text(encoding="utf-8"))
    )
    assert own == template, MAKE


def test_it_has_the_weights_of_the_net():
    weights = chunk(0)
    for name, tensor in load("fashion").named_tensors():
        if tensor.dtype.kind == "f":
            place = HEADER["tensors"][name]
            stored = np.frombuffer(weights, "<f4", tensor.data.size, place["offset"]).reshape(place["shape"])
            np.testing.assert_array_equal(stored, tensor.data, MAKE)


def test_it_is_small_and_names_the_licence_of_its_images():
    assert len(PAGE) < 5_000_000
    assert "copyright 2017 Zalando SE, MIT licence" in " ".join(HEADER["page"]["notes"])
    assert [image["complete"] for image in HEADER["images"]] == [True, True] + [False] * 10


@pytest.mark.data
def test_its_images_are_those_that_it_names():
    x, y = datasets.load("fashion-mnist", 0, quiet=True).test
    for image in HEADER["images"]:
        i = int(image["name"].removeprefix("test image "))
        stored = np.frombuffer(chunk(image["chunk"]), np.uint8, x[i].size, image["pixels"]["offset"])
        np.testing.assert_array_equal(stored, x[i].ravel())
        assert image["label"] == y[i]


def test_what_it_says_of_the_first_kernels():
    kernels = load("fashion").state_dict()["0.weight"][:, 0]
    edge, negative = kernels[7], kernels[6].copy()
    assert (edge[:, :2] > 0).all()
    assert (edge[:, 2] < 0).all()
    assert abs(edge.sum()) < 0.05 * np.abs(edge).sum()
    assert negative[1, 1] == pytest.approx(-2.1, abs=0.01)
    negative[1, 1] = 0
    assert np.abs(negative).max() < 0.1


def test_no_image_wakes_the_dead_channels():
    """Even if each pixel under the kernel is as dark or as light as helps most."""
    model = load("fashion")
    w = model.state_dict()
    dark, light = (float(model.preprocess(np.full((1, 1, 28, 28), v, np.uint8))[0, 0, 0, 0]) for v in (0, 255))
    dead = []
    for k, kernel in enumerate(w["0.weight"]):
        ends = [np.minimum(kernel * dark, kernel * light).sum(), np.maximum(kernel * dark, kernel * light).sum()]
        scale = w["1.weight"][k] / np.sqrt(w["1.running_var"][k] + 1e-5)
        if max(scale * (end - w["1.running_mean"][k]) + w["1.bias"][k] for end in ends) < 0:
            dead.append(k)
    assert dead == [15, 16, 23, 30]


def test_what_it_says_of_the_confusions():
    counts = HEADER["page"]["confusion"]
    shirts = dict(zip(HEADER["model"]["classes"], counts[6], strict=True))
    assert (shirts["Shirt"], shirts["T-shirt/top"], shirts["Coat"], sum(counts[6])) == (812, 78, 53, 1000)
    assert counts[1][1] == 994


def test_it_has_ten_questions_with_links():
    questions = re.split(r"^## ", LESSON, flags=re.MULTILINE)[1:-1]
    assert [text.split(".")[0] for text in questions] == [str(i) for i in range(1, 11)]
    assert all("*Question*" in text and "example/fashion.html#image=" in text for text in questions)
