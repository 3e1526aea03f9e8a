"""`cnn evaluate`, `cnn summary`, `cnn data`, and the argument RUN."""

import json
from pathlib import Path

import numpy as np
import pytest

import cnn.data
from cnn import zoo
from cnn.cli import datasets
from cnn.layers import AvgPool2d, Conv2d, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential
from tests.cli.test_folder import shades


@pytest.fixture
def image_run():
    """A run folder with an untrained model of Fashion-MNIST's shape."""
    model = Sequential([Flatten(), Linear(784, 10, rng=0), Softmax()], loss_func=CrossEntropyLoss())
    model.class_names, model.input_shape = list(cnn.data.FASHION_MNIST.class_names), (1, 28, 28)
    folder = Path("a run")
    folder.mkdir()
    model.save(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"data": "fashion-mnist"}), encoding="utf-8")
    return folder


def test_evaluate(run, data, image_run):
    code, out, err = run("evaluate", image_run)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{image_run / 'model.safetensors'} on Fashion-MNIST, 60 test images"
    model = Sequential.load(image_run / "model.safetensors")
    loss, accuracy = model.evaluate(data[2].astype("float32") / 255, data[3])
    assert lines[1] == f"loss      {loss:.4f}"
    assert lines[2].startswith(f"accuracy  {accuracy:.4f}  ({round(60 * accuracy)} of 60 correct; 95 % interval ")
    assert lines[3].split() == ["class", "precision", "recall", "F1", "count"]
    assert lines[5].startswith("T-shirt/top")
    result = json.loads(run("evaluate", image_run, "--json")[1])
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    assert (result["data"], result["samples"], result["accuracy"]) == ("fashion-mnist", 60, accuracy)


def test_evaluate_a_bare_file(run, data, image_run):
    bare = (image_run / "model.safetensors").rename("bare.safetensors")
    code, _, err = run("evaluate", bare)
    assert code == 1
    assert "does not name its training data: add --data NAME, such as --data fashion-mnist" in err
    assert run("evaluate", bare, "--data", "fashion-mnist")[0] == 0


def test_evaluate_the_file_in_a_run_folder(run, data, image_run):
    assert run("evaluate", image_run / "model.safetensors") == run("evaluate", image_run)


def test_evaluate_on_data_that_do_not_match(run, data, image_run):
    code, _, err = run("evaluate", image_run, "--data", "spiral")
    assert code == 1
    assert "the model takes inputs of 1 x 28 x 28, but spiral has points of 2 numbers: give another --data" in err
    code, _, err = run("evaluate", image_run, "--data", "mnist")
    assert code == 1
    assert (
        "the model has the classes T-shirt/top, Trouser, Pullover and 7 more, but mnist has 0, 1, 2 and 7 more" in err
    )


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_data_that_do_not_match_are_not_fetched(run, monkeypatch, no_plots, name):
    def locate(info, quiet=False):
        raise AssertionError("searched")

    monkeypatch.setattr(cnn.data, "load_dataset", locate)
    run("train", "spiral", "--epochs", "1")
    code, _, err = run("evaluate", Path("runs", "spiral-1"), "--data", name)
    assert code == 1
    assert err == (
        f"error: the model takes inputs of 2 numbers, but {name} has images of 1 x 28 x 28: give another --data\n"
    )


@pytest.mark.data
@pytest.mark.parametrize("name", ["fashion-mnist", "spiral"])
def test_expected_matches_the_data_set(name):
    dataset = datasets.load(name, 0)
    assert datasets.expected(name) == (dataset.kind, dataset.input_shape, dataset.class_names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is damaged: "),
        ("[]", "config.json is damaged: it does not contain a JSON object"),
        ('{"data": "cifar"}', "config.json: unknown data set 'cifar'"),
        ("{}", "does not name its training data"),
    ],
)
def test_a_damaged_config(run, image_run, text, message):
    (image_run / "config.json").write_text(text, encoding="utf-8")
    code, _, err = run("evaluate", image_run)
    assert code == 1
    assert message in err


