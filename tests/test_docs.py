"""The code in the README and the docs runs and does what the text says."""

import re
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn import zoo
from cnn.interop import onnx

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def seed():
    """The same weights whatever ran before: the examples, like most programs, do not set a seed."""
    cnn.manual_seed(0)


def code(path):
    """All Python blocks of a page, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / path).read_text(encoding="utf-8"), re.M | re.S))


def test_your_own_layer_trains_and_passes_the_gradient_check(capsys):
    names = {}
    exec(compile(code("docs/your_own_layer.md"), "docs/your_own_layer.md", "exec"), names)
    assert names["history"].train_accuracy[-1] > 0.95
    assert names["model"][1].b.data[0] != 1
    assert "epoch 60/60" in capsys.readouterr().out


def test_your_own_layer_has_twenty_lines_and_a_wrong_gradient_is_caught():
    program = code("docs/your_own_layer.md")
    layer = program[: program.index("X = ")]
    assert len([line for line in layer.splitlines() if line.strip()]) <= 20
    names = {}
    exec(layer.replace("grad * x * x * slope", "grad * x * slope"), names)
    from cnn.utils.gradcheck import gradcheck

    with pytest.raises(AssertionError, match="the gradient of b is off"):
        gradcheck(names["Swish"](), np.random.default_rng(0).normal(size=(5, 3)))


def test_each_example_of_the_readme_and_of_first_nets_runs_on_its_own(tmp_path, monkeypatch, capsys):
    """The spiral runs unchanged; a few random images stand in for Fashion-MNIST, and a small net for photos.onnx."""
    rng = np.random.default_rng(0)
    few = [(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n)) for n in (96, 32)]
    monkeypatch.setattr("cnn.data.fashion_mnist", lambda: (*few[0], *few[1]))
    monkeypatch.chdir(tmp_path)
    small = zoo.small_cnn()
    small.input_shape = (1, 28, 28)
    onnx.save(small, "photos.onnx")
    pages = "README.md", "docs/first_nets.md"
    blocks = [
        (page, block)
        for page in pages
        for block in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    ]
    assert [page for page, _ in blocks] == [pages[0]] * 2 + [pages[1]] * 4
    for page, block in blocks:
        exec(compile(block, page, "exec"), {})
    out = capsys.readouterr().out
    found = re.findall(r"validation accuracy: ([\d.]+)%", out)
    assert len(found) == 2
    assert all(float(accuracy) >= 95 for accuracy in found)
    assert (tmp_path / "clothes.safetensors").exists()


def test_the_example_for_users_of_other_libraries_learns_and_its_words_are_true():
    names = {}
    page = "docs/other_libraries.md"
    exec(compile(code(page), page, "exec"), names)
    assert type(names["loss"]) is float
    assert names["loss"] < 0.1
    text = (ROOT / page).read_text(encoding="utf-8")
    for word in ("compile", "train_on_batch", "get_weights", "score", "partial_fit", "cuda"):
        assert word in text
        with pytest.raises(AttributeError, match=f"Sequential has no {word}: "):
            getattr(names["model"], word)
    with pytest.raises(TypeError) as caught:
        names["model"].fit(names["x"], names["y"], verbose=0)
    assert f'"{caught.value}"' in text.replace("\n", " ")


def test_the_training_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    program = code("docs/training.md")
    before, update, after = program.partition("\nupdate_bn(")
    exec(compile(before, "training.md", "exec"), names)
    running = names["normed"][1].running_var.data.copy()
    exec(compile(update + after, "training.md", "exec"), names)
    assert not np.array_equal(names["normed"][1].running_var.data, running)  # the line does something
    assert names["best_epoch"] >= 1
    assert len(names["classes"]) == len(names["x"])
    assert (names["model"][0].weight.data == names["old"][0].weight.data).all()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) >= 5
    assert list((tmp_path / "checkpoints").glob("step-*"))


def test_the_data_examples_run(capsys):
    cnn.manual_seed(0)  # other tests have drawn from the default generator
    names = {}
    exec(compile(code("docs/data.md"), "docs/data.md", "exec"), names)
    assert names["history"].train_accuracy[-1] > 0.9
    out = capsys.readouterr().out
    assert "[[14.  3.]\n [10.  8.]]" in out
    assert "['groups of images by {group}_*: 5']\n" in out
    assert len(names["held_out"]) == 1
    assert 0.4 < names["drawn"].mean() < 0.6
    assert names["name"] == "photos/two\nlines.jpg"


def test_exchange_with_pytorch_and_scikit_learn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code("docs/exchange.md"), "exchange.md", "exec"), names)
    assert names["search"].best_score_ > 0.8
    assert "True" in capsys.readouterr().out
    assert (names["again"][1].weight.data == 0).sum() == 0


def test_a_look_inside_a_net(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code("docs/look_inside.md"), "look_inside.md", "exec"), names)
    assert names["one"].terms.sum() == pytest.approx(names["one"].value, rel=1e-4)
    assert names["slope"].terms.sum() == pytest.approx(names["slope"].value, rel=1e-4)
    seen, not_learned = names["seen"][1], names["not_learned"]
    assert seen.shape == not_learned.shape == (7, 7)
    assert np.abs(seen / seen.max() - not_learned / (not_learned.max() or 1)).max() > 0.2
    assert "print((a[:, 4:7, 7:10] *" in capsys.readouterr().out


def test_fine_tuning_in_five_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code("docs/fine_tuning.md"), "fine_tuning.md", "exec"), names)
    model, learned = names["model"], names["learned"]
    assert names["keys"].wrong_shape_keys == ["10.weight", "10.bias"]
    assert (model[0].weight.data == learned[0].weight.data).all()  # frozen from the beginning to the end
    assert not (model[3].weight.data == learned[3].weight.data).all()
    assert [group.lr for group in model.optimizer.param_groups] == [1e-3, 1e-4]
    assert "320 parameters are frozen" in capsys.readouterr().out
    assert (tmp_path / "fine_tuned.safetensors").exists()
    assert names["features"].shape == (1, 1280)
    assert len(names["imagenet"].class_names) == 1000


@pytest.mark.parity
def test_a_model_becomes_an_onnx_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code("docs/onnx.md"), "onnx.md", "exec"), names)
    expected = names["model"].predict_proba(names["model"].preprocess(names["pixels"]))
    np.testing.assert_allclose(names["probabilities"], expected, rtol=1e-4, atol=1e-6)
    label = names["model"].class_names[expected[0].argmax()]
    assert capsys.readouterr().out == f"{[label, label]}\nTrue\n"


def test_the_examples_of_labels_and_weights_run(capsys):
    names = {}
    exec(compile(code("docs/labels_and_weights.md"), "labels_and_weights.md", "exec"), names)
    assert names["labels"].shape == names["p"].shape == (400, 2)
    assert names["y_rare"].dtype == bool
    out = capsys.readouterr().out
    assert "rare" in out
    assert re.search(r"^yes +\S+ +\S+ +\S+ +\d+$", out, re.M)


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(
            f"docs/{name}.md"
            for name in (
                "correctness",
                "data",
                "errors",
                "exchange",
                "fine_tuning",
                "first_nets",
                "from_pytorch",
                "code_map",
                "install",
                "measurements",
                "sources",
                "distributed",
                "labels_and_weights",
                "life_of_a_batch",
                "other_libraries",
                "look_inside",
                "own_images",
                "onnx",
                "performance",
                "photos_to_model",
                "training",
                "your_own_layer",
            )
        ),
    ],
)
def test_linked_files_exist(path):
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / path).read_text(encoding="utf-8"))
    missing = [target for target in targets if not ((ROOT / path).parent / target).exists()]
    assert not missing


NAMES_IN_DOCS = [
    ROOT / "docs" / "life_of_a_batch.md",
    ROOT / "docs" / "decisions" / "008-one-path.md",
    ROOT / "CONTRIBUTING.md",
]


@pytest.mark.parametrize("page", NAMES_IN_DOCS, ids=lambda page: page.name)
def test_names_in_the_text_exist(page):
    """Every file and every identifier in backticks, in the pages that lead through the code."""
    text = page.read_text(encoding="utf-8")
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    for name in re.findall(r"[\w/]+\.py\b", text):
        assert any(f"/{file}".endswith(f"/{name}") for file in files), name
    code = "\n".join(
        (ROOT / file).read_text(encoding="utf-8") for file in files if not file.startswith("tests/test_docs")
    )
    for name in re.findall(r"`@?([A-Za-z_][\w.]*)(?:\([^`]*\))?`", text):
        last = name.rpartition(".")[2]
        assert name.endswith((".toml", ".md")) or re.search(rf"\b{re.escape(last)}\b", code), name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_every_page_with_python_is_run():
    """A page that no test names is one whose code nothing runs."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        if "```python" in page.read_text(encoding="utf-8"):
            assert f"{page.stem}.md" in tests or f'"{page.stem}"' in tests, page
