"""The committed notebooks: run in the full setting, without errors, with described images, and quoted correctly.

scripts/notebooks.sh, which .ci/run calls, checks that they run.
"""

import builtins
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("pytorch_utils", "spiral_dataset", "fashion_mnist")
LESSONS = NAMES[1:]


def cells(name, kind="code"):
    notebook = json.loads((ROOT / "models" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def outputs(name):
    return [output for cell in cells(name) for output in cell["outputs"]]


def printed(name, cell_id=None):
    """Everything that a notebook printed, or that one cell of it printed."""
    found = [cell for cell in cells(name) if cell_id in (None, cell["id"])]
    assert found, f"{name} has no cell {cell_id}"
    streams = [output for cell in found for output in cell["outputs"] if output["output_type"] == "stream"]
    return "".join("".join(output["text"]) for output in streams)


@pytest.mark.parametrize("name", NAMES)
def test_it_was_run_from_top_to_bottom_in_the_full_setting(name):
    assert [cell["execution_count"] for cell in cells(name)] == list(range(1, len(cells(name)) + 1))
    assert not [
        output for output in outputs(name) if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert "setting: full" in printed(name)


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_contain_no_path_and_no_color_codes(name):
    text = json.dumps(outputs(name))
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|Users|work)/|\\u001b", text)


@pytest.mark.parametrize("name", LESSONS)
def test_every_image_has_alternative_text_with_title_and_labels(name):
    images = [output for output in outputs(name) if "image/png" in output.get("data", {})]
    assert len(images) >= 7
    for image in images:
        alternative = image["metadata"]["image/png"]["alt"]
        assert "x axis: " in alternative
        assert len(alternative) > 40


def test_the_three_files_are_small_together():
    assert sum((ROOT / "models" / f"{name}.ipynb").stat().st_size for name in NAMES) < 6e6


@pytest.mark.parametrize("name", LESSONS)
def test_the_same_weights_and_batches_gave_the_same_losses(name):
    for cell_id, steps, tolerance in (("steps64", 200, 1e-8), ("steps32", 20, 1e-4)):
        found = re.search(rf"losses of {steps} steps differ by at most (\S+) ", printed(name, cell_id))
        assert float(found[1]) <= tolerance


@pytest.mark.parametrize("name", LESSONS)
def test_the_answers_to_questions_are_folded(name):
    texts = ["".join(cell["source"]) for cell in cells(name, "markdown")]
    questions = [text for text in texts if "**Question.**" in text]
    assert len(questions) >= 5
    assert all("<details><summary>Answer</summary>" in text and "</details>" in text for text in questions)


def test_without_torch_the_first_cell_says_how_to_install_it_and_what_that_costs(monkeypatch):
    real = builtins.__import__

    def without_torch(name, *args, **kwargs):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(ModuleNotFoundError, match=r"(?s)pip install .*torch.* 200 MB") as caught:
        exec("".join(cells("pytorch_utils")[0]["source"]), {})
    assert caught.value.__suppress_context__  # the reader sees only the advice


def accuracies(name):
    """Mean and standard deviation of the accuracies as printed: {"cnn": ("92.10", "0.15"), "PyTorch": ...}."""
    found = re.findall(r"^(\w+) +mean ([\d.]+) %, standard deviation ([\d.]+) points, 5 seeds", printed(name), re.M)
    assert [row[0] for row in found] == ["cnn", "PyTorch"]
    return {library: values for library, *values in found}


def seconds(name):
    """Seconds per epoch as printed, for cnn and PyTorch."""
    found = re.findall(r"^(\w+) +\S+ epochs per second \((\S+) s an epoch", printed(name), re.M)
    assert [row[0] for row in found] == ["cnn", "PyTorch"]
    return [value for _, value in found]


@pytest.mark.parametrize(("name", "least"), [("spiral_dataset", 95), ("fashion_mnist", 90)])
def test_both_libraries_reach_the_promised_accuracy(name, least):
    assert all(float(mean) >= least for mean, _ in accuracies(name).values())


@pytest.mark.parametrize("name", LESSONS)
def test_the_docs_quote_the_notebook(name):
    results = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    [row] = [line for line in results.splitlines() if f"models/{name}.ipynb" in line and "seeds" in line]
    (ours, our_spread), (theirs, their_spread) = accuracies(name).values()
    assert f"{ours} % ± {our_spread} here, {theirs} % ± {their_spread} in PyTorch" in row
    [row] = [line for line in results.splitlines() if f"models/{name}.ipynb" in line and "an epoch" in line]
    assert "{} s here, {} s in PyTorch".format(*seconds(name)) in row
    [row] = [line for line in results.splitlines() if f"models/{name}.ipynb" in line and "200 steps" in line]
    assert re.search(r"differ by at most (\S+) ", printed(name, "steps64"))[1] in row
    if name == "fashion_mnist":
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert row.split("|")[-2].strip() in readme
        assert "{} s here, {} s in PyTorch".format(*seconds(name)) in readme