def test_evaluate_uses_the_seed_of_the_run(run, no_plots):
    run("train", "spiral", "--epochs", "1", "--seed", "5")
    folder = Path("runs", "spiral-1")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert json.loads(run("evaluate", folder, "--json")[1])["loss"] == config["test_loss"]
    assert not (datasets.load("spiral", 5).test[0] == datasets.load("spiral", 0).test[0]).all()


# RUN


def test_a_run_that_does_not_exist(run):
    code, _, err = run("summary", "nowhere")
    assert code == 1
    assert err.startswith(
        "error: there is no nowhere: expected a run folder of `cnn train`, or a .safetensors or .onnx file"
    )


def test_a_folder_that_is_not_a_run(run):
    Path("here").mkdir()
    assert (
        "here is not a run folder: model.safetensors and config.json are missing (it contains nothing)"
        in run("summary", "here")[2]
    )
    for name in "abcdefg":
        Path("here", name).touch()
    assert "(it contains a, b, c, d, e and 2 more)" in run("summary", "here")[2]


def test_a_folder_of_runs(run, image_run):
    assert (
        "is not a run folder but contains run folders: a run. Give one of them, such as a run\n"
        in run("summary", ".")[2]
    )


def test_a_run_without_a_model(run, image_run):
    (image_run / "model.safetensors").unlink()
    code, _, err = run("predict", image_run, "a.png")
    assert code == 1
    assert "a run has no model.safetensors: its training stopped before a model was saved; continue it with " in err
    assert err.endswith("train --resume 'a run'\n")


def test_a_file_that_is_not_a_model(run, image_run):
    Path("notes.txt").write_text("x", encoding="utf-8")
    assert "notes.txt is neither a run folder nor a .safetensors or .onnx file" in run("summary", "notes.txt")[2]
    whole = (image_run / "model.safetensors").read_bytes()
    (image_run / "model.safetensors").write_bytes(whole[:1000])
    code, _, err = run("summary", image_run)
    assert code == 1
    assert "is cut short, damaged or not a safetensors file" in err
    Path("empty.safetensors").touch()
    assert run("summary", "empty.safetensors")[0] == 1


def test_a_file_with_only_weights_is_not_a_model(run, image_run):
    Sequential.load(image_run / "model.safetensors").save_weights("w.safetensors")
    assert "holds weights but no architecture" in run("summary", "w.safetensors")[2]


# summary and data


def test_summary(run, image_run):
    code, out, err = run("summary", image_run)
    assert (code, err) == (0, "")
    assert "10 classes: T-shirt/top, Trouser" in out
    assert "Linear(784, 10)" in out
    assert "7,850" in out


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("net", [zoo.photo_cnn, zoo.fashion_cnn, zoo.mlp])
def test_summary_fits_its_columns(run, monkeypatch, net, columns):
    """Also where the names are long, there are 300 classes, and counts have eight digits."""
    monkeypatch.setenv("COLUMNS", str(columns))
    model = net((3, 28, 28), 300)
    model.class_names, model.input_shape = [f"a class number {i}" for i in range(300)], (3, 28, 28)
    model.preprocessing = {"scale": 1 / 255, "mean": [0.1234] * 3, "std": [0.1234] * 3}
    Path("run").mkdir()
    model.save("run/model.safetensors")
    settled = {"data": "/somewhere/a folder with a name", "model": "photo-cnn", "epochs": 1000, "batch_size": 1024}
    settled |= {"lr": 0.001, "seed": 1, "status": "finished", "test_accuracy": 0.12345}
    Path("run", "config.json").write_text(json.dumps(settled), encoding="utf-8")
    code, out, _ = run("summary", "run")
    assert code == 0
    assert max(map(len, out.splitlines())) <= columns
    assert "300 classes: a class number 0, a class number 1," in " ".join(out.split())
    assert "1,000 epochs" in " ".join(out.split())
    total = sum(parameter.size for parameter in model.parameters())
    assert f"{total:,}" in out
    assert out.count("Linear") >= 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"scale": 1 / 255, "mean": [0.2854], "std": [0.3516]}, "pixel / 255, minus 0.2854, divided by 0.3516"),
        (
            {"scale": 1 / 255, "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3.5]},
            "pixel / 255, minus (0.1, 0.2, 0.3), divided by (1, 2, 3.5)",
        ),
        ({"scale": 0.5, "mean": 3}, "pixel x 0.5, minus 3"),
    ],
)
def test_summary_prints_the_preprocessing(run, image_run, settings, text):
    channels = np.size(settings["mean"])
    model = Sequential([Conv2d(channels, 2, 3), ReLU()])
    model.input_shape = (channels, 5, 5)
    model.preprocessing = settings
    model.save(image_run / "model.safetensors")
    assert f" inputs: {text} layer " in " ".join(run("summary", image_run)[1].split())


