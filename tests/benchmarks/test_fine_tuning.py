"""benchmarks/fine_tuning.py: the choice of the images, resuming, and the table; no download, no training."""

import importlib
import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("fine_tuning")


def test_few_images_of_each_class(script, tmp_path):
    for label, count in (("cat", 9), ("dog", 2)):
        (tmp_path / "all" / label).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "all" / label / f"{i}.png").write_bytes(b"x")
    assert script.few(tmp_path / "all", tmp_path / "a", 4) == script.few(tmp_path / "all", tmp_path / "b", 4) == 6
    a, b = ([path.name for path in sorted((tmp_path / name).rglob("*.png"))] for name in "ab")
    assert a == b
    assert sorted(a) != ["0.png", "0.png", "1.png", "1.png", "2.png", "3.png"]  # not the first by name


def test_what_is_done_is_not_repeated(script, tmp_path, monkeypatch, capsys):
    ran = []

    def measure(cache, name, program, seed, per_class):
        ran.append((name, program, seed, per_class))
        if len(ran) == 3:
            raise KeyboardInterrupt
        result = {"set": name, "program": program, "seed": seed, "per_class": per_class, "images": 8, "tested": 9}
        return result | {"accuracy": 0.5 + len(program) / 100, "processor_seconds": 7.4}

    monkeypatch.setattr(script, "measure", measure)
    for name in ("fetch", "build"):
        monkeypatch.setattr(script.own_image_sets, name, lambda *_: None)
    results = tmp_path / "results.jsonl"
    line = ["fine_tuning.py", str(tmp_path), str(results), "--sets", "stamps", "clipart", "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(KeyboardInterrupt):
        script.main()
    script.main()
    assert ran[2:4] == [("stamps", "pretrained", 0, 30)] * 2  # the one that was interrupted, again
    assert len(ran) == 1 + len({json.dumps(one) for one in ran}) == 1 + 2 * len(script.PROGRAMS)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [*line, "--table"])
    script.main()
    assert capsys.readouterr().out.splitlines()[2] == "| stamps | 8 | 9 | 57.0, 7 | 60.0, 7 | 60.0, 7 | +3.0 | +3.0 |"
