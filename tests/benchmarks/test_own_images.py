"""benchmarks/own_images.py and own_image_sets.py: building a set, resuming, and the tables; no download, no training."""

import argparse
import importlib
import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("own_image_sets"), importlib.import_module("own_images")


def test_a_group_is_on_one_side_and_no_file_is_there_twice(scripts, tmp_path, monkeypatch):
    sets, _ = scripts

    def entries(cache):
        for i in range(40):
            for label, colour in (("red", (255, i, 0)), ("blue", (0, i, 255))):
                yield sets.Entry(label, f"thing{i}", Image.new("RGB", (4, 4), colour))
        cache.mkdir()
        same = cache / "same.png"
        Image.new("RGB", (4, 4)).save(same)
        yield sets.Entry("red", "same1", same)
        yield sets.Entry("blue", "same2", same)

    monkeypatch.setitem(sets.SETS, "made", entries)
    train, test = sets.folders(tmp_path, "made")
    sets.build(tmp_path, "made")
    groups = [{path.stem for path in folder.rglob("*.png")} for folder in (train, test)]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 41
    assert 10 < len(groups[1]) < 25
    assert {path.name for path in train.iterdir()} == {path.name for path in test.iterdir()} == {"red", "blue"}
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setitem(sets.SETS, "made", lambda cache: pytest.fail("built again"))
    sets.build(tmp_path, "made")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_done_is_not_repeated(scripts, tmp_path, monkeypatch):
    _, own_images = scripts
    ran = []

    def run(program, name, cache, seed, options):
        ran.append((program, name, seed, options))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return {"accuracy": 0.5}

    monkeypatch.setattr(own_images, "run", run)
    args = argparse.Namespace(
        results=tmp_path / "results.jsonl", seeds=[0], sets=["facing"], programs=["cnn", "svm"], cache=tmp_path
    )
    variants = {"default": [], "small": ["--image-size", "32"]}
    with pytest.raises(KeyboardInterrupt):
        own_images.run_all(args, variants)
    own_images.run_all(args, variants)
    assert ran == [
        ("cnn", "facing", 0, []),
        ("cnn", "facing", 0, ["--image-size", "32"]),
        ("svm", "facing", 0, []),
        ("svm", "facing", 0, []),
    ]
    keys = [own_images.key(json.loads(line)) for line in args.results.read_text().splitlines()]
    assert keys == [
        ("facing", "cnn", "default", 0),
        ("facing", "cnn", "small", 0),
        ("facing", "svm", "default", 0),
    ]


def test_the_tables_have_means_standard_errors_and_paired_differences(scripts):
    _, own_images = scripts
    results = [
        {"set": "facing", "program": program, "variant": variant, "seed": seed, "accuracy": accuracy, "seconds": 7.0}
        for program, variant, accuracies in (
            ("cnn", "default", (0.5, 0.6, 0.7)),
            ("cnn", "none", (0.4, 0.5, 0.6)),
            ("cnn", "flip", (0.6, 0.6, 0.63)),
            ("logistic", "default", (0.3,)),
            ("svm", "default", (0.4,)),
            ("torch", "default", (0.5, 0.5, 0.5)),
        )
        for seed, accuracy in enumerate(accuracies)
    ]
    first, second = own_images.tables(results, ["facing", "stamps"]).split("\n\n")
    assert first.splitlines()[2:] == [
        "| facing | 60.0 ± 5.8 | 30.0 | 40.0 | 50.0 ± 0.0 | +10.0 ± 5.8 | 7, 7, 7, 7 |",
        "| mean of 1 | 60.0 | 30.0 | 40.0 | 50.0 | +10.0 |  |",
    ]
    assert second.splitlines()[2:] == [
        "| facing | 60.0 ± 5.8 | 50.0 ± 5.8; +10.0 ± 0.0 | 61.0 ± 1.0; -1.0 ± 4.9 | flip: -1.0 ± 4.9 |",
        "| mean of 1 |  |  |  | -1.0 |",
    ]