def test_summary_of_one_epoch(run, image_run):
    (image_run / "config.json").write_text('{"epochs": 1, "seed": 3}', encoding="utf-8")
    assert "a model trained on unknown data: 1 epoch, seed 3\n" in run("summary", image_run)[1]


def test_summary_without_an_input_shape(run):
    Sequential([Linear(2, 3), Softmax()]).save("m.safetensors")
    code, out, err = run("summary", "m.safetensors")
    assert code == 1
    assert "Linear(in_features=2, out_features=3)" in out
    assert "does not contain the shape of its inputs, so there is no table" in err


def test_data(run, data):
    code, out, err = run("data", "fashion-mnist")
    assert (code, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["title"] == "Fashion-MNIST"
    assert facts["source"] == "a test"
    assert facts["licence"] == "MIT"
    assert "arXiv:1708.07747" in facts["citation"]
    assert facts["path"] == str(Path("made", "up"))
    assert facts["images"] == "240 for training, 60 for testing"
    assert facts["classes"].endswith("Bag, Ankle boot")
    assert json.loads(run("data", "mnist", "--json")[1])["train"] == 240
    assert json.loads(run("data", "spiral", "--json")[1])["classes"] == ["arm 0", "arm 1", "arm 2"]


@pytest.mark.data
def test_the_real_data(run):
    code, out, _ = run("data", "fashion-mnist")
    assert code == 0
    assert "60,000 for training, 10,000 for testing" in out


@pytest.mark.parametrize("command", ["summary", "evaluate"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"seed": [1]}', "seed must be an integer of at least 0, got [1]"),
        ('{"seed": null}', "seed must be an integer of at least 0, got None"),
        ('{"seed": true}', "seed must be an integer of at least 0, got True"),
        ('{"seed": -1}', "seed must be an integer of at least 0, got -1"),
        ('{"epochs": "x"}', "epochs must be an integer of at least 0, got 'x'"),
        ('{"lr": NaN}', "lr must be a number of at least 0, got nan"),
        ('{"validation": 1e400}', "validation must be a number of at least 0, got inf"),
        ('{"data": {"a": 1}}', "data must be a string, got {'a': 1}"),
        ('{"data": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested more than 200 levels deep"),
    ],
)
def test_a_crafted_config(run, image_run, command, text, says):
    (image_run / "config.json").write_text(text, encoding="utf-8")
    code, _, err = run(command, image_run)
    assert code == 1
    assert err.startswith(f"error: {image_run / 'config.json'} is damaged: ")
    assert says in err


def test_large_images_are_evaluated_in_small_batches(run, monkeypatch):
    """So that the memory does not depend on the size of the images."""
    sizes: list[int] = []
    model = Sequential([AvgPool2d(200), Flatten(), Linear(12, 2), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape, model.class_names = (3, 400, 400), ["dark", "light"]
    model.save("net.safetensors")
    shades("photos", 20)
    real = AvgPool2d.forward
    monkeypatch.setattr(AvgPool2d, "forward", lambda self, x: (sizes.append(len(x)), real(self, x))[1])
    assert run("evaluate", "net.safetensors", "--data", "photos")[0] == 0
    assert max(sizes) == 2**23 // (3 * 400 * 400) == 17
