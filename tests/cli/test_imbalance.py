"""Classes of very different sizes: what `cnn train FOLDER` says, `--balance` and `--keep-best`."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn import training
from cnn.cli import datasets, train_recipes, train_run, trials
from cnn.cli.imbalance import low_recall_note, uneven_note
from cnn.cli.keep_best import KeepBest, balanced_accuracy
from cnn.cli.train_settings import settings_for
from cnn.errors import InputError
from cnn.metrics import class_report
from cnn.sequential import Sequential
from cnn.training import Step

FAST = ("--image-size", 16, "--model", "mlp", "--augment", "none", "--out", "run")


def noise(folder, dark, light, size=16, level=135):
    """Write dark and light noise; with another level, light noise that is as dark."""
    rng = np.random.default_rng(0)
    for name, mean, count in (("dark", 110, dark), ("light", level, light)):
        path = Path(folder) / name
        path.mkdir(parents=True)
        for i in range(count):
            pixels = rng.normal(mean, 60, (size, size)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path / f"{i}.png")


def config():
    return json.loads(Path("run/config.json").read_text())


# what is said before training


def test_uneven_classes_are_named(run):
    noise("f", 60, 10)
    code, out, err = run("train", "f", "--epochs", 1, *FAST)
    assert code == 0
    said = "uneven classes: the largest, dark, has 48 training images, but light 8. Rare classes are easily overlooked"
    assert said in " ".join(err.split())
    assert "--balance" in err
    assert "balanced accuracy" in out
    rows = [line.split(",") for line in Path("run/predictions.csv").read_text().splitlines()[1:]]
    recalls = [np.mean([row[2] == name for row in rows if row[1] == name]) for name in ("dark", "light")]
    assert config()["validation_balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert f"validation balanced  {np.mean(recalls):.4f}" in out


def test_even_classes_are_not(run):
    noise("f", 12, 10)
    code, out, err = run("train", "f", "--epochs", 1, *FAST)
    assert code == 0
    assert "uneven" not in err
    assert "balanced accuracy" not in out
    assert "validation_balanced_accuracy" not in config()


def test_many_rare_classes_are_counted():
    labels = np.repeat(np.arange(9), [30, 3, 3, 3, 3, 3, 3, 3, 11])
    note = uneven_note(labels, [f"class {k}" for k in range(9)], balance=True)
    assert note.startswith("uneven classes: the largest, class 0, has 30 training images, but class 1 3, class 2 3")
    assert note.endswith("and 2 more: their errors count more in training and in its loss (--balance)")
    assert "class 8" not in note


# and after it


def test_classes_that_are_seldom_recognised_are_named(run):
    noise("f", 60, 10)
    code, out, err = run("train", "f", "--epochs", 1, "--lr", "0", *FAST)  # it knows nothing, and prefers one class
    assert code == 0
    recalls = dict(line.split()[::2][:2] for line in out.splitlines() if line.startswith(("dark ", "light ")))
    low = [name for name, recall in recalls.items() if float(recall) < 0.5]
    assert low
    for name in low:
        assert f"seldom recognised: {name} (" in err
    assert "or train with --balance" in " ".join(err.split())


ADVICE = "seldom recognised: a (0 of 2), b\\x1b[2J (1 of 3)"


@pytest.mark.parametrize(
    ("counts", "can_balance", "text"),
    [
        ((5, 5, 5), True, ADVICE),
        ((5, 5, 15), True, f"{ADVICE}. Add images of a, b\\x1b[2J, which are rare, or train with --balance"),
        ((5, 15, 15), True, f"{ADVICE}. Add images of a, which is rare, or train with --balance"),
        ((5, 15, 15), False, f"{ADVICE}. Add images of a, which is rare"),
        ((15, 15, 5), True, ADVICE),  # the rare class is recognised
    ],
)
def test_more_images_are_advised_for_rare_classes_alone(counts, can_balance, text):
    report = class_report([0, 0, 1, 1, 1, 2], [1, 1, 1, 0, 2, 2], ["a", "b\x1b[2J", "c"])
    assert low_recall_note(report, np.repeat(np.arange(3), counts), can_balance) == text


def test_nothing_is_advised_where_all_are_recognised():
    assert low_recall_note(class_report([0, 1], [0, 1], ["a", "b"]), np.array([0, 0, 0, 1]), can_balance=True) == ""


# --balance


def test_balance_finds_more_of_the_rare_class(run):
    noise("f/train", 150, 8)
    noise("f/test", 50, 50)
    recalls = []
    for options in ((), ("--balance",)):
        out = Path("run", "..", f"run{len(recalls)}")
        assert run("train", "f", "--epochs", 3, *FAST[:-1], out, *options)[0] == 0
        found = json.loads((out / "config.json").read_text())
        assert found.get("balance", False) == bool(options)
        assert "weight" not in repr(Sequential.load(out / "model.safetensors").loss_func)
        recalls.append(found["test_balanced_accuracy"])
    assert recalls[0] + 0.2 < recalls[1]


def test_balance_weights_the_loss_and_is_resumed(run):
    noise("f", 30, 6)
    assert run("train", "f", "--epochs", 1, *FAST, "--balance")[0] == 0
    settings = settings_for("f", image_size=16, balance=True, model="mlp")
    dataset = datasets.load("f", 0, True, 16, settings.validation)
    plan = train_recipes.plan(dataset, settings)
    assert plan.class_weight == pytest.approx({0: 29 / (2 * 24), 1: 29 / (2 * 5)})
    assert plan.model.loss_func.weight is None
    code, _, err = run("train", "--resume", "run", "--epochs", 2)
    assert code == 0, err
    assert (config()["balance"], config()["epochs"]) == (True, 2)


def test_balance_with_a_class_that_one_half_of_the_trials_lacks(run, no_plots):
    """Trials of `--augment auto` train on halves of the training images: a class of one image is in one half only."""
    noise("few", 8, 2)  # one light image is held out, and one is left for training
    noise("group/train", 8, 4)
    noise("group/val", 2, 2)
    for path in Path("group/train/light").iterdir():
        path.rename(path.with_name(f"same_{path.name}"))
    for data, options in (("few", ()), ("group", ("--group-by", "{group}_*"))):
        code, _, err = run(
            "train", data, "--epochs", 1, "--image-size", 16, "--balance", "--out", f"{data}-run", *options
        )
        assert code == 0, err
        assert "chosen: " in err


def test_trials_judge_by_all_classes_alike_with_balance(monkeypatch):
    """Of 40 images, 4 are in the second class, and the net recognises none of them."""
    y = np.repeat([0, 1], [18, 2])
    part = np.zeros((20, 1, 16, 16), np.uint8), y
    half = datasets.Dataset("a", "a", "a", "images", ["a", "b"], part, part, part)
    half = dataclasses.replace(half, train_groups=[str(i) for i in range(20)])
    monkeypatch.setattr(training, "train", lambda *_, **__: [])
    monkeypatch.setattr(Sequential, "predict_proba", lambda self, x: np.tile([0.9, 0.1], (len(x), 1)))
    found = {}
    for balance in (None, True):
        settings = settings_for("f", image_size=16, balance=balance, model="mlp")
        found[balance] = trials.trial([half, half], settings, "none")
    assert found[None][1] == pytest.approx(0.9)
    assert found[True][1] == pytest.approx(0.5)
    assert found[None][0].mean() == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1), abs=0.01)
    assert found[True][0].mean() == pytest.approx(np.log(2), abs=0.02)  # as good as knowing nothing


def test_a_class_without_images_gets_a_finite_weight():
    assert train_recipes.balanced_weights(np.array([0, 0, 2, 2]), 3) == pytest.approx([2 / 3, 4 / 3, 2 / 3])


@pytest.mark.parametrize("option", [["--balance"], ["--keep-best", "loss"]])
def test_options_are_for_folders(run, option):
    code, _, err = run("train", "spiral", *option)
    assert code == 2
    assert f"{option[0]} is for a folder of images: it cannot change spiral" in err


# --keep-best


def steps(metrics):
    """The ends of epochs with these metrics, of a model that predicts its number of epochs."""

    class Model:
        epoch = 0

        def preprocess(self, x):
            self.preprocessed = getattr(self, "preprocessed", 0) + 1
            return x

        def predict(self, x):
            return np.where(np.arange(len(x)) < self.epoch, 1, 0)

        def state_dict(self):
            return {"epoch": np.array(self.epoch)}

        def load_state_dict(self, state):
            self.epoch = int(state["epoch"])

    model = Model()
    for epoch, values in enumerate(metrics, start=1):
        model.epoch = epoch
        yield Step(epoch, len(metrics), 1, 1, 0.0, 0.0, values, model)


METRICS = [{"val_loss": loss, "val_accuracy": accuracy} for loss, accuracy in ((0.5, 0.4), (0.3, 0.6), (0.4, 0.8))]


@pytest.mark.parametrize(("metric", "best"), [("loss", 2), ("accuracy", 3), ("balanced-accuracy", 1)])
def test_the_best_epoch_is_kept(metric, best):
    x, y = np.zeros((4, 1, 2, 2), np.uint8), np.array([1, 0, 0, 0])
    keep = KeepBest(metric, x, y)
    for step in steps(METRICS):
        assert not keep(step)
    keep.end(step)
    assert (step.model.epoch, keep.best_epoch) == (best, best)
    assert getattr(step.model, "preprocessed", 0) == int(metric == "balanced-accuracy")  # once, not in every epoch
    assert repr(keep) == f"KeepBest({metric!r}, best={keep.best}, best_epoch={best})"
    assert f"epoch {best}, with the best validation {metric}" in keep.text(has_test=True)
    assert keep.text(has_test=False).endswith(
        "the accuracy on the images by which they were chosen is a little too optimistic"
    )
    assert "optimistic" not in keep.text(has_test=True)
    other = KeepBest(metric, x, y)
    other.load_state_dict(keep.state_dict())
    assert (other.best_epoch, other.best) == (keep.best_epoch, keep.best)


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy"])
@pytest.mark.parametrize(
    ("losses", "best"),
    [((0.5, 0.3, 0.4), 2), ((0.5, 0.5, 0.5), 1), ((0.5, 0.6, 0.4), 3), ((np.inf, 0.6, 0.7), 2), ((np.nan, 3, 1), 3)],
)
@pytest.mark.parametrize("resumed_after", [None, 1, 2])
def test_of_equal_epochs_the_one_with_the_lowest_loss_is_kept(metric, losses, best, resumed_after):
    x, y = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 0, 1, 1])
    keep = KeepBest(metric, x, y)
    for step in steps([{"val_loss": loss, "val_accuracy": 0.5} for loss in losses]):
        step.model.epoch, epoch = 0, step.model.epoch  # the same predictions in each epoch
        keep(step)
        step.model.epoch = epoch
        if epoch == resumed_after:
            state = json.loads(json.dumps({**keep.state_dict(), "weights": {}}))
            keep = KeepBest(metric, x, y)
            keep.load_state_dict(state)
    assert (keep.best, keep.best_epoch) == (0.5, best)


def test_the_state_of_an_earlier_version_has_no_loss():
    keep = KeepBest("accuracy", np.zeros(1), np.zeros(1))
    keep.load_state_dict({"best": 0.5, "best_epoch": 1, "waited": 0, "weights": {}})
    for step in steps(
        [{"val_loss": loss, "val_accuracy": value} for loss, value in ((9, 0.5), (1, 0.5), (5, 0.6))][1:]
    ):
        keep(replace(step, epoch=step.epoch + 1))
    assert (keep.best, keep.best_epoch) == (0.6, 3)


def test_the_metric_is_checked(run):
    with pytest.raises(InputError, match="unknown metric f1; known: accuracy, balanced-accuracy, loss"):
        KeepBest("f1", np.zeros(1), np.zeros(1))
    code, _, err = run("train", "spiral", "--keep-best", "balanced_accuracy")
    assert code == 2
    assert "did you mean 'balanced-accuracy'?" in err


@pytest.mark.parametrize("metric", ["loss", "balanced-accuracy"])
def test_keep_best_on_the_command_line(run, metric):
    noise("f", 30, 8)
    options = ["train", "f", "--epochs", 6, *FAST, "--lr", "0.1", "--keep-best", metric]
    code, _, err = run(*options)
    assert code == 0
    assert f"with the best validation {metric}" in err
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    found = config()
    if metric == "loss":
        assert found["validation_loss"] == pytest.approx(min(row["val_loss"] for row in rows))
    else:
        dataset = datasets.load("f", 0, True, 16, 0.2)
        model = Sequential.load(Path("run/model.safetensors"))
        value = balanced_accuracy(dataset.test[1], model.predict(model.preprocess(dataset.test[0])))
        assert f"balanced-accuracy {value:.4f}" in err


def test_the_validation_loss_is_without_weights(run, no_plots):
    """So that runs with and without --balance can be compared, and --keep-best loss chooses by what is printed."""
    noise("f", 40, 8)
    code, out, err = run("train", "f", "--epochs", 3, *FAST, "--lr", "0.1", "--balance", "--keep-best", "loss")
    assert code == 0
    assert "their errors count more in training and in its loss (--balance)" in " ".join(err.split())
    x, y = datasets.load("f", 0, True, 16, 0.2).test
    model = Sequential.load(Path("run/model.safetensors"))
    loss, _ = model.evaluate(model.preprocess(x), y)
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    assert min(row["val_loss"] for row in rows) == pytest.approx(loss)
    assert f"with the best validation loss {loss:.4f}" in " ".join(err.split())
    assert f"validation loss      {loss:.4f}" in out
    assert config()["validation_loss"] == pytest.approx(loss)
    best = min(range(3), key=lambda i: rows[i]["val_loss"])
    assert f"val loss {loss:.4f}" in out.splitlines()[best]


def stop_after(monkeypatch, count):
    """Press Ctrl-C after so many steps."""
    real = training.train

    def train(*arguments, **chosen):
        for i, step in enumerate(real(*arguments, **chosen)):
            if i == count:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(training, "train", train)


def test_the_model_of_an_interrupted_run_has_no_weights_in_its_loss(run, monkeypatch):
    noise("f", 30, 8)
    stop_after(monkeypatch, 5)  # an epoch has 2 steps
    assert run("train", "f", "--epochs", 9, *FAST, "--balance")[0] == 130
    assert repr(Sequential.load(Path("run/model.safetensors")).loss_func) == "CrossEntropyLoss()"


@pytest.mark.parametrize("when", ["interrupted", "killed"])
def test_a_run_that_is_stopped_keeps_the_best_epoch(run, monkeypatch, when):
    noise("f", 30, 20, level=110)  # nothing to learn: the loss soon rises
    stop_after(monkeypatch, 20)  # an epoch has 3 steps
    if when == "killed":
        monkeypatch.setattr(train_run.TrainingRun, "_stop", lambda self, *_: 130)  # which saves nothing more
    code, _, err = run("train", "f", "--epochs", 9, *FAST, "--lr", "0.003", "--keep-best", "loss")
    assert code == 130
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    losses = [row["val_loss"] for row in rows]
    assert len(losses) == 6
    assert min(losses) < losses[-1]
    x, y = datasets.load("f", 0, True, 16, 0.2).validation
    model = Sequential.load(Path("run/model.safetensors"))
    assert model.evaluate(model.preprocess(x), y)[0] == pytest.approx(min(losses))
    if when == "interrupted":
        best = losses.index(min(losses)) + 1
        assert f"the weights are those of epoch {best}, with the best validation loss {min(losses):.4f}" in err


def test_saving_the_best_epoch_does_not_change_the_training(run, no_plots):
    noise("f", 30, 8)
    for name, options in (("best", ("--keep-best", "loss")), ("last", ())):
        assert run("train", "f", "--epochs", 4, *FAST[:-1], name, "--lr", "0.1", *options)[0] == 0
    assert Path("best/history.jsonl").read_bytes() == Path("last/history.jsonl").read_bytes()


def test_keep_best_is_resumed(run):
    noise("f", 30, 8)
    options = [*FAST[:-1], "whole", "--lr", "0.1", "--keep-best", "balanced-accuracy"]
    assert run("train", "f", "--epochs", 3, *options)[0] == 0
    code, _, err = run("train", "--resume", "whole", "--epochs", 5)
    assert code == 0, err
    assert "with the best validation balanced-accuracy" in err
    assert json.loads(Path("whole/config.json").read_text())["keep_best"] == "balanced-accuracy"


def test_balanced_accuracy():
    assert balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 1]) == pytest.approx((2 / 3 + 1) / 2)
    assert balanced_accuracy([0, 0, 2], [0, 1, 2]) == pytest.approx(0.75)  # no image of class 1
