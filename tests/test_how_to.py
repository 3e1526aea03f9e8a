"""The pages of tasks run as they stand and print what they show; each is short and has all its parts."""

import re
from pathlib import Path

import pytest

import cnn
from tests.distributed.launch import run
from tests.pages import ROOT, run_page, same_text

FOLDER = ROOT / "docs" / "how_to"
PAGES = sorted(path.name for path in FOLDER.glob("*.md"))
NEEDS_OTHERS = {"export.md"}  # PyTorch and onnxruntime
UNDER_MPI = {"processes.md"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.parity] if name in NEEDS_OTHERS else [])
        for name in PAGES
        if name not in UNDER_MPI
    ],
)
def test_a_page_does_its_task(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cnn.manual_seed(0)
    run_page(f"docs/how_to/{name}", capsys)


def test_the_page_about_processes_does_its_task_in_two(tmp_path):
    text = (FOLDER / "processes.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (shown,) = re.findall(r"^```text\n(.*?)^```", text, re.M | re.S)
    status, out, err = run(program.replace('"checkpoints"', f'"{tmp_path}/c"').replace('"model.', f'"{tmp_path}/m.'), 2)
    assert status == 0, err
    assert out == shown


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_says_what_to_look_at_and_what_goes_wrong(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "```python" in text
    assert len(text.splitlines()) <= 150
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[-3:] == ["What to look at", "What goes wrong", "See also"]
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
        assert (FOLDER / target).exists(), target


def test_the_contents_list_every_page():
    contents = (ROOT / "docs" / "how_to.md").read_text(encoding="utf-8")
    listed = " ".join(re.findall(r"^```\{toctree\}\n(.*?)^```", contents, re.M | re.S)).split()
    for name in PAGES:
        assert f"how_to/{Path(name).stem}" in listed
        assert f"](how_to/{name})" in contents


def test_a_number_or_a_word_that_differs_is_noticed():
    assert same_text("epoch 1\nloss 0.4012\n", "epoch 1\nloss 0.40\n")
    assert same_text("a\nb\nc\n", "a\n...\nc\n")
    assert not same_text("loss 0.45\n", "loss 0.40\n")
    assert not same_text("12 images\n", "13 images\n")
    assert not same_text("b\nc\n", "a\n...\nc\n")
    assert same_text("tent 0.0 2 of 3\n", "tent - 3 of 3\n", any_numbers=True)
    assert not same_text("tent 0.0 2 of 3\n", "ball 0.0 2 of 3\n", any_numbers=True)


@pytest.mark.parity
def test_the_tutorial_from_photos_to_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_page("docs/photos_to_model.md", capsys)
    tent = {run: recall[names["model"].class_names.index("tent")] for run, recall in names["recalls"].items()}
    assert tent["first"] < 0.4
    assert tent["first"] < tent["balanced"] < tent["more"]
    assert tent["more"] >= 0.9
    pictures = "curves", "confusion", "mistakes", "samples"
    assert all((tmp_path / "more" / f"{name}.png").exists() for name in pictures)


@pytest.mark.parity
def test_from_pytorch_and_back(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("docs/from_pytorch.md", capsys)


def test_the_page_of_errors_shows_what_its_code_raises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("docs/errors.md", capsys)
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^### ", text, re.M)) >= 25
    assert len(re.findall(r"^```text\n(?:\w+(?:Error|Warning): |(?:cnn \w+: )?error: )", text, re.M)) >= 30
