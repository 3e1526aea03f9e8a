"""The results of `cnn train FOLDER`: of the test or the validation images, and named so; and predictions.csv."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.cli.train_output import epoch_text, result_text, write_predictions
from cnn.core.text import printable
from cnn.sequential import Sequential
from tests.cli.example_files import config
from tests.cli.test_folder import shades
from tests.cli.test_predict_folder import STRANGE, recovered

SMALL = ("--epochs", "2", "--image-size", "16")


def uneven(folder, test=None):
    """Write 6 dark and 14 light images, of which 1 and 3 are held out; in ``test`` there are as many of both."""
    shades(folder, 14)
    for i in range(6, 14):
        Path(folder, "dark", f"{i}.png").unlink()
    if test is not None:
        shades(test, 4)


def test_without_test_images_everything_says_validation(run):
    uneven("photos")
    code, out, err = run("train", "photos", *SMALL, "--out", "run")
    assert code == 0
    settled = config(Path("run"))
    assert not [name for name in settled if name.startswith("test")]
    assert settled["validation_samples"] == 4
    assert settled["validation_baseline"] == 0.75
    lines = out.splitlines()
    assert lines[2] == f"validation loss      {settled['validation_loss']:.4f}"
    assert lines[3].startswith(f"validation accuracy  {settled['validation_accuracy']:.4f}  (")
    assert lines[4] == "validation baseline  0.7500  (accuracy of always guessing the largest class)"
    assert "evaluating on 4 validation images ..." in err
    assert "4 more for validation; there are no test images" in err
    assert "largest class, is correct for 75.0% of the validation images" in err
    for text in (out, err):
        assert "test accuracy" not in text
        assert "final test" not in text
        assert "testing" not in text
    summary = run("summary", "run")[1]
    assert f"validation accuracy {settled['validation_accuracy']:.4f}" in " ".join(summary.split())
    assert "test accuracy" not in summary
    result = json.loads(run("train", "photos", *SMALL, "--out", "again", "--json")[1])
    assert result["validation_accuracy"] == settled["validation_accuracy"]
    assert "test_accuracy" not in result


def test_with_test_images_the_baseline_is_that_of_the_test_images(run):
    """2 of 4 test images are of the class that is the largest in training, but 3 of 4 validation images."""
    uneven("photos/train", "photos/test")
    code, out, err = run("train", "photos", *SMALL, "--out", "run")
    assert code == 0
    settled = config(Path("run"))
    assert (settled["test_samples"], settled["test_baseline"]) == (8, 0.5)
    assert "validation_accuracy" not in settled
    assert "test baseline  0.5000  (accuracy of always guessing the largest class)" in out.splitlines()
    assert "largest class, is correct for 75.0% of the validation images" in err
    assert "evaluating on 8 test images ..." in err
    assert f"test accuracy {settled['test_accuracy']:.4f}" in " ".join(run("summary", "run")[1].split())


def test_results_of_before_can_be_read(run):
    """In older runs, test_accuracy was also the name of the accuracy on validation images."""
    uneven("photos")
    assert run("train", "photos", *SMALL, "--out", "run", "--quiet")[0] == 0
    settled = config(Path("run"))
    old = {
        name.replace("validation_accuracy", "test_accuracy").replace("validation_loss", "test_loss"): value
        for name, value in settled.items()
    }
    Path("run", "config.json").write_text(json.dumps(old), encoding="utf-8")
    assert f"test accuracy {settled['validation_accuracy']:.4f}" in " ".join(run("summary", "run")[1].split())
    assert run("evaluate", "run")[0] == 0
    assert run("train", "--resume", "run", "--epochs", "3", "--quiet")[0] == 0
    assert "test_accuracy" not in config(Path("run"))


def test_balanced_accuracy_and_what_the_images_are(run):
    """The training images are left out, and the rest are the validation images of the run."""
    uneven("photos")
    for i in range(3, 6):
        Path("photos", "dark", f"{i}.png").unlink()
    args = ("--balance", "--keep-best", "loss", "--augment", "none")
    code, _, err = run("train", "photos", *SMALL, *args, "--out", "run")
    assert code == 0
    assert ", seed 0, --balance, --keep-best loss\n" in err
    balanced = config(Path("run"))["validation_balanced_accuracy"]
    assert f"validation balanced accuracy {balanced:.4f}" in " ".join(run("summary", "run")[1].split())
    result = json.loads(run("evaluate", "run", "--json")[1])
    assert (result["part"], result["balanced_accuracy"]) == ("validation", balanced)
    uneven("more", "photos/test")
    Path("photos", "train").mkdir()
    for name in ("dark", "light"):
        Path("photos", name).rename(Path("photos", "train", name))
    assert json.loads(run("evaluate", "run", "--json")[1])["part"] == "test"
    assert json.loads(run("evaluate", "run", "--data", "more", "--json")[1])["part"] == "images"


def test_errors_name_the_option_of_groups(run):
    uneven("photos")
    code, _, err = run("train", "photos", "--group-by", "{group}-*")
    assert code != 0
    assert "--group-by '{group}-*' matches no file" in err


@pytest.mark.parametrize("value", ['"x"', "-1", "NaN", "true"])
def test_a_crafted_result(run, value):
    uneven("photos")
    run("train", "photos", *SMALL, "--out", "run", "--quiet")
    text = json.dumps(config(Path("run")) | {"validation_accuracy": 0.123})
    Path("run", "config.json").write_text(text.replace("0.123", value), encoding="utf-8")
    code, _, err = run("summary", "run")
    assert code == 1
    assert "validation_accuracy must be a number of at least 0" in err


def test_predictions_of_the_validation_images(run):
    uneven("photos")
    _, out, _ = run("train", "photos", *SMALL, "--out", "run")
    assert "predictions.csv" in out.splitlines()[-1]
    with Path("run", "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "class", "prediction", "probability", "correct"]
    assert len(rows) == 4
    assert all(Path("photos", row["file"]).is_file() for row in rows)
    assert all(row["file"].split("/")[0] == row["class"] for row in rows)
    assert all(row["correct"] == ("yes" if row["class"] == row["prediction"] else "no") for row in rows)
    share = sum(row["correct"] == "yes" for row in rows) / 4
    assert share == config(Path("run"))["validation_accuracy"]
    for row in rows:
        found = json.loads(run("predict", "run", Path("photos", row["file"]), "--json", "--top", "1")[1])["classes"][0]
        assert (found["name"], f"{found['probability']:.4f}") == (row["prediction"], f"{float(row['probability']):.4f}")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_class_names_in_csv_can_be_recovered(run):
    names = {os.fsdecode(b"invalid \xff"), "esc\x1b[31mred", "two\nlines", "back\\x1bslash"}
    uneven("photos/train", "photos/test")
    rng = np.random.default_rng(1)
    for folder in [Path("photos", split, name) for split in ("train", "test") for name in names]:
        folder.mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    assert run("train", "photos", *SMALL, "--out", "run", "--quiet")[0] == 0
    with Path("run", "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {recovered(row["class"]) for row in rows} == {"dark", "light", *names}
    assert all(recovered(row["file"]).split("/")[1] == recovered(row["class"]) for row in rows)
    found = list(csv.DictReader(run("predict", "run", "photos/test", "--csv")[1].splitlines()))
    assert {recovered(row["class"]) for row in found} <= {"dark", "light", *names}
    assert {recovered(row["prediction"]) for row in rows} == {recovered(row["class"]) for row in found}
    code, out, err = run("evaluate", "run")
    assert (code, err.count("left out")) == (0, 0)
    for text in (out, run("summary", "run")[1]):
        assert "esc\\x1b[31mred" in text
        assert "\x1b" not in text
    model = Sequential.load("run/model.safetensors")
    assert set(model.class_names) == {"dark", "light", *names}
    model.class_names = [printable(name) for name in model.class_names]  # as older models have them
    model.save("run/model.safetensors")
    assert run("evaluate", "run")[:2] == (0, out)


def test_predictions_of_test_images_and_none_for_named_data(run):
    uneven("photos/train", "photos/test")
    run("train", "photos", *SMALL, "--out", "run", "--quiet")
    text = Path("run", "predictions.csv").read_text(encoding="utf-8")
    assert text.count("\ntest/") == 8
    run("train", "spiral", "--epochs", "1", "--out", "points", "--quiet")
    assert not Path("points", "predictions.csv").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_strange_names_in_predictions(tmp_path):
    labels, probabilities = [0] * len(STRANGE), [[0.75, 0.25]] * len(STRANGE)
    write_predictions(tmp_path / "p.csv", STRANGE, labels, probabilities, ["=1", "b"])
    text = (tmp_path / "p.csv").read_text(encoding="utf-8")
    assert text.replace("\n", "").isprintable()
    rows = list(csv.reader(text.splitlines()))[1:]
    assert [os.path.normpath(recovered(row[0])) for row in rows] == STRANGE
    assert all(row[1:] == ["'=1", "'=1", "0.750000", "yes"] for row in rows)
    assert not any(cell.startswith(tuple("=+-@\t\r")) for row in rows for cell in row)


def test_strange_names_in_a_folder_that_is_trained_on(run):
    uneven("photos")
    name = "\x1b[2J,\n.png" if os.name != "nt" else "a,b.png"
    for folder in ("dark", "light"):
        for number, path in enumerate(sorted(Path("photos", folder).iterdir())):
            path.rename(path.with_name(f"{number}{name}"))
    code, out, err = run("train", "photos", *SMALL, "--out", "run")
    assert code == 0
    assert (out + err).replace("\n", "").isprintable()
    with Path("run", "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(Path("photos", recovered(row["file"])).is_file() for row in rows)


def test_texts_fit_their_columns():
    metrics = {"train_loss": 1.25, "train_accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.25, "seconds": 123.45}
    for columns in (40, 60, 80, 100):
        assert len(epoch_text(100, 100, metrics, columns)) <= columns
        assert "val acc" in epoch_text(100, 100, metrics, columns)
    assert max(map(len, result_text("validation", 0.5, 0.9, 999, 0.25).splitlines())) <= 80
