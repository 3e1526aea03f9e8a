"""The page about a net: one file with everything in it."""

import base64
import hashlib
import html
import json
import re
import zlib

import numpy as np
import pytest

import cnn
from cnn import zoo
from cnn.errors import InputError, ShapeError
from cnn.explore import page, trace
from cnn.explore.gallery import choose, confusion
from cnn.layers import Flatten, Linear, Softmax
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from cnn.sequential import Sequential
from tests.explore.nets import NETS, made


def small():
    cnn.manual_seed(0)
    return Sequential([Flatten(), Linear(64, 3), Softmax()], loss_func=CrossEntropyLoss())


def pixels(count, rng=0):
    return np.random.default_rng(rng).integers(0, 256, (count, 1, 8, 8), np.uint8)


def part(text, name):
    return re.search(rf'<script type="[a-z/-]+" id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def header_of(made_page):
    return header_of_text(made_page.text)


def header_of_text(text):
    return json.loads(part(text, "header"))


def test_its_numbers_are_those_of_the_engine():
    model, x = small(), pixels(3)
    made_page = page(model, x, [0, 1, 2])
    header, block = header_of(made_page), base64.b64decode(part(made_page.text, "block"))
    for i, image in enumerate(header["images"]):
        chunk = header["chunks"][image["chunk"]]
        raw = zlib.decompress(block[chunk["offset"] : chunk["offset"] + chunk["length"]], wbits=-15)
        which = int(image["name"].removeprefix("image "))
        found = trace(model, model.preprocess(x[which : which + 1]), image["label"])
        for n, node in enumerate(found.nodes.values()):
            output = np.frombuffer(raw, "<f4", node.output.size, image["outputs"][n])
            np.testing.assert_array_equal(output, node.output.ravel())
        assert image["label"] == which, i


def test_it_asks_no_server_and_runs_only_its_own_program():
    text = page(small(), pixels(2)).text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, tag in (("script", "<script>"), ("style", "<style>")):
        [content] = re.findall(rf"{tag}(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    addresses = set(re.findall(r"https?://[\w./-]+", re.sub(r"<script type=.*?</script>", "", text, flags=re.DOTALL)))
    assert all(address.startswith("http://www.w3.org/") for address in addresses)  # names of SVG and MathML


def test_no_name_breaks_out_of_its_place():
    bad = '</script><script>alert("&")</script>{{block}}'
    model = small()
    model.class_names = [bad, "b", "c"]
    text = page(model, pixels(1), [0], names=[bad], title=bad).text
    assert "<script>alert" not in text
    assert text.count("</script>") == 3
    assert header_of(page(model, pixels(1), [0], names=[bad]))["images"][0]["name"] == bad
    assert f"<title>{html.escape(bad)}</title>" in text


def test_without_javascript_images_and_probabilities_remain():
    model = small()
    model.class_names = ["cat & dog", "b", "c"]
    text = page(model, pixels(2), [0, 1]).text
    static = re.search(r"<noscript>(.*?)</noscript>", text, re.DOTALL)[1]
    assert static.count('src="data:image/png;base64,') == 2
    p = model.predict_proba(model.preprocess(pixels(2)))
    assert all(f"<td>{value:.4f}</td>" in static for value in p.ravel())
    assert "cat &amp; dog" in static


def test_of_many_images_it_shows_some_and_says_so():
    x, y = pixels(50), np.arange(50) % 3
    model = small()
    header = header_of(page(model, x, y))
    p = model.predict_proba(model.preprocess(x))
    assert len(header["images"]) == 12
    assert "It shows 12 of 50 images." in header["page"]["notes"]
    assert {image["why"] for image in header["images"]} == {"right", "wrong", "unsure"}
    for image in header["images"]:
        which = int(image["name"].removeprefix("image "))
        assert image["label"] == y[which]
        if image["why"] != "unsure":
            assert (image["predicted"] == image["label"]) == (image["why"] == "right")
    least = f"image {p.max(axis=1).argmin()}"
    assert least in [image["name"] for image in header["images"]]
    counts = np.array(header["page"]["confusion"])
    assert counts.sum() == 50
    assert np.trace(counts) == (p.argmax(axis=1) == y).sum()


def test_it_holds_some_images_of_each_mistake():
    x, y = pixels(50), np.arange(50) % 3
    model = small()
    text = page(model, x, y).text
    header, block = header_of_text(text), base64.b64decode(part(text, "block"))
    predicted = model.predict(model.preprocess(x))
    chunk = header["chunks"][header["page"]["chunk"]]
    raw = zlib.decompress(block[chunk["offset"] : chunk["offset"] + chunk["length"]], wbits=-15)
    assert len(raw) == chunk["size"]
    found = {(one["label"], one["predicted"]): one["images"] for one in header["page"]["mistakes"]}
    assert set(found) == {(int(a), int(b)) for a, b in zip(y, predicted, strict=True) if a != b}
    for (label, k), images in found.items():
        which = np.flatnonzero((y == label) & (predicted == k))[:3]
        assert len(images) == len(which)
        for place, i in zip(images, which, strict=True):
            stored = np.frombuffer(raw, np.uint8, x[i].size, place["offset"]).reshape(place["shape"])
            np.testing.assert_array_equal(stored, x[i])
    small_page = page(model, x, y, limit=20_000)
    assert len(part(small_page.text, "block")) <= 20_000
    assert len(header_of(small_page)["page"]["mistakes"]) < len(found)


def test_images_are_chosen_from_different_classes():
    p = np.eye(4)[np.arange(40) % 4] * 0.9 + 0.025
    chosen = choose(p, np.arange(40) % 4, 8)
    assert {i % 4 for i, why in chosen if why == "right"} == {0, 1, 2, 3}
    assert len({i for i, _ in chosen}) == 8
    assert choose(p[:2], None) == [(0, "sure"), (1, "unsure")]
    assert confusion(np.array([1, 1]), np.array([0, 1]), 2) == [[0, 1], [0, 1]]
    assert confusion(np.array([0]), np.array([0]), 1000) is None


@pytest.mark.parametrize("net", NETS)
def test_every_kind_of_net(net):
    model, x = made(net)
    assert header_of(page(model, x, [1]))["images"][0]["label"] == 1
    assert header_of(page(model, x))["images"][0]["label"] is None


@pytest.mark.parametrize("loss_func", [MSELoss(), BCEWithLogitsLoss()])
def test_a_model_without_classes(loss_func):
    model = Sequential([Linear(4, 2, rng=0)], loss_func=loss_func)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    header = header_of(page(model, x))
    assert len(header["images"]) == 12
    assert any("not known" in note for note in header["page"]["notes"])
    known = header_of(page(model, x[:2], np.array([[0.0, 1.0], [1.0, 0.0]])))
    assert [image["label"] for image in known["images"]] == [[0, 1], [1, 0]]


def test_bad_input():
    with pytest.raises(InputError, match="at least one image"):
        page(small(), pixels(0))
    with pytest.raises(InputError, match=r"x must hold images, \(N, C, H, W\), got 'shoe.png'"):
        page(small(), "shoe.png")
    with pytest.raises(ShapeError, match="2 images need as many labels, got 1"):
        page(small(), pixels(2), [0])
    with pytest.raises(ShapeError, match="2 images need as many names, got 1"):
        page(small(), pixels(2), names=["a"])
    with pytest.raises(ShapeError):
        page(zoo.lenet5(), np.zeros((1, 3, 5, 5), np.uint8))
    broken = small()
    broken[1].weight.data = np.full((3, 64), np.nan)
    with pytest.raises(InputError, match="NaN"):
        page(broken, pixels(1))


def test_classes_for_every_pixel():
    labels = np.random.default_rng(1).integers(0, 2, (2, 8, 8))
    header = header_of(page(zoo.unet((1, 8, 8), classes=2, width=4, depth=1), pixels(2), labels))
    assert [image["label"] for image in header["images"]] == labels.tolist()


def test_a_net_with_one_output_needs_a_loss():
    model, told = Sequential([Flatten(), Linear(64, 1)]), "The net has one output and no loss for it"
    assert told in part(page(model, pixels(1)).text, "header")
    for loss_func in (MSELoss(), BCEWithLogitsLoss()):
        model.loss_func = loss_func
        assert told not in part(page(model, pixels(1)).text, "header")


def test_names_that_are_not_valid_unicode(tmp_path):
    made_page = page(small(), pixels(1), names=["\udcff.png"], title="Inside \udcfe").save(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == made_page.text
    assert "<title>Inside \\udcfe</title>" in made_page.text
    assert header_of(made_page)["images"][0]["name"] == "\udcff.png"


def test_a_notebook_shows_it_from_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_page = page(small(), pixels(1))
    assert "not saved yet" in made_page._repr_html_()
    (tmp_path / "pages").mkdir()
    assert made_page.save(tmp_path / "pages" / "a & b.html") is made_page
    assert 'src="pages/a%20%26%20b.html"' in made_page._repr_html_()
    assert len(made_page._repr_html_()) < 500
    assert (tmp_path / "pages" / "a & b.html").read_text(encoding="utf-8") == made_page.text
    assert "a & b.html" in repr(made_page)


def test_an_old_file_is_replaced_only_by_a_complete_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        page(small(), pixels(1)).save(tmp_path / "nowhere" / "a.html")
    assert list(tmp_path.iterdir()) == []
